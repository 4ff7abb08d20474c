"""Delete what is over. Nothing here is relied on: expiry is checked where a thing is used, so this only saves room.

Failure counts are the exception: a count that is deleted begins anew, so each failure in a row keeps it for a day. Who
guesses slower than that gets one guess a day; a hundred in a row stay for good (NIST SP 800-63B 5.2.2).
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, inspect, or_, select

from domain import clock, limits, mail, pictures, runs
from domain.database import changed, reading, transaction
from model import (
    Alert,
    ApiKey,
    AppToken,
    Base,
    Budget,
    Code,
    Device,
    Factor,
    Link,
    PendingLogin,
    SigningKey,
    SignUpAttempt,
    SocialFlow,
    SpentChallenge,
)

BATCH = 1000  # Rows in one transaction: nobody else waits long.
KEEP_MAILS_DAYS = 7  # That something was sent, or given up; what it said is gone already.
KEEP_ALERTS_DAYS = 7  # Longer than any rule's window; that it was raised stays in the audit trail.
KEEP_CREDENTIALS_DAYS = 90  # Keys and application tokens that have ended.
DAY_SECONDS = 86400


class Over(NamedTuple):
    """Which rows of which table are over."""

    table: type[Base]
    which: ColumnElement[bool]


def purge(*, dry_run: bool = False) -> int:
    """Delete codes, links, tickets, attempts, flows, devices, spent challenges, counts, alerts and signing keys that are over, old
    mails and runs, factors that nobody proved, keys and application tokens that ended long ago, and lost pictures; how many.
    """
    affected = sum(_count(over) if dry_run else _delete(over) for over in _everything())
    affected += mail.purge(clock.now() - timedelta(days=KEEP_MAILS_DAYS), dry_run=dry_run)
    return affected + runs.purge(dry_run=dry_run) + pictures.sweep(dry_run=dry_run)


def _everything() -> Iterator[Over]:
    now, epoch = clock.now(), clock.epoch()
    for table in (Code, Link, PendingLogin, SignUpAttempt, Device, SpentChallenge):
        yield Over(table, table.expires_at < now)
    yield Over(Alert, Alert.raised_at < now - timedelta(days=KEEP_ALERTS_DAYS))
    yield Over(SigningKey, SigningKey.ends_at < now)
    exchanged = or_(SocialFlow.code_expires_at.is_(None), SocialFlow.code_expires_at < now)
    yield Over(SocialFlow, and_(SocialFlow.expires_at < now, exchanged))
    yield Over(Factor, and_(Factor.proven_at.is_(None), Factor.created_at < now - timedelta(seconds=DAY_SECONDS)))
    for credential in (ApiKey, AppToken):  # Long enough to tell their owners why they are refused.
        long_ago = now - timedelta(days=KEEP_CREDENTIALS_DAYS)
        yield Over(credential, or_(credential.expires_at < long_ago, credential.revoked_at < long_ago))
    quiet = and_(Budget.window_epoch + Budget.in_a_row * DAY_SECONDS < epoch, Budget.blocked_until_epoch < epoch)
    yield Over(Budget, and_(quiet, Budget.in_a_row < limits.FAILURES_IN_A_ROW))


def _count(over: Over) -> int:
    with reading() as db:
        return db.scalar(select(func.count()).select_from(over.table).where(over.which)) or 0


def _delete(over: Over) -> int:
    key = inspect(over.table).primary_key[0]
    deleted = 0
    while True:
        with reading() as db:
            some = db.scalars(select(key).where(over.which).limit(BATCH)).all()
        if not some:
            return deleted
        with transaction() as db:
            deleted += changed(db, delete(over.table).where(key.in_(some), over.which))
