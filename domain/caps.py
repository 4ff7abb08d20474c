"""Caps on what strangers can cause: counts in fixed windows, kept in the database, exact over all workers.

Every limit of a cap counts in a row of its own, which the act holds until it is committed; what an act takes is given back
if the act comes to nothing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from limits import parse_many
from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session

from domain import clock, secrets
from domain.database import add_if_absent, changed
from model import MailCount


class Window(NamedTuple):
    """One fixed window of one limit for one name."""

    key: str
    amount: int
    ends_at: datetime


def hold(db: Session, name: str, limit: str) -> None:
    """Acts that begin with this, for one name, go one by one."""
    window = next(_windows(name, limit))
    add_if_absent(db, MailCount, key=window.key, count=0, expires_at=window.ends_at)
    changed(db, update(MailCount).where(MailCount.key == window.key).values(count=MailCount.count))


def take(db: Session, name: str, limit: str) -> Window | None:
    """Count one more for a name under a limit ("10 per hour; 40 per day"); the window that is full, if one is.

    A full short window spares the longer ones, which are asked all the same: time must not tell which one is full.
    """
    full: Window | None = None
    for window in _windows(name, limit):
        within = _count(db, window, 0 if full else window.amount)
        full = full or (None if within else window)
    return full


def give_back(db: Session, name: str, limit: str, many: int) -> None:
    """Count so many less: it did not come to them."""
    left = case((MailCount.count > many, MailCount.count - many), else_=0)
    for window in _windows(name, limit):
        changed(db, update(MailCount).where(MailCount.key == window.key).values(count=left))


def seconds_left(window: Window) -> int:
    """In how many seconds a window ends."""
    return max(1, int((window.ends_at - clock.now()).total_seconds()) + 1)


def purge(db: Session, *, dry_run: bool = False) -> int:
    """Delete the counts of past windows; how many."""
    over = MailCount.expires_at < clock.now()
    if dry_run:
        return db.scalar(select(func.count()).select_from(MailCount).where(over)) or 0
    return changed(db, delete(MailCount).where(over))


def _windows(name: str, limit: str) -> Iterator[Window]:
    """The windows of a name at this moment, the shortest first."""
    for one in sorted(parse_many(limit), key=lambda one: one.get_expiry()):
        seconds = one.get_expiry()
        number = clock.epoch() // seconds
        key = secrets.hashed(f"{name}, {one.amount} per {seconds} s, {number}")
        yield Window(key, one.amount, datetime.fromtimestamp((number + 1) * seconds, UTC))


def _count(db: Session, window: Window, most: int) -> bool:
    """One guarded update of a row that is made if need be: the same statements for the first of a window as for the next, or
    the time would tell which addresses have had mail lately.
    """
    add_if_absent(db, MailCount, key=window.key, count=0, expires_at=window.ends_at)
    more = update(MailCount).where(MailCount.key == window.key, MailCount.count < most)
    return changed(db, more.values(count=MailCount.count + 1)) == 1
