"""`python -m jobs`: the scheduler as a process of its own, until SIGTERM or SIGINT."""

import logging
import signal
import sys
import threading

import config
from domain import cache, canaries, database, logs, metrics, schema
from domain.errors import Refused
from jobs import schedule

logger = logging.getLogger("gatehouse.jobs")


def main() -> int:
    """Run the jobs until the process is told to stop; the exit status. It does not start on an old schema."""
    try:
        _connect()
    except (config.Refusal, Refused) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    schedule.start()
    logger.info("The scheduler runs: %s", ", ".join(job.name for job in schedule.JOBS))
    told.wait()
    schedule.stop()
    logger.info("The scheduler has stopped")
    return 0


def _connect() -> None:
    settings = config.load()
    logs.set_up()
    database.connect(settings)
    cache.connect(settings)
    metrics.connect(settings)
    if not schema.is_current():
        raise config.Refusal(["the database has an old schema; run `flask migrate up`"])
    if faults := canaries.keep():
        raise config.Refusal(faults)


if __name__ == "__main__":
    sys.exit(main())
