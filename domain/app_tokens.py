"""Application tokens, `gh_app_…`: by one a service asks this server. It belongs to the service, not to who made it.

Asked on every request, in the database: one that was revoked, and one whose service is inactive, opens nothing on any worker.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session as Database

from domain import activity, audit, clock, opaque_tokens, permissions, roles, secrets
from domain.caller import Caller, Client
from domain.database import changed, connection, new_id, reading, transaction
from domain.errors import NotFound, TokenInvalid, TokenRevoked
from domain.opaque_tokens import Found
from model import AppToken, Service

FOUND = select(AppToken.id, AppToken.service_id, AppToken.scopes, Service.is_active, AppToken.expires_at, AppToken.revoked_at).join(
    Service, Service.id == AppToken.service_id
)
_BY_HASH = FOUND.where(AppToken.token_hash == bindparam("hash"))


class Asking(NamedTuple):
    """A service that asks for itself, and when the token is over that it asks by."""

    id: str
    name: str
    description: str | None
    is_active: bool
    created_at: datetime
    expires_at: datetime | None


_BEHIND = (
    select(*(getattr(Service, field) for field in Asking._fields[:-1]), AppToken.expires_at)
    .join(AppToken, AppToken.service_id == Service.id)
    .where(AppToken.id == bindparam("id"))
)


class Made(NamedTuple):
    """A new token: its row, and the token itself, which is kept nowhere."""

    row: AppToken
    token: str


class State(NamedTuple):
    """A token, and what this process knows of its uses beyond what is written."""

    row: AppToken
    is_active: bool
    use_count: int
    last_used: int | None  # Seconds since 1970.


def check(token: str, client: Client) -> Caller:
    """The caller by an application token; `TokenInvalid`, `TokenExpired`, `TokenRevoked`."""
    row = opaque_tokens.find(_BY_HASH, opaque_tokens.APP, token)
    if row is None:
        raise TokenInvalid
    found = Found(*row)
    opaque_tokens.judge(found)
    activity.used(AppToken, found.id)
    return Caller("", "", 0, 0, (), client, "app_token", frozenset(found.scopes), found.id, found.holder_id)


def make(caller: Caller, service_id: str, name: str, scopes: Sequence[str] = (), days: int | None = None) -> Made:
    """A new token of a service, for so many days or for good. `NotFound`, `ValidationFailed` for a permission that nobody has
    described, `Forbidden` for one of the server's own that the caller lacks.
    """
    token, now = opaque_tokens.make(opaque_tokens.APP), clock.now()
    row = AppToken(
        id=new_id(),
        service_id=service_id,
        token_hash=secrets.hashed(token),
        last8=token[-opaque_tokens.SHOWN :],
        name=name,
        scopes=sorted(set(scopes)),
        created_by=caller.actor,
        created_at=now,
        expires_at=now + timedelta(days=days) if days else None,
        use_count=0,
    )
    roles.require_own(caller, scopes)
    with transaction() as db:
        if db.get(Service, service_id, with_for_update={"key_share": True}) is None:  # Held: it can't go meanwhile.
            raise NotFound
        permissions.require_known(db, scopes, "scopes")
        db.add(row)
        audit.by(db, "app_token.created", caller, service=service_id, token=row.id, scopes=row.scopes)
    return Made(row, token)


def of_service(service_id: str) -> list[State]:
    """The tokens of a service, the newest first, those that have ended among them; `NotFound`."""
    with reading() as db:
        if db.get(Service, service_id) is None:
            raise NotFound
        query = select(AppToken).where(AppToken.service_id == service_id)
        return [_state(one) for one in db.scalars(query.order_by(AppToken.created_at.desc(), AppToken.id))]


def behind(caller: Caller) -> Asking:
    """The service that asks, and how long the token lasts that it asks by; `TokenRevoked` if it has just gone."""
    with connection() as db:
        row = db.execute(_BEHIND, {"id": caller.credential_id}).first()
    if row is None:
        raise TokenRevoked
    return Asking._make(row)


def get(token_id: str) -> AppToken:
    """The token of this id; `NotFound`."""
    with reading() as db:
        found = db.get(AppToken, token_id)
    if found is None:
        raise NotFound
    return found


def revoke(caller: Caller, token_id: str) -> None:
    """End a token for good; again is fine. `NotFound`."""
    service_id = get(token_id).service_id
    with transaction() as db:
        if end(db, token_id):
            audit.by(db, "app_token.revoked", caller, service=service_id, token=token_id)


def remove(caller: Caller, token_id: str) -> None:
    """End a token and forget it; `NotFound`."""
    service_id = get(token_id).service_id
    with transaction() as db:
        if not changed(db, delete(AppToken).where(AppToken.id == token_id)):
            raise NotFound
        audit.by(db, "app_token.removed", caller, service=service_id, token=token_id)


def end(db: Database, token_id: str) -> bool:
    """End a token that has not been ended yet; False if it has. Part of the act that asks for it."""
    mine = update(AppToken).where(AppToken.id == token_id, AppToken.revoked_at.is_(None))
    return changed(db, mine.values(revoked_at=clock.now())) == 1


def _state(row: AppToken) -> State:
    uses = activity.uses(AppToken, row.id)
    used = max(int(row.last_used_at.timestamp()) if row.last_used_at else 0, uses.last)
    is_active = row.revoked_at is None and (row.expires_at is None or row.expires_at > clock.now())
    return State(row, is_active, row.use_count + uses.times, used or None)
