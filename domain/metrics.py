"""What is counted and timed, for Prometheus. No label holds anything of a user's.

Every process counts in files of its own in INSTANCE_DIR/metrics, so a scrape of any of them shows the sum. It takes the
lowest number that no living process holds. Whoever held it before has left its counts there, and they go on: no sum ever
falls, and there are never more files than there were processes at once.
"""

import fcntl
import logging
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config import Settings
from domain.errors import InvalidCredentials, MfaInvalidCode, Refused, TooManyAttempts, Unavailable

P = ParamSpec("P")
R = TypeVar("R")
Cache = Literal["hit", "miss", "away", "off"]

FILE_BYTES = 1 << 16  # The library's own size; enough for three times the labels that there are.
ONE_IN = 16  # Of so many token checks one is timed: timing one costs 2 to 4 microseconds, leaving it out 0.3.
FAST = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
SLOW = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5)
FAILED = (InvalidCredentials, MfaInvalidCode, TooManyAttempts)


class Counts(NamedTuple):
    """Everything that is counted; the names that Prometheus sees begin with `gatehouse_`."""

    registry: CollectorRegistry
    sign_ins: Counter
    sign_in: Histogram
    token_check: Histogram
    refresh: Histogram
    failed: Counter
    look_ups: dict[Cache, Counter]
    job_runs: Counter
    alerts: Counter
    captchas: Counter


class _Place(NamedTuple):
    """Where a process counts: its number, kept by a lock on an open file, which ends with the process."""

    pid: int
    number: int
    lock: int


def connect(settings: Settings) -> None:
    """Count in this process's own files from now on; before this is called, in memory."""
    global _counts, _folder, _place
    if _place is not None:
        values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
        os.close(_place.lock)
        _place = None
    _folder = settings.INSTANCE_DIR / "metrics"
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder)  # The library has no other way to be told.
    try:
        _folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        values.ValueClass = values.MultiProcessValue(_number)  # type: ignore[no-untyped-call]
    except OSError as error:
        logging.getLogger("gatehouse").warning("Counting in this process's memory only: %s", error)
        values.ValueClass, _folder = values.MutexValue, None
    _counts = _made()


def text(outbox: Callable[[], int]) -> str:
    """All counts of all processes in Prometheus's text format; `outbox` says how many mails wait."""
    counts, mails = _counts.registry, CollectorRegistry()
    if _folder is not None:
        counts = CollectorRegistry()
        MultiProcessCollector(counts, str(_folder))  # type: ignore[no-untyped-call]
    mails.register(_Outbox(outbox))
    return (generate_latest(counts) + generate_latest(mails)).decode()


def sign_in(way: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Count and time a way to sign in: by what came of it, `success`, the stage that waits, or the refusal's code."""

    def counted(call: Callable[P, R]) -> Callable[P, R]:
        @wraps(call)
        def measured(*args: P.args, **named: P.kwargs) -> R:
            began, result = perf_counter(), "internal_error"
            try:
                outcome = call(*args, **named)
                result = getattr(outcome, "status", "success")
            except Refused as refusal:
                result = refusal.code
                raise
            finally:
                _counts.sign_ins.labels(way, result).inc()
                _counts.sign_in.labels(way).observe(perf_counter() - began)
            return outcome

        return measured

    return counted


def refresh(call: Callable[P, R]) -> Callable[P, R]:
    """Time every refresh."""

    @wraps(call)
    def measured(*args: P.args, **named: P.kwargs) -> R:
        began = perf_counter()
        try:
            return call(*args, **named)
        finally:
            _counts.refresh.observe(perf_counter() - began)

    return measured


def token_check(call: Callable[P, R]) -> Callable[P, R]:
    """Time one in ONE_IN of the token checks."""
    calls = count()

    @wraps(call)
    def measured(*args: P.args, **named: P.kwargs) -> R:
        if next(calls) % ONE_IN:
            return call(*args, **named)
        began = perf_counter()
        try:
            return call(*args, **named)
        finally:
            _counts.token_check.observe(perf_counter() - began)

    return measured


def look_up(cache: Cache) -> None:
    """A session was looked up, and this is how the cache did."""
    _counts.look_ups[cache].inc()


def refusal(refused: Refused) -> None:
    """A request is refused; it counts as a failed attempt if a password or code was wrong or came too often."""
    if isinstance(refused, FAILED):
        _counts.failed.labels(refused.code).inc()


def alert(rule: str) -> None:
    """An alert was raised."""
    _counts.alerts.labels(rule).inc()


def captcha(result: str) -> None:
    """Somebody was asked to show that they are a person: `required`, `passed`, `failed`, or `away` where the verifier is."""
    _counts.captchas.labels(result).inc()


def job_run(job: str, result: str) -> None:
    """A job has run; `result` is `ok` or the name of what stopped it."""
    _counts.job_runs.labels(job, result).inc()


class _Outbox(Collector):
    """The length of the outbox, looked up when it is asked for; without a database there is none to tell."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting

    def collect(self) -> list[GaugeMetricFamily]:
        with suppress(Unavailable):
            return [GaugeMetricFamily("gatehouse_outbox_mails", "Mails that are still to be sent.", self._waiting())]
        return []


def _made() -> Counts:
    registry = CollectorRegistry()

    def counter(name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"gatehouse_{name}", meaning, labels, registry=registry)

    def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"gatehouse_{name}_seconds", meaning, labels, registry=registry, buckets=buckets)

    look_ups = counter("session_look_ups", "Look-ups of sessions, by what the cache had.", "cache")
    return Counts(
        registry,
        counter("sign_ins", "Sign-ins, by way and by what came of them.", "way", "result"),
        histogram("sign_in", "How long sign-ins took.", SLOW, "way"),
        histogram("token_check", f"How long token checks took; one in {ONE_IN} is timed.", FAST),
        histogram("refresh", "How long refreshes took.", FAST),
        counter("failed_attempts", "Refusals of a wrong password or code, or of one too many, by code.", "code"),
        {"hit": look_ups.labels("hit"), "miss": look_ups.labels("miss"), "away": look_ups.labels("away"), "off": look_ups.labels("off")},
        counter("job_runs", "Runs of scheduled jobs, by what came of them.", "job", "result"),
        counter("alerts", "Alerts that were raised, by rule.", "rule"),
        counter("captchas", "CAPTCHAs that were asked for, by what came of them.", "result"),
    )


def _number() -> int:
    """This process's number. A process that was forked off takes one of its own."""
    global _place
    if _place is None or _place.pid != os.getpid():
        assert _folder is not None
        if _place is not None:
            os.close(_place.lock)  # The process it belongs to holds on to it.
        _place = _take_place(_folder)
    return _place.number


def _take_place(folder: Path) -> _Place:
    for number in count():
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        for kind in ("counter", "histogram"):
            _prepare(folder / f"{kind}_{number}.db")
        return _Place(os.getpid(), number, lock)
    raise AssertionError


def _prepare(path: Path) -> None:
    """A file that can be counted in: what stands there, if it can be read, else a new one.

    Its space is taken at once: a full disk is an error now, where later it would end the process (SIGBUS).
    """
    with suppress(FileNotFoundError, RuntimeError, ValueError, struct.error):
        MultiProcessCollector.merge([str(path)])  # type: ignore[no-untyped-call]
        return
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
    new.replace(path)


values.ValueClass = values.MutexValue  # Whatever the environment says: only `connect` names the place.
_folder: Path | None = None
_place: _Place | None = None
_counts = _made()
