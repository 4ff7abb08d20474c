"""Failure budgets: how often a caller may be wrong about an account's password, codes or passkeys, exact over all workers.

A try is taken before it is judged, by one guarded update, so a burst of parallel guesses gets no more than the limit
(CVE-2024-4629); it is committed before the answer is known, so no rollback gives it back (CVE-2026-35597). The account is
one, however it is spelled; a name that nobody has is counted just the same. A known device and its running sessions
have budgets of their own, so that a stranger locks out nobody (OWASP ASVS 6.3.1, NIST SP 800-63B 5.2.2).
"""

from typing import Any, Literal, NamedTuple

from sqlalchemy import BigInteger, Executable, Integer, bindparam, case, delete, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import clock, limits, secrets
from domain.database import add_if_absent, changed, reading, transaction
from domain.errors import TooManyAttempts
from model import Budget

Kind = Literal["password", "code", "passkey"]
STRANGER = ""


class Try(NamedTuple):
    """One try that was taken, and how long this caller has to wait if it is wrong: 0 while more are left, None for good."""

    key: str
    kind: Kind
    pause_seconds: int | None

    @property
    def is_last(self) -> bool:
        """Whether no other try is left at present."""
        return self.pause_seconds != 0


def spend(kind: Kind, account: str, caller: str = STRANGER) -> Try:
    """Take one try for `caller` ("" for a stranger, else a device's id, or `login.known_as`); `TooManyAttempts` if none is left."""
    now = clock.epoch()
    key = secrets.hashed(f"{kind}\0{account}\0{caller}")
    with transaction() as db:
        # The same statements for the first try as for the next, or the time would tell on whom somebody has tried before.
        add_if_absent(db, Budget, **_unspent(key, account, now))
        taken = changed(db, TAKE, _take(key, now))
        if taken:
            return Try(key, kind, _pause(db, key, now))
    raise TooManyAttempts(retry_after=_wait(key, now))


def clear(db: Database, right: Try) -> None:
    """This try was right: its caller's own count on the account starts anew, and nobody else's. Part of the act it allowed."""
    changed(db, CLEAR, {"budget": right.key})


def unlock(account: str) -> int:
    """Forget all failures on an account, whoever made them; how many counts there were."""
    with transaction() as db:
        return changed(db, delete(Budget).where(Budget.account == account_hash(account)))


def account_hash(account: str) -> str:
    """How a name under which failures are counted stands in the table."""
    return secrets.hashed(account)


def _take(key: str, now: int) -> dict[str, Any]:
    """The values with which `TAKE` takes one try."""
    return {
        "budget": key,
        "now": now,
        "over": now - config.settings.LOCKOUT_WINDOW_SECONDS,
        "most": config.settings.FAILED_ATTEMPTS_LIMIT,
    }


def _taking() -> Executable:
    """One try, if the caller is not held back; the last of a round starts the pause, and the next pause is twice as long."""
    now, longest = bindparam("now", type_=BigInteger), limits.LONGEST_PAUSE_SECONDS
    fresh = Budget.window_epoch <= bindparam("over", type_=BigInteger)
    count = case((fresh, 1), else_=Budget.failures + 1)
    last = count >= bindparam("most", type_=Integer)
    doubled = case((Budget.pause_seconds * 2 > longest, longest), else_=Budget.pause_seconds * 2)
    return (
        update(Budget)
        .where(Budget.key == bindparam("budget"), Budget.blocked_until_epoch <= now, Budget.in_a_row < limits.FAILURES_IN_A_ROW)
        # MariaDB and MySQL assign in this order and read what was just assigned: each column is read before it is written.
        .ordered_values(
            (Budget.blocked_until_epoch, case((last, now + Budget.pause_seconds), else_=0)),
            (Budget.pause_seconds, case((last, doubled), else_=Budget.pause_seconds)),
            (Budget.in_a_row, Budget.in_a_row + 1),
            (Budget.failures, case((last, 0), else_=count)),
            (Budget.window_epoch, case((fresh, now), else_=Budget.window_epoch)),
        )
    )


# Statements of every sign-in are built once: building one costs more than running it.
TAKE = _taking()
CLEAR = (
    update(Budget)
    .where(Budget.key == bindparam("budget"))
    .values(failures=0, in_a_row=0, pause_seconds=limits.FIRST_PAUSE_SECONDS, blocked_until_epoch=0)
)
_STATE = select(Budget.blocked_until_epoch, Budget.in_a_row).where(Budget.key == bindparam("budget"))


def _unspent(key: str, account: str, now: int) -> dict[str, Any]:
    """The row of a caller who has not been wrong on this account yet."""
    return {
        "key": key,
        "account": account_hash(account),
        "failures": 0,
        "in_a_row": 0,
        "pause_seconds": limits.FIRST_PAUSE_SECONDS,
        "window_epoch": now,
        "blocked_until_epoch": 0,
    }


def _pause(db: Database, key: str, now: int) -> int | None:
    """How long the caller has to wait after a try that was just taken; None where only a reset or an unlock helps."""
    blocked_until, in_a_row = db.connection().execute(_STATE, {"budget": key}).one()
    return None if in_a_row >= limits.FAILURES_IN_A_ROW else max(0, blocked_until - now)


def _wait(key: str, now: int) -> int:
    """Seconds until the next try; a day where only a reset or an unlock helps."""
    with reading() as db:
        row = db.get(Budget, key)
    if row is None:
        return 1
    if row.in_a_row >= limits.FAILURES_IN_A_ROW:
        return 86400
    return max(1, row.blocked_until_epoch - now)
