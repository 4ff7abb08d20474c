"""The table of jobs, and the clock that runs them (APScheduler), in the server's own process or in `python -m jobs`."""

import atexit
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler

import config
from domain import activity, expired, mail, outbox, runs, sessions
from domain.errors import NotFound, Unavailable

MINUTE, HOUR, DAY = 60, 3600, 86400
LOOK_SECONDS = 30  # How often a rarer job asks whether it is due; the lease in the database knows.
LAST_WORDS_SECONDS = 5  # How long a stopping process lets a run that is under way finish.
THREADS = "job "

logger = logging.getLogger(__name__)
_scheduler: Any = None


class Job(NamedTuple):
    """One row: the name, how often (seconds, or the setting that says so), what it does, and what it would do.

    `alone`: one process at a time. The others may run in every process, for what they take is taken once anyway.
    """

    name: str
    every: float | str
    work: Callable[[], int]
    rehearse: Callable[[], int]
    alone: bool = True
    by_hand: Callable[[], int] | None = None  # Where a run by hand does more.

    @property
    def seconds(self) -> float:
        """How often it runs."""
        return float(getattr(config.settings, self.every)) if isinstance(self.every, str) else self.every


JOBS = (
    Job("blacklist-idle", 5 * MINUTE, sessions.end_idle, partial(sessions.end_idle, dry_run=True)),
    Job("purge-blacklist", DAY, sessions.purge, partial(sessions.purge, dry_run=True)),
    Job("purge-expired", HOUR, expired.purge, partial(expired.purge, dry_run=True)),
    Job("flush-activity", "ACTIVITY_FLUSH_SECONDS", activity.flush, partial(activity.flush, dry_run=True), alone=False),
    Job("deliver-mail", 2, outbox.deliver, mail.waiting, alone=False, by_hand=partial(outbox.deliver, now=True)),
)


def run_now(name: str, *, dry_run: bool = False) -> runs.Run:
    """Run a job by hand, due or not; a dry run only counts. `NotFound`; `Conflict` if it is running elsewhere."""
    job = next((job for job in JOBS if job.name == name), None)
    if job is None:
        raise NotFound
    if dry_run:
        return runs.Run(name, dry_run, job.rehearse())
    run = runs.take_now if job.alone else runs.record
    return runs.Run(name, dry_run, run(name, job.by_hand or job.work, every=job.seconds))


def start() -> None:
    """Run the jobs from now on, in threads that end with this process; again is fine."""
    global _scheduler
    if _scheduler is not None:
        return
    _scheduler = BackgroundScheduler(timezone=UTC, executors={"default": _Threads()})
    soon = datetime.now(UTC) + timedelta(seconds=1)
    rules = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
    for job in JOBS:
        seconds = min(job.seconds, LOOK_SECONDS) if job.alone else job.seconds
        _scheduler.add_job(_tick, "interval", [job], seconds=seconds, id=job.name, next_run_time=soon, **rules)
    _scheduler.start()
    atexit.register(stop)


def stop() -> None:
    """Start no more runs; those under way get a few seconds to finish. What they leave undone is taken up again later."""
    global _scheduler
    if _scheduler is None:
        return
    _scheduler.shutdown(wait=False)
    _scheduler = None
    atexit.unregister(stop)
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(LAST_WORDS_SECONDS)


def _tick(job: Job) -> None:
    """One strike of the clock for one job. Whatever goes wrong, the next strike comes."""
    run = runs.take_turn if job.alone else runs.record
    try:
        run(job.name, job.work, every=job.seconds)
    except Unavailable:
        logger.warning("Job %s did not run: the database or Redis is away", job.name)
    except Exception:
        logger.exception("Job %s failed", job.name)


class _Threads(BaseExecutor):  # type: ignore[misc]
    """A daemon thread for every run. APScheduler's own pool would keep a process that stops until its mail has left."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        threading.Thread(target=self._run, args=(job, run_times), name=THREADS + job.id, daemon=True).start()

    def _run(self, job: Any, run_times: list[datetime]) -> None:
        self._run_job_success(job.id, run_job(job, job._jobstore_alias, run_times, self._logger.name))
