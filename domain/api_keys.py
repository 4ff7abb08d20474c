"""API keys, `gh_key_…`: by one a program acts for a user, within the key's scopes and what the user may at present.

Asked on every request, in the database: a key that was revoked, and one whose owner is out, opens nothing on any worker.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, bindparam, false, func, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import activity, audit, clock, opaque_tokens, wrong_keys
from domain.caller import Caller, Client
from domain.database import changed
from domain.errors import TokenExpired, TokenInvalid, TokenRevoked
from domain.opaque_tokens import Found
from model import ApiKey, User

PROFILE_READ, PROFILE_WRITE = "profile:read", "profile:write"
PROFILE = frozenset((PROFILE_READ, PROFILE_WRITE))  # What a key may be let do with its owner's profile; no permission of a role.

_LAST_USE = func.coalesce(ApiKey.last_used_at, ApiKey.created_at)
_BY_HASH = (
    select(ApiKey.id, ApiKey.user_id, ApiKey.scopes, User.status == "active", ApiKey.expires_at, ApiKey.revoked_at, _LAST_USE.label("use"))
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.key_hash == bindparam("hash"))
)


def check(key: str, client: Client) -> Caller:
    """The caller by an API key; `TokenInvalid`, `TokenExpired`, `TokenRevoked`, and for too many wrong ones `TooManyAttempts`."""
    row = opaque_tokens.find(_BY_HASH, opaque_tokens.KEY, key)
    if row is None:
        wrong_keys.count(client)
        raise TokenInvalid
    found = Found(*row[:6])
    try:
        opaque_tokens.judge(found._replace(expires_at=ends_at(row.expires_at, row.use)))
    except (TokenExpired, TokenRevoked) as refusal:
        # Once a minute, for a program that was left behind asks again and again.
        audit.note_once(
            f"key.refused {found.id} {clock.epoch() // 60}", "key.refused", found.holder_id, client, result=refusal.code, key=found.id
        )
        raise
    activity.used(ApiKey, found.id)
    return Caller(found.holder_id, "", 0, 0, (), client, "api_key", frozenset(found.scopes), found.id)


def ends_at(expires_at: datetime, last_use: datetime) -> datetime:
    """When a key ends by itself: its expiry, or sooner if it lies unused for KEY_UNUSED_DAYS."""
    days = config.settings.KEY_UNUSED_DAYS
    return min(expires_at, last_use + timedelta(days=days)) if days else expires_at


def live() -> ColumnElement[bool]:
    """Those that open something now, as far as they themselves decide."""
    return and_(ApiKey.revoked_at.is_(None), ApiKey.expires_at > clock.now(), ~unused())


def unused() -> ColumnElement[bool]:
    """Those that have lain unused for too long."""
    days = config.settings.KEY_UNUSED_DAYS
    return clock.now() - timedelta(days=days) >= _LAST_USE if days else false()


def is_live(db: Database, key_id: str | None) -> bool:
    """Whether a key has not ended, as an act sees it that holds its owner's row."""
    return db.scalar(select(ApiKey.id).where(ApiKey.id == key_id, live())) is not None


def end_of_user(db: Database, user_id: str) -> int:
    """End all keys of a user; how many. Part of the act that asks for it."""
    theirs = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return changed(db, theirs.values(revoked_at=clock.now()))
