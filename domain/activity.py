"""When was a session last seen? Gathered in each process's memory and written in batches, never once per request.

A time stays unwritten for at most ACTIVITY_FLUSH_SECONDS; what reads it (`sessions`) allows for that much. Near the idle
end, where the unwritten time would decide, it is written at once.
"""

import threading
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import bindparam, update

import config
from domain import clock
from domain.database import transaction
from domain.errors import Refused
from model import Session

_seen: dict[str, int] = {}
_lock = threading.Lock()
_timer: threading.Timer | None = None


def note(session_id: str, stored: int) -> None:
    """This session was just seen; `stored` is what the database knows (seconds since 1970)."""
    now = clock.epoch()
    idle, flush_every = config.settings.SESSION_IDLE_SECONDS, config.settings.ACTIVITY_FLUSH_SECONDS
    if idle and now - stored > idle - 2 * flush_every and now > stored and seen(session_id) < now - flush_every:
        _write({session_id: now})
    with _lock:
        _seen[session_id] = now
        _set_timer(flush_every)


def seen(session_id: str) -> int:
    """When this process last saw it (seconds since 1970), 0 if that is written already."""
    return _seen.get(session_id, 0)


def flush(*, dry_run: bool = False) -> int:
    """Write what this process has gathered; how many sessions that is. What can't be written is kept for the next time."""
    with _lock:
        batch = dict(_seen)
    if batch and not dry_run:
        _write(batch)
        with _lock:
            for session_id, at in batch.items():
                if _seen.get(session_id) == at:
                    del _seen[session_id]
    return len(batch)


def try_flush() -> None:
    """Write what was gathered, if the database answers; else it waits for the next time, or is lost with the process."""
    with suppress(Refused):
        flush()


def forget() -> None:
    """Drop what was gathered, unwritten: for a process that is about to serve another database."""
    global _timer
    with _lock:
        _seen.clear()
        if _timer is not None:
            _timer.cancel()
            _timer = None


def _write(batch: dict[str, int]) -> None:
    later = update(Session).where(Session.id == bindparam("one"), Session.ended_at.is_(None), Session.last_seen_at < bindparam("at"))
    times = [{"one": session_id, "at": datetime.fromtimestamp(at, UTC)} for session_id, at in sorted(batch.items())]
    with transaction() as db:
        db.connection().execute(later.values(last_seen_at=bindparam("at")), times)


def _set_timer(seconds: int) -> None:
    """The first time gathered sets a timer for the whole batch. The thread must not keep the process alive."""
    global _timer
    if _timer is None:
        _timer = threading.Timer(seconds, _flush_and_rest)
        _timer.daemon = True
        _timer.start()


def _flush_and_rest() -> None:
    global _timer
    try:
        try_flush()
    finally:
        with _lock:
            _timer = None
            if _seen:
                _set_timer(config.settings.ACTIVITY_FLUSH_SECONDS)
