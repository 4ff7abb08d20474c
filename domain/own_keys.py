"""A user's own API keys, as they make, see and end them. Somebody else's are not there."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import accounts, activity, api_keys, audit, cards, clock, notices, opaque_tokens, secrets
from domain.caller import Caller
from domain.database import changed, new_id, reading, transaction
from domain.errors import Fault, Forbidden, NotFound, TooManyKeys, ValidationFailed
from model import ApiKey

WARN_DAYS = 7  # So long before its end the owner is told; a key that is made for less is not worth a second mail.


class Made(NamedTuple):
    """A new key: its row, and the key itself, which is kept nowhere."""

    row: ApiKey
    key: str


class State(NamedTuple):
    """Whether a key opens anything now, and whether that is because it has run out."""

    row: ApiKey
    is_active: bool
    expired: bool
    last_used: int | None  # Seconds since 1970.


def create(caller: Caller, name: str | None = None, scopes: Sequence[str] | None = None, days: int | None = None) -> Made:
    """A new key. `ValidationFailed` for a life that is too long, `Forbidden` for a scope that its owner lacks, `TooManyKeys`."""
    longest = config.settings.KEY_EXPIRY_DAYS
    if days is not None and not 1 <= days <= longest:
        raise ValidationFailed(errors=[Fault("expires_in_days", "out_of_range", f"Must be from 1 to {longest}.")])
    wanted = sorted({api_keys.PROFILE_READ} if scopes is None else set(scopes))
    if not set(wanted) <= _grantable(caller.user_id):
        raise Forbidden("A key may be given only what its owner may: permissions that you have now, profile:read, profile:write.")
    key = opaque_tokens.make(opaque_tokens.KEY)
    row = _row(caller.user_id, key, name, wanted, days or longest)
    with transaction() as db:
        user = accounts.hold_caller(db, caller)  # So that keys of one user are counted and made one by one.
        theirs = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user.id, api_keys.live())
        if (db.scalar(theirs) or 0) >= config.settings.MAX_KEYS_PER_USER:
            raise TooManyKeys
        db.add(row)
        audit.of(db, "key.created", caller, key=row.id, scopes=wanted)
        told = {"key": name, "last8": row.last8, "scopes": ", ".join(wanted) or None, "ends": row.expires_at.isoformat()}
        notices.send(db, user, "key_created", caller.client, **told)
    return Made(row, key)


def every(caller: Caller) -> list[State]:
    """The caller's keys, the newest first, those that have ended among them."""
    query = select(ApiKey).where(ApiKey.user_id == caller.user_id).order_by(ApiKey.created_at.desc(), ApiKey.id)
    with reading() as db:
        return [_state(one) for one in db.scalars(query)]


def get(caller: Caller, named: str) -> State:
    """One of the caller's keys, by its id or by itself; `NotFound`."""
    with reading() as db:
        return _state(_mine(db, caller, named))


def revoke(caller: Caller, named: str) -> None:
    """End one of the caller's keys for good, on every worker at once; again is fine. `NotFound`."""
    with transaction() as db:
        accounts.hold_caller(db, caller)
        row = _mine(db, caller, named)
        if changed(db, update(ApiKey).where(ApiKey.id == row.id, ApiKey.revoked_at.is_(None)).values(revoked_at=clock.now())):
            audit.of(db, "key.revoked", caller, key=row.id)


def _grantable(user_id: str) -> frozenset[str]:
    """What a user may in whatever service, and what they may do with their own profile."""
    return api_keys.PROFILE.union(*(rights.permissions for rights in cards.rights(user_id).values()))


def _row(user_id: str, key: str, name: str | None, scopes: list[str], days: int) -> ApiKey:
    now = clock.now()
    return ApiKey(
        id=new_id(),
        user_id=user_id,
        key_hash=secrets.hashed(key),
        last8=key[-opaque_tokens.SHOWN :],
        name=name,
        scopes=scopes,
        created_at=now,
        expires_at=now + timedelta(days=days),
        warned_at=now if days <= WARN_DAYS else None,
        use_count=0,
    )


def _mine(db: Database, caller: Caller, named: str) -> ApiKey:
    mine = or_(ApiKey.id == named, ApiKey.key_hash == secrets.hashed(named))
    row = db.scalar(select(ApiKey).where(ApiKey.user_id == caller.user_id, mine))
    if row is None:
        raise NotFound
    return row


def _state(row: ApiKey) -> State:
    used = max(int(row.last_used_at.timestamp()) if row.last_used_at else 0, activity.uses(ApiKey, row.id).last)
    expired = api_keys.ends_at(row.expires_at, row.last_used_at or row.created_at) <= clock.now()
    return State(row, row.revoked_at is None and not expired, expired, used or None)
