"""The table of jobs, and the clock that runs them (APScheduler), in the server's own process or in `python -m jobs`."""

import atexit
import logging
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler

from domain import activity, alerts, erasure, expired, key_ends, mail, outbox, provider_watch, runs, seals, sessions
from domain.errors import NotFound, Unavailable
from domain.runs import Job

MINUTE, HOUR, DAY = 60, 3600, 86400
LOOK_SECONDS = 30  # How often a rarer job asks whether it is due; the lease in the database knows.
LAST_WORDS_SECONDS = 5  # How long a stopping process lets a run that is under way finish.
THREADS = "job "

logger = logging.getLogger(__name__)
_scheduler: Any = None


JOBS = (
    Job("blacklist-idle", 5 * MINUTE, sessions.end_idle, partial(sessions.end_idle, dry_run=True)),
    Job("purge-blacklist", DAY, sessions.purge, partial(sessions.purge, dry_run=True)),
    Job("purge-expired", HOUR, expired.purge, partial(expired.purge, dry_run=True)),
    Job("flush-activity", "ACTIVITY_FLUSH_SECONDS", activity.flush, partial(activity.flush, dry_run=True), alone=False),
    Job("deliver-mail", 2, outbox.deliver, mail.waiting, alone=False, by_hand=partial(outbox.deliver, now=True)),
    Job(
        "deliver-sms",
        2,
        partial(outbox.deliver, outbox.SMS),
        partial(mail.waiting, mail.SMS),
        alone=False,
        by_hand=partial(outbox.deliver, outbox.SMS, now=True),
    ),
    Job("seal-audit", 30, seals.seal, partial(seals.seal, dry_run=True)),
    Job("warn-keys", HOUR, key_ends.warn, partial(key_ends.warn, dry_run=True)),
    Job("end-unused-keys", HOUR, key_ends.end_unused, partial(key_ends.end_unused, dry_run=True)),
    Job("raise-alerts", MINUTE, alerts.watch, partial(alerts.watch, dry_run=True)),
    Job("erase-accounts", MINUTE, erasure.run, partial(erasure.run, dry_run=True)),
    Job("watch-providers", DAY, provider_watch.watch, partial(provider_watch.watch, dry_run=True)),
)


def run_now(name: str, *, dry_run: bool = False) -> runs.Run:
    """Run a job by hand, due or not; a dry run only counts. `NotFound`; `JobRunning` if it is running elsewhere."""
    job = next((job for job in JOBS if job.name == name), None)
    if job is None:
        raise NotFound
    return runs.run_now(job, dry_run=dry_run)


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
    outbox.stopping.set()  # Who is cut off between a letter and its mark sends it twice, and a long queue would last for longer.
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(LAST_WORDS_SECONDS)
    outbox.stopping.clear()


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
