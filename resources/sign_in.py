"""What every way to sign in answers: tokens, or a ticket to the next step."""

from typing import Any, Literal

from flask import Response

import config
from domain.login import Pending
from domain.sessions import Grant
from resources import credentials, tokens
from resources.shapes import Out
from resources.tokens import Pair
from resources.users import UserOut


class SignedIn(Out):
    """What is told of a session, however its tokens go out; `expires_in` are the seconds of the access token."""

    status: Literal["signed_in"] = "signed_in"
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - A word of RFC 6750.
    expires_in: int
    session_id: str
    user: UserOut


class TokensOut(SignedIn):
    """A session's tokens. `device_token` makes this client a known one; null where the client is known already."""

    access_token: str
    refresh_token: str
    device_token: str | None


class CookiesOut(SignedIn):
    """A session whose tokens are in HttpOnly cookies; these two go with every change as X-CSRF-TOKEN."""

    csrf_access_token: str
    csrf_refresh_token: str

    def __init__(self, pair: Pair, device_token: str | None, fields: dict[str, Any]) -> None:
        super().__init__(**fields)
        self._hidden = (pair, device_token)

    _hidden: tuple[Pair, str | None]

    def finish(self, response: Response) -> None:
        """Set the cookies."""
        credentials.put(response, *self._hidden)


class PendingOut(Out):
    """The first factor was right; `mfa_token` goes with the next one, which is one of `methods`."""

    status: str
    mfa_token: str
    methods: list[str]
    expires_in: int


Tokens = TokensOut | CookiesOut


def tokens_of(grant: Grant, *, cookies: bool | None = None) -> Tokens:
    """The tokens of a grant; what came as a cookie goes back as a cookie."""
    pair = tokens.mint(grant)
    common: dict[str, Any] = {"expires_in": pair.expires_in, "session_id": grant.session.id, "user": UserOut.of(grant.user)}
    if cookies or credentials.by_cookie():
        return CookiesOut(pair, grant.device_token, common | credentials.csrf_tokens(pair))
    return TokensOut(access_token=pair.access, refresh_token=pair.refresh, device_token=grant.device_token, **common)


def answer(outcome: Grant | Pending, *, cookies: bool | None = None) -> Tokens | PendingOut:
    """Tokens, or the ticket to the next step."""
    if isinstance(outcome, Grant):
        return tokens_of(outcome, cookies=cookies)
    return PendingOut(
        status=outcome.status, mfa_token=outcome.ticket, methods=outcome.methods, expires_in=config.settings.MFA_TICKET_SECONDS
    )
