"""When was a session last seen, when a key or token last used, and how often? Gathered, and written in batches (`gathering`).

A time stays unwritten for at most ACTIVITY_FLUSH_SECONDS; what reads that of a session (`sessions`) allows for that much. Near
its idle end, where the unwritten time would decide, it is written at once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Executable, bindparam, case, or_, update

import config
from domain import clock
from domain.database import transaction
from domain.gathering import Gathering
from model import ApiKey, AppToken, Session, UtcTime

Credential = type[ApiKey] | type[AppToken]


class Uses(NamedTuple):
    """How often a key or token was used, and when last (seconds since 1970)."""

    times: int
    last: int


def note(session_id: str, stored: int) -> None:
    """This session was just seen; `stored` is what the database knows (seconds since 1970)."""
    now = clock.epoch()
    idle, flush_every = config.settings.SESSION_IDLE_SECONDS, config.settings.ACTIVITY_FLUSH_SECONDS
    if idle and now - stored > idle - 2 * flush_every and now > stored and seen(session_id) < now - flush_every:
        _write_seen({session_id: now})
    _seen.note(session_id, now)


def seen(session_id: str) -> int:
    """When this process last saw it (seconds since 1970), 0 if that is written already."""
    return _seen.get(session_id) or 0


def used(table: Credential, credential_id: str) -> None:
    """This key or token was just used."""
    _uses[table].note(credential_id, Uses(1, clock.epoch()))


def uses(table: Credential, credential_id: str) -> Uses:
    """What this process has not written yet of a key's or token's uses."""
    return _uses[table].get(credential_id) or Uses(0, 0)


def flush(*, dry_run: bool = False) -> int:
    """Write what this process has gathered; of how many sessions, keys and tokens. What can't be written is kept."""
    return sum(one.flush(dry_run=dry_run) for one in _all())


def try_flush() -> None:
    """Write what was gathered, if the database answers; else it waits for the next time, or is lost with the process."""
    for one in _all():
        one.try_flush()


def forget() -> None:
    """Drop what was gathered, unwritten: for a process that is about to serve another database."""
    for one in _all():
        one.forget()


def _all() -> tuple[Gathering[Any], ...]:
    return (_seen, *_uses.values())


def _write_seen(batch: Mapping[str, int]) -> None:
    later = update(Session).where(Session.id == bindparam("one"), Session.ended_at.is_(None), Session.last_seen_at < bindparam("at"))
    times = [{"one": session_id, "at": datetime.fromtimestamp(at, UTC)} for session_id, at in sorted(batch.items())]
    with transaction() as db:
        db.connection().execute(later.values(last_seen_at=bindparam("at")), times)


def _write_uses(table: Credential, batch: Mapping[str, Uses]) -> None:
    rows = [{"one": key, "more": uses.times, "at": datetime.fromtimestamp(uses.last, UTC)} for key, uses in sorted(batch.items())]
    with transaction() as db:
        db.connection().execute(_USED[table], rows)


def _counting(table: Credential) -> Executable:
    """Adds to what other processes have written, and never sets the time back."""
    at = bindparam("at", type_=UtcTime)
    later = or_(table.last_used_at.is_(None), table.last_used_at < at)
    return (
        update(table)
        .where(table.id == bindparam("one"))
        .values(
            use_count=table.use_count + bindparam("more", type_=BigInteger),
            last_used_at=case((later, at), else_=table.last_used_at),
        )
    )


def _added(had: Uses, new: Uses) -> Uses:
    return Uses(had.times + new.times, max(had.last, new.last))


def _left(uses: Uses, written: Uses) -> Uses | None:
    return Uses(uses.times - written.times, uses.last) if uses.times > written.times else None


_USED = {table: _counting(table) for table in (ApiKey, AppToken)}
_seen: Gathering[int] = Gathering(lambda _, at: at, _write_seen, lambda at, written: at if at != written else None)
_uses: dict[Credential, Gathering[Uses]] = {
    ApiKey: Gathering(_added, lambda batch: _write_uses(ApiKey, batch), _left),
    AppToken: Gathering(_added, lambda batch: _write_uses(AppToken, batch), _left),
}
