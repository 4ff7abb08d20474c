"""What every way to sign in answers: tokens, or a ticket to the next step."""

from datetime import datetime
from typing import Any, Literal, TypeVar

from flask import Response

import config
from domain import roles, sessions, stages
from domain.errors import Refused
from domain.sessions import Grant
from domain.stages import Pending
from resources import credentials, tokens
from resources.shapes import Out
from resources.tokens import Pair
from resources.users import UserOut


class SessionOut(Out):
    """What is told of a session, however its tokens go out; `expires_in` are the seconds of the access token.

    `mfa_setup_by`: until when this user may still sign in without a second factor, where one is required and none is on.
    """

    status: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - A word of RFC 6750.
    expires_in: int
    session_id: str
    user: UserOut
    mfa_setup_by: datetime | None


class WithTokens(SessionOut):
    """The tokens themselves. `device_token` makes this client a known one; null where the client is known already."""

    access_token: str
    refresh_token: str
    device_token: str | None


class WithCookies(SessionOut):
    """The tokens are in HttpOnly cookies; these two go with every change as X-CSRF-TOKEN."""

    csrf_access_token: str
    csrf_refresh_token: str

    def __init__(self, pair: Pair, device_token: str | None, fields: dict[str, Any]) -> None:
        super().__init__(**fields)
        self._hidden = (pair, device_token)

    _hidden: tuple[Pair, str | None]

    def finish(self, response: Response) -> None:
        """Set the cookies."""
        credentials.put(response, *self._hidden)


class TokensOut(WithTokens):
    """A session's tokens. `device_token` makes this client a known one; null where the client is known already."""

    status: Literal["signed_in"] = "signed_in"


class CookiesOut(WithCookies):
    """A session whose tokens are in HttpOnly cookies; these two go with every change as X-CSRF-TOKEN."""

    status: Literal["signed_in"] = "signed_in"


class PendingOut(Out):
    """The first factor was right; `mfa_token` goes with the next one, which is one of `methods`."""

    status: str
    mfa_token: str
    methods: list[str]
    expires_in: int


class SetupRequiredOut(Out):
    """The first factor was right, and a second has to be turned on: `mfa_token` goes with `POST /mfa`, whose proof signs in."""

    status: Literal["mfa_setup_required"] = "mfa_setup_required"
    mfa_token: str
    expires_in: int


Tokens = TokensOut | CookiesOut
Waiting = PendingOut | SetupRequiredOut
T = TypeVar("T", bound=WithTokens)
C = TypeVar("C", bound=WithCookies)


def tokens_of(grant: Grant, *, cookies: bool | None = None) -> Tokens:
    """The tokens of a grant; what came as a cookie goes back as a cookie."""
    return carry(grant, TokensOut, CookiesOut, cookies=cookies)


def carry(grant: Grant, plain: type[T], by_cookies: type[C], *, cookies: bool | None = None, **more: Any) -> T | C:
    """The tokens of a grant in one of two answers, with whatever else that answer tells."""
    pair = tokens.mint(grant, credentials.bound(grant.session.id), roles.claim(grant.user.id))
    more |= {"expires_in": pair.expires_in, "session_id": grant.session.id, "user": UserOut.of(grant.user)}
    more |= {"mfa_setup_by": stages.setup_by(grant.user)}
    if cookies or credentials.by_cookie():
        _end_replaced(grant.session.id)
        return by_cookies(pair, grant.device_token, more | credentials.csrf_tokens(pair))
    return plain(access_token=pair.access, refresh_token=pair.refresh, device_token=grant.device_token, **more)


def answer(outcome: Grant | Pending, *, cookies: bool | None = None) -> Tokens | Waiting:
    """Tokens, or the ticket to the next step."""
    if isinstance(outcome, Grant):
        return tokens_of(outcome, cookies=cookies)
    seconds = config.settings.MFA_TICKET_SECONDS
    if outcome.methods is None:
        return SetupRequiredOut(mfa_token=outcome.ticket, expires_in=seconds)
    return PendingOut(status=outcome.status, mfa_token=outcome.ticket, methods=outcome.methods, expires_in=seconds)


def _end_replaced(session_id: str) -> None:
    """End the session whose cookies are replaced by those of this one: nobody could sign it out any more (ASVS 7.2.4). Where that
    can't be told to every worker it runs out by itself; signing in goes on.
    """
    replaced = credentials.cookie("refresh")
    try:
        if replaced and (claims := tokens.verify(replaced, "refresh"))["sid"] != session_id:
            sessions.end(credentials.caller_of(claims))
    except Refused:
        return
