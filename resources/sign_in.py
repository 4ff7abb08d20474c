"""What every way to sign in answers: tokens, or a ticket to the next step."""

from typing import Any, ClassVar

from flask import Response

import config
from domain.login import Pending
from domain.sessions import Grant
from resources import credentials, tokens
from resources.shapes import Out
from resources.tokens import Pair
from resources.users import UserOut

IN_COOKIES = {"access_token", "refresh_token", "device_token"}
IN_BODY = {"csrf_access_token", "csrf_refresh_token"}


class TokensOut(Out):
    """A session's tokens. In cookie mode they are set as cookies, and the body has their CSRF tokens instead."""

    status: str = "signed_in"
    access_token: str | None = None
    refresh_token: str | None = None
    token_type: str = "Bearer"  # noqa: S105 - A word of RFC 6750.
    expires_in: int
    session_id: str
    device_token: str | None = None
    csrf_access_token: str | None = None
    csrf_refresh_token: str | None = None
    user: UserOut
    cookies: ClassVar[bool] = False

    @classmethod
    def of(cls, grant: Grant, *, cookies: bool | None = None) -> "TokensOut":
        """The tokens of a grant; what came as a cookie goes back as a cookie."""
        pair = tokens.mint(grant)
        common: dict[str, Any] = {"expires_in": pair.expires_in, "session_id": grant.session.id, "user": UserOut.of(grant.user)}
        if cookies or credentials.by_cookie():
            return CookiesOut(pair, grant.device_token, common | credentials.csrf_tokens(pair))
        return cls(access_token=pair.access, refresh_token=pair.refresh, device_token=grant.device_token, **common)

    def encoded(self) -> str:
        """Without the fields of the other mode."""
        return self.model_dump_json(exclude=IN_BODY)


class CookiesOut(TokensOut):
    """The same, with the tokens in HttpOnly cookies."""

    def __init__(self, pair: Pair, device_token: str | None, fields: dict[str, Any]) -> None:
        super().__init__(**fields)
        self._hidden = (pair, device_token)

    _hidden: tuple[Pair, str | None]

    def encoded(self) -> str:
        """Without the fields of the other mode."""
        return self.model_dump_json(exclude=IN_COOKIES)

    def finish(self, response: Response) -> None:
        """Set the cookies."""
        credentials.put(response, *self._hidden)


class PendingOut(Out):
    """The first factor was right; `mfa_token` goes with the next one, which is one of `methods`."""

    status: str
    mfa_token: str
    methods: list[str]
    expires_in: int


def answer(outcome: Grant | Pending, *, cookies: bool | None = None) -> TokensOut | PendingOut:
    """Tokens, or the ticket to the next step."""
    if isinstance(outcome, Grant):
        return TokensOut.of(outcome, cookies=cookies)
    return PendingOut(
        status=outcome.status, mfa_token=outcome.ticket, methods=outcome.methods, expires_in=config.settings.MFA_TICKET_SECONDS
    )
