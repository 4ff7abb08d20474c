"""Runs of jobs: taken by one process at a time, and recorded: when, how long, what they did.

A lease row says when a job may run again and who runs it now; it is taken by one guarded update, so of several
processes whose clocks strike, one works. Who dies in the middle of a run holds the others up for LEASE_SECONDS.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

import config
from domain import audit, clock, metrics
from domain.caller import Caller
from domain.database import changed, new_id, reading, transaction
from domain.errors import JobRunning, Unavailable
from model import JobLease, JobRun

LEASE_SECONDS = 600  # No job takes as long; each would do no harm if two processes ran it.
WAIT_SECONDS = 5  # How long a run by hand waits for one that is under way.
OFTEN_SECONDS = 60  # Of jobs that run at least this often, runs that did nothing share one record.
KEEP_DAYS = 30
OK = "ok"

Work = Callable[[], int]


class Job(NamedTuple):
    """A row of the table of jobs: the name, how often (seconds, or the setting that says so), what it does, and what it would do.

    `alone`: one process at a time. The others may run in every process, for what they take is taken once anyway.
    """

    name: str
    every: float | str
    work: Work
    rehearse: Work
    alone: bool = True
    by_hand: Work | None = None  # Where a run by hand does more.

    @property
    def seconds(self) -> float:
        """How often it runs."""
        return float(getattr(config.settings, self.every)) if isinstance(self.every, str) else self.every


class Run(NamedTuple):
    """What one run did, or would have done; as JSON it is the answer of `flask jobs run` and of the API."""

    job: str
    dry_run: bool
    affected: int


class Overview(NamedTuple):
    """What is known of a job: when it ran last and with which result, and when it is due; None if it never ran."""

    last_run: datetime | None
    last_result: str | None
    next_run: datetime | None


def overview(job: Job) -> Overview:
    """When a job ran, and when it will; one that is overdue is due now."""
    run = last(job.name)
    if run is None:
        return Overview(None, None, None)
    return Overview(run.started_at, run.result, max(run.started_at + timedelta(seconds=job.seconds), clock.now()))


def run_now(job: Job, *, dry_run: bool = False) -> Run:
    """Run a job by hand, due or not; a dry run only counts. `JobRunning` if it runs elsewhere."""
    if dry_run:
        return Run(job.name, dry_run, job.rehearse())
    run = take_now if job.alone else record
    return Run(job.name, dry_run, run(job.name, job.by_hand or job.work, every=job.seconds))


def run_by(caller: Caller, job: Job, *, dry_run: bool) -> Run:
    """The same as an administrator does it, which is told in the audit trail unless it was a dry run."""
    run = run_now(job, dry_run=dry_run)
    if not dry_run:
        with transaction() as db:
            audit.by(db, "job.run", caller, job=job.name, affected=run.affected)
    return run


def take_turn(name: str, work: Work, *, every: float) -> int | None:
    """Run a job that is due in all processes together every so many seconds: how much it did, None if it was not our turn."""
    holder = _take(name, every)
    return _held(name, holder, work, every) if holder else None


def take_now(name: str, work: Work, *, every: float) -> int:
    """Run a job though it may not be due; `JobRunning` if another process is running it, and goes on."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not (holder := _take(name, every, whenever=True)):
        if time.monotonic() > give_up:
            raise JobRunning
        time.sleep(0.2)
    return _held(name, holder, work, every)


def record(name: str, work: Work, *, every: float) -> int:
    """Run a job here and now and write down how it went. Its failure is written down too, and raised."""
    started = time.monotonic()
    try:
        affected = work()
    except Exception as failure:
        with suppress(Unavailable):  # A database that is away can't be told; what matters is the first failure.
            _note(name, time.monotonic() - started, 0, type(failure).__name__, every)
        raise
    _note(name, time.monotonic() - started, affected, OK, every)
    return affected


def last(name: str) -> JobRun | None:
    """The latest run of a job."""
    with reading() as db:
        return db.scalar(select(JobRun).where(JobRun.name == name).order_by(JobRun.started_at.desc()).limit(1))


def purge(*, dry_run: bool = False) -> int:
    """Forget the runs of more than KEEP_DAYS ago; how many."""
    old = JobRun.started_at < clock.now() - timedelta(days=KEEP_DAYS)
    with transaction() as db:
        if dry_run:
            return db.scalar(select(func.count()).select_from(JobRun).where(old)) or 0
        return changed(db, delete(JobRun).where(old))


def _held(name: str, holder: str, work: Work, every: float) -> int:
    try:
        return record(name, work, every=every)
    finally:
        with suppress(Unavailable), transaction() as db:
            mine = update(JobLease).where(JobLease.name == name, JobLease.holder == holder)
            db.execute(mine.values(holder=None, leased_until=clock.now()))


def _take(name: str, every: float, *, whenever: bool = False) -> str | None:
    """Our mark on the lease, if we get it. A look goes first: most of the time it is not due, and a look locks nothing."""
    turn = _turn(name, whenever=whenever)
    with reading() as db:
        known = db.scalar(select(JobLease.name).where(JobLease.name == name))
        free = known and db.scalar(select(JobLease.name).where(*turn))
    if not known:
        _make(name)
    elif not free:
        return None
    now, holder = clock.now(), new_id()
    # A clock that strikes a moment early must find the job due, or it would run every other time only.
    next_run_at = now + timedelta(seconds=every - min(1, every / 10))
    mark = {"holder": holder, "leased_until": now + timedelta(seconds=LEASE_SECONDS), "next_run_at": next_run_at}
    with transaction() as db:
        return holder if changed(db, update(JobLease).where(*_turn(name, whenever=whenever)).values(mark)) else None


def _turn(name: str, *, whenever: bool) -> list[ColumnElement[bool]]:
    now = clock.now()
    idle = or_(JobLease.holder.is_(None), JobLease.leased_until <= now)
    return [JobLease.name == name, idle, *([] if whenever else [JobLease.next_run_at <= now])]


def _make(name: str) -> None:
    now = clock.now()
    with suppress(IntegrityError), transaction() as db:
        db.add(JobLease(name=name, holder=None, leased_until=now, next_run_at=now))


def _note(name: str, seconds: float, affected: int, result: str, every: float) -> None:
    """Write a run down. Runs that did nothing and come often move one record along, at most once a minute."""
    metrics.job_run(name, result)
    at = clock.now() - timedelta(seconds=seconds)
    before = last(name) if every <= OFTEN_SECONDS and not affected else None
    if before and (before.affected, before.result) == (0, result):
        if at - before.started_at >= timedelta(seconds=OFTEN_SECONDS):
            with transaction() as db:
                db.execute(update(JobRun).where(JobRun.id == before.id).values(started_at=at, seconds=seconds))
        return
    with transaction() as db:
        db.add(JobRun(id=new_id(), name=name, started_at=at, seconds=seconds, affected=affected, result=result))
