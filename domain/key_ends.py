"""What time does to API keys: their owners are told before one ends, and one that nobody uses is ended. Jobs call this.

Nothing is relied on: a key that has run out, or lies unused for KEY_UNUSED_DAYS, is refused where it is used.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, select, update

from domain import api_keys, audit, clock, mail
from domain.database import changed, reading, transaction
from domain.own_keys import WARN_DAYS
from model import ApiKey, User

BATCH = 500  # Keys in one transaction.


def warn(*, dry_run: bool = False) -> int:
    """Mail the owners of keys that end within a week, once for each key; how many."""
    soon = select(ApiKey, User).join(User, User.id == ApiKey.user_id).where(_ends_soon(), User.status == "active")
    with reading() as db:
        found = db.execute(soon.order_by(ApiKey.id)).all()
    return len(found) if dry_run else sum(_tell(key, owner) for key, owner in found)


def end_unused(*, dry_run: bool = False) -> int:
    """Write down which keys have lain unused for too long; how many."""
    over = and_(api_keys.unused(), ApiKey.revoked_at.is_(None), ApiKey.expires_at > clock.now())
    if dry_run:
        with reading() as db:
            return db.scalar(select(func.count()).select_from(ApiKey).where(over)) or 0
    ended = 0
    while True:
        with transaction() as db:
            some = db.execute(select(ApiKey.id, ApiKey.user_id).where(over).order_by(ApiKey.id).limit(BATCH)).all()
            for one in some:
                if changed(db, update(ApiKey).where(ApiKey.id == one.id, over).values(revoked_at=clock.now())):
                    audit.note(db, "key.ended", one.user_id, actor=audit.SYSTEM, key=one.id)
                    ended += 1
        if len(some) < BATCH:
            return ended


def _ends_soon() -> ColumnElement[bool]:
    now = clock.now()
    within = and_(ApiKey.expires_at > now, ApiKey.expires_at <= now + timedelta(days=WARN_DAYS))
    return and_(within, ApiKey.revoked_at.is_(None), ApiKey.warned_at.is_(None))


def _tell(key: ApiKey, owner: User) -> bool:
    with transaction() as db:
        if not changed(db, update(ApiKey).where(ApiKey.id == key.id, _ends_soon()).values(warned_at=clock.now())):
            return False
        mail.send(
            db,
            "key_ends",
            owner.email,
            {"key": key.name, "last8": key.last8, "ends": key.expires_at.isoformat()},
            locale=owner.locale,
        )
        return True
