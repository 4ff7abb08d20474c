"""Services ask: a token for calls to other services (RFC 6749 4.4), what stands behind a token (RFC 7662), its end (RFC 7009).

Forms come in, plain JSON goes out, and refusals are those of RFC 6749 5.2.
"""

from typing import Annotated, Any, ClassVar, Literal

from flask import Response
from pydantic import ConfigDict, Field

from domain import asking, service_tokens
from domain.asking import Told
from domain.caller import Caller
from domain.errors import (
    InvalidClient,
    NotFound,
    TokenInvalid,
    TooMany,
    Unauthenticated,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedTokenType,
)
from resources import clients, tokens
from resources.base import Resource
from resources.shapes import FORM, Body, Done, Given, Out

GRANT = "client_credentials"


class ClientForm(Body):
    """A form of a service, which may prove itself in it. Other parameters are let be (RFC 6749 3.2)."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    media_types: ClassVar[tuple[str, ...]] = (FORM,)
    client_id: Given[str] = None
    client_secret: Given[str] = None


class GrantForm(ClientForm):
    """A token is asked for."""

    grant_type: Annotated[str, Field(examples=[GRANT])]
    scope: Annotated[Given[str], Field(description="Some of the application token's scopes, separated by spaces; else all.")] = None


class TokenForm(ClientForm):
    """A token, and of what kind it seems to be, which is not relied on."""

    token: Annotated[str, Field(min_length=1)]
    token_type_hint: Given[str] = None


class GrantOut(Out):
    """A token for calls to other services."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - The name of a kind.
    expires_in: int
    scope: str

    def finish(self, response: Response) -> None:
        """As RFC 6749 5.1 wants it for old caches."""
        response.headers["Pragma"] = "no-cache"


class InactiveOut(Out):
    """Nothing that this service may know of, or nothing that is good."""

    active: Literal[False] = False


class ActiveOut(Out):
    """A good token. What does not belong to its kind is left out."""

    active: Literal[True] = True
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - The name of a kind.
    sub: str
    username: str
    client_id: str | None
    scope: str
    exp: int | None
    iat: int
    jti: str
    sid: str | None
    amr: list[str] | None
    auth_time: int | None
    roles: list[str]
    permissions: list[str]

    def encoded(self) -> str:
        """Without what there is not."""
        return self.model_dump_json(exclude_none=True)

    @classmethod
    def of(cls, subject: Caller, claims: dict[str, Any], told: Told) -> "ActiveOut":
        """This caller, as their service is told of them."""
        return cls(
            sub=subject.user_id or subject.service_id or "",
            username=told.name,
            client_id=subject.service_id,
            scope=" ".join(sorted(told.scopes)),
            sid=claims.get("sid"),
            amr=claims.get("amr"),
            auth_time=claims.get("auth_time"),
            roles=sorted(told.rights.roles),
            permissions=sorted(told.rights.permissions),
            **_life(claims, told),
        )


class Token(Resource):
    """A service trades its application token for a JWT of ten minutes, to show to other services. It ends with that token and
    with the service.
    """

    by_oauth = True

    def post(self, body: GrantForm, caller: Caller) -> GrantOut:
        """A token for a service."""
        if body.grant_type != GRANT:
            raise UnsupportedGrantType
        if caller.kind != "app_token":
            raise UnauthorizedClient  # Else a token of ten minutes would renew itself for ever.
        scopes = service_tokens.grant(caller, (body.scope or "").split())
        try:
            ends = service_tokens.end_of(caller)
        except NotFound:
            raise InvalidClient from None
        made = tokens.mint_service(caller.service_id or "", caller.credential_id or "", scopes, ends)
        return GrantOut(access_token=made.token, expires_in=made.expires_in, scope=made.scope)


class Introspect(Resource):
    """What stands behind a token at this moment, and what they may in the service that asks."""

    by_oauth = True

    def post(self, body: TokenForm, caller: Caller) -> ActiveOut | InactiveOut:
        """Look at a token."""
        try:
            subject, claims = clients.behind(body.token)
            told = asking.introspect(caller, subject)
        except (Unauthenticated, TooMany):
            return InactiveOut()
        return ActiveOut.of(subject, claims, told) if told else InactiveOut()


class RevokedOut(Done):
    """It opens nothing any more, if it ever did."""

    private: ClassVar[bool] = True
    status: Literal["revoked"] = "revoked"


class Revoke(Resource):
    """The end of a session, by its access or refresh token, or of an application token of the service that asks."""

    by_oauth = True

    def post(self, body: TokenForm, caller: Caller) -> RevokedOut:
        """End a token; one that nobody knows is as good as ended."""
        try:
            claims = tokens.verify(body.token, "access", "refresh", "service", expired_too=True)
        except TokenInvalid:
            asking.end_token(caller, body.token)
            return RevokedOut()
        if claims["type"] == "service":
            raise UnsupportedTokenType  # It ends with its application token, and by itself within ten minutes.
        asking.end_session(caller, claims["sid"], claims["sub"])
        return RevokedOut()


def _life(claims: dict[str, Any], told: Told) -> dict[str, Any]:
    if told.life is None:
        return {name: claims[name] for name in ("iat", "exp", "jti")}
    ends = int(told.life.ends.timestamp()) if told.life.ends else None
    return {"iat": int(told.life.begins.timestamp()), "exp": ends, "jti": told.life.id}
