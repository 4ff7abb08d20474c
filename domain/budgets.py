"""Failure budgets: how often a caller may be wrong about an account's password or codes, exact over all workers.

A try is taken before it is judged, by one guarded update, so a burst of parallel guesses gets no more than the limit
(CVE-2024-4629); it is committed before the answer is known, so no rollback gives it back (CVE-2026-35597). The account is
one, however it is spelled; a name that nobody has is counted just the same. A known device and a running session have
budgets of their own, so that a stranger locks out nobody (OWASP ASVS 6.3.1, NIST SP 800-63B 5.2.2).
"""

from typing import Literal

from sqlalchemy import Executable, case, delete, update
from sqlalchemy.exc import IntegrityError

import config
from domain import clock, limits, secrets
from domain.database import changed, reading, transaction
from domain.errors import TooManyAttempts
from model import Budget

Kind = Literal["password", "code"]
STRANGER = ""


def spend(kind: Kind, account: str, caller: str = STRANGER) -> None:
    """Take one try for `caller` ("" for a stranger, else a device's or session's id); `TooManyAttempts` if none is left."""
    now = clock.epoch()
    key = _key(kind, account, caller)
    with transaction() as db:
        taken = changed(db, _take(key, now))
    if not taken and not _begin(key, account, now):
        raise TooManyAttempts(retry_after=_wait(key, now))


def clear(kind: Kind, account: str, caller: str = STRANGER) -> None:
    """The caller was right: their own count on this account starts anew, and nobody else's."""
    with transaction() as db:
        db.execute(delete(Budget).where(Budget.key == _key(kind, account, caller)))


def unlock(account: str) -> int:
    """Forget all failures on an account, whoever made them; how many counts there were."""
    with transaction() as db:
        return changed(db, delete(Budget).where(Budget.account == secrets.hashed(account)))


def _key(kind: Kind, account: str, caller: str) -> str:
    return secrets.hashed(f"{kind}\0{account}\0{caller}")


def _take(key: str, now: int) -> Executable:
    """One try, if the caller is not held back; the last of a round starts the pause, and the next pause is twice as long."""
    fresh = Budget.window_epoch <= now - config.settings.LOCKOUT_WINDOW_SECONDS
    count = case((fresh, 1), else_=Budget.failures + 1)
    last = count >= config.settings.FAILED_ATTEMPTS_LIMIT
    longest = limits.LONGEST_PAUSE_SECONDS
    return (
        update(Budget)
        .where(Budget.key == key, Budget.blocked_until_epoch <= now, Budget.in_a_row < limits.FAILURES_IN_A_ROW)
        .values(
            failures=case((last, 0), else_=count),
            in_a_row=Budget.in_a_row + 1,
            window_epoch=case((fresh, now), else_=Budget.window_epoch),
            blocked_until_epoch=case((last, now + Budget.pause_seconds), else_=0),
            pause_seconds=case(
                (last, case((Budget.pause_seconds * 2 > longest, longest), else_=Budget.pause_seconds * 2)),
                else_=Budget.pause_seconds,
            ),
        )
    )


def _begin(key: str, account: str, now: int) -> bool:
    """The first try of this caller: make its row. If another request just did, take from that one instead."""
    only = config.settings.FAILED_ATTEMPTS_LIMIT == 1
    row = Budget(
        key=key,
        account=secrets.hashed(account),
        failures=0 if only else 1,
        in_a_row=1,
        pause_seconds=limits.FIRST_PAUSE_SECONDS,
        window_epoch=now,
        blocked_until_epoch=now + limits.FIRST_PAUSE_SECONDS if only else 0,
    )
    try:
        with transaction() as db:
            db.add(row)
    except IntegrityError:
        with transaction() as db:
            return changed(db, _take(key, now)) == 1
    return True


def _wait(key: str, now: int) -> int:
    """Seconds until the next try; a day where only a reset or an unlock helps."""
    with reading() as db:
        row = db.get(Budget, key)
    if row is None:
        return 1
    if row.in_a_row >= limits.FAILURES_IN_A_ROW:
        return 86400
    return max(1, row.blocked_until_epoch - now)
