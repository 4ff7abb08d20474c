"""The short-lived tokens (JWT) that a service gets for its application token, and with which it calls other services.

Nothing is stored of them: each names its application token and is as good as that is, asked in the database on every use.
"""

from collections.abc import Iterable

from sqlalchemy import bindparam

from domain import activity, app_tokens, opaque_tokens
from domain.caller import Caller, Client
from domain.database import connection
from domain.errors import InvalidScope, TokenRevoked
from domain.opaque_tokens import Found
from model import AppToken

_BY_ID = app_tokens.FOUND.where(AppToken.id == bindparam("id"))


def check(token_id: str, service_id: str, scopes: Iterable[str], client: Client) -> Caller:
    """The service that calls by such a token, made from the application token `token_id`; `TokenExpired`, `TokenRevoked`."""
    with connection() as db:
        row = db.execute(_BY_ID, {"id": token_id}).first()
    if row is None or row.service_id != service_id:
        raise TokenRevoked
    found = Found(*row)
    opaque_tokens.judge(found)
    activity.used(AppToken, found.id)
    return Caller("", "", 0, 0, (), client, "service", frozenset(scopes) & frozenset(found.scopes), found.id, found.holder_id)


def grant(caller: Caller, asked: Iterable[str]) -> frozenset[str]:
    """The scopes of a new one: those that are asked for, or all that its application token has; `InvalidScope` for others."""
    has, wanted = caller.scopes or frozenset(), frozenset(asked)
    if not wanted <= has:
        raise InvalidScope
    return wanted or has


def end_of(caller: Caller) -> int | None:
    """When the application token is over that a new one comes from, in seconds since 1970; None: never. `NotFound`."""
    ends = app_tokens.get(caller.credential_id or "").expires_at
    return int(ends.timestamp()) if ends else None
