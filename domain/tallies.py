"""Failures counted by address, exact over all workers: FAILED_ATTEMPTS_LIMIT from the first one on, for as long as a window is.

A try is taken before it is judged, by one guarded update, so a burst gets no more than the limit; what turns out to be no
failure is given back.
"""

from typing import Any

from sqlalchemy import BigInteger, Integer, bindparam, case, or_, select, update

import config
from domain import clock, limits, secrets
from domain.caller import Client
from domain.database import add_if_absent, changed, reading, transaction
from model import Budget

_NOW, _OVER = bindparam("now", type_=BigInteger), bindparam("over", type_=BigInteger)
_HERE = Budget.key == bindparam("budget")
_FRESH = Budget.window_epoch <= _OVER
# MariaDB and MySQL assign in this order and read what was just assigned: the count is judged by the old window.
_TAKE = (
    update(Budget)
    .where(_HERE, or_(_FRESH, Budget.failures < bindparam("most", type_=Integer)))
    .ordered_values(
        (Budget.failures, case((_FRESH, 1), else_=Budget.failures + 1)),
        (Budget.window_epoch, case((_FRESH, _NOW), else_=Budget.window_epoch)),
    )
)
# Nothing is given back to a window that began later: the try was none of it.
_GIVE_BACK = update(Budget).where(_HERE, Budget.failures > 0, Budget.window_epoch <= _NOW).values(failures=Budget.failures - 1)
_STATE = select(Budget.failures, Budget.window_epoch).where(_HERE)


def take(what: str, client: Client, window: int) -> int | None:
    """Take one try of this kind for an address, in a window of so many seconds: when that was; None if none is left."""
    now, name = clock.epoch(), _name(what, client)
    values = {"budget": name, "now": now, "over": now - window, "most": config.settings.FAILED_ATTEMPTS_LIMIT}
    with transaction() as db:
        add_if_absent(db, Budget, **_unspent(name, now))
        return now if changed(db, _TAKE, values) else None


def give_back(what: str, client: Client, taken: int) -> None:
    """The try that was taken then was no failure."""
    with transaction() as db:
        changed(db, _GIVE_BACK, {"budget": _name(what, client), "now": taken})


def wait(what: str, client: Client, window: int) -> int:
    """In how many seconds there is a try again; 0 if there is one now."""
    now = clock.epoch()
    with reading() as db:
        failures, began = db.execute(_STATE, {"budget": _name(what, client)}).one_or_none() or (0, now)
    return max(0, began + window - now) if failures >= config.settings.FAILED_ATTEMPTS_LIMIT else 0


def _name(what: str, client: Client) -> str:
    return secrets.hashed(f"{what}\0{client.network}")


def _unspent(name: str, now: int) -> dict[str, Any]:
    """`in_a_row` keeps the row for a day (`expired`)."""
    return {
        "key": name,
        "account": name,
        "failures": 0,
        "in_a_row": 1,
        "pause_seconds": limits.FIRST_PAUSE_SECONDS,
        "window_epoch": now,
        "blocked_until_epoch": 0,
    }
