"""How many API keys that nobody has an address may try. Nobody guesses 256 bits; but who tries is heard of, and slowed down.

Counted in the database, so exact over all workers: FAILED_ATTEMPTS_LIMIT from the first wrong one on for RATE_LIMIT_WINDOW. A
right key is never asked about here.
"""

from sqlalchemy import BigInteger, Integer, bindparam, case, or_, select, update

import config
from domain import clock, limits, secrets
from domain.caller import Client
from domain.database import add_if_absent, changed, reading, transaction
from domain.errors import TooManyAttempts
from model import Budget

_NOW, _OVER = bindparam("now", type_=BigInteger), bindparam("over", type_=BigInteger)
_FRESH = Budget.window_epoch <= _OVER
# MariaDB and MySQL assign in this order and read what was just assigned: the count is judged by the old window.
_TAKE = (
    update(Budget)
    .where(Budget.key == bindparam("budget"), or_(_FRESH, Budget.failures < bindparam("most", type_=Integer)))
    .ordered_values(
        (Budget.failures, case((_FRESH, 1), else_=Budget.failures + 1)),
        (Budget.window_epoch, case((_FRESH, _NOW), else_=Budget.window_epoch)),
    )
)


def count(client: Client) -> None:
    """One more from this address; `TooManyAttempts` once it has had its share."""
    now, window = clock.epoch(), config.settings.RATE_LIMIT_WINDOW
    name = secrets.hashed(f"keys\0{client.network}")
    values = {"budget": name, "now": now, "over": now - window, "most": config.settings.FAILED_ATTEMPTS_LIMIT}
    with transaction() as db:
        add_if_absent(db, Budget, **_unspent(name, now))
        if changed(db, _TAKE, values):
            return
    raise TooManyAttempts(retry_after=_wait(name, now, window))


def _unspent(name: str, now: int) -> dict[str, object]:
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


def _wait(name: str, now: int, window: int) -> int:
    with reading() as db:
        began = db.scalar(select(Budget.window_epoch).where(Budget.key == name))
    return max(1, (began or now) + window - now)
