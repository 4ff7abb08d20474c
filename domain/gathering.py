"""What happens on every request, gathered in each process's memory and written in batches, never once per request."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import config
from domain.errors import Refused

T = TypeVar("T")


class Gathering(Generic[T]):
    """A value for each id. `add` puts a new one to what is there, `write` stores a batch, and `rest` says what of a value is
    left when that much of it was written; None for nothing. Nothing stays unwritten longer than ACTIVITY_FLUSH_SECONDS.
    """

    def __init__(self, add: Callable[[T, T], T], write: Callable[[dict[str, T]], None], rest: Callable[[T, T], T | None]) -> None:
        self._add, self._write, self._rest = add, write, rest
        self._values: dict[str, T] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # One batch at a time, or two would write the same value.
        self._timer: threading.Timer | None = None

    def note(self, id: str, value: T) -> None:  # noqa: A002 - Of a row.
        """This has just happened. The first value sets a timer for the whole batch."""
        with self._lock:
            had = self._values.get(id)
            self._values[id] = value if had is None else self._add(had, value)
            self._set_timer()

    def get(self, id: str) -> T | None:  # noqa: A002 - Of a row.
        """What this process has gathered of one and not written yet."""
        return self._values.get(id)

    def flush(self, *, dry_run: bool = False) -> int:
        """Write what was gathered; of how many. What can't be written is kept for the next time."""
        if dry_run:
            return len(self._values)
        with self._writing:
            with self._lock:
                batch = dict(self._values)
            if batch:
                self._write(batch)
                self._settle(batch)
        return len(batch)

    def try_flush(self) -> None:
        """The same, if the database answers."""
        with suppress(Refused):
            self.flush()

    def forget(self) -> None:
        """Drop what was gathered, unwritten."""
        with self._lock:
            self._values.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _settle(self, batch: dict[str, T]) -> None:
        with self._lock:
            for one, written in batch.items():
                if one not in self._values:
                    continue
                left = self._rest(self._values[one], written)
                if left is None:
                    del self._values[one]
                else:
                    self._values[one] = left

    def _set_timer(self) -> None:
        """The thread must not keep the process alive."""
        if self._timer is None:
            self._timer = threading.Timer(config.settings.ACTIVITY_FLUSH_SECONDS, self._flush_and_rest)
            self._timer.daemon = True
            self._timer.start()

    def _flush_and_rest(self) -> None:
        try:
            self.try_flush()
        finally:
            with self._lock:
                self._timer = None
                if self._values:
                    self._set_timer()
