"""The table of what fails; and what fails within: full disks, wrong clocks, two schedulers, herds, lost answers."""

import random
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

from faults import acts, outages
from faults.house import FAKETIME, House, Process, kill
from faults.people import Person
from faults.run import Run, Scenario

HERD = 50
AHEAD = "+40m"


def disk_full(run: Run) -> None:
    """There is no room for pictures; where the database is SQLite, none for it either."""
    for _ in run.goes_on():
        run.house.disk.fill()
        run.fault()
        _refused_cleanly(run)
        run.pause(0.5, 1.5)
        run.house.disk.free()
        run.back()
    if not run.house.cluster and (fault := damage(run.house.database)):
        run.violations.append(f"SQLite says: {fault}")


def damage(database: Path) -> str:
    """What is broken in a file of SQLite's; empty if it is whole."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return "" if verdict == "ok" else str(verdict)


def clocks(run: Run) -> None:
    """One host's clock is ahead of the other's, its jobs' too; afterwards sessions may have ended, and nothing else."""
    for person in (*run.crowd.everybody(), run.canary):
        person.ledger.is_skewed = True
    run.house.jobs.append(run.house.start_jobs(AHEAD))
    _restart(run, AHEAD)
    run.fault(2)
    time.sleep(run.seconds)
    _end(run.house.jobs.pop())
    _restart(run, "")
    for person in (*run.crowd.everybody(), run.canary):
        person.ledger.doubt()
        person.ledger.is_skewed = False


def schedulers(run: Run) -> None:
    """No scheduler for a while; then two at once, who find what has gathered."""
    for _ in run.goes_on():
        for process in run.house.jobs:
            _end(process)
        run.house.jobs.clear()
        run.fault()
        run.pause(2, 4)
        run.house.jobs += [run.house.start_jobs(), run.house.start_jobs()]
        run.fault()
        run.post_is_back()
        run.pause(1, 2)
    _end(run.house.jobs.pop())


def herds(run: Run) -> None:
    """Fifty refreshes at once with one token, on all hosts."""
    for _ in run.goes_on():
        person = random.choice(run.crowd.people)
        if person.session() or acts.sign_in(person):
            acts.refresh(person, HERD)
            run.fault()


def twice(run: Run) -> None:
    """Every answer is lost once, and every request made again."""
    before = run.crowd.counts()["repeats"]
    Person.repeats = True
    try:
        time.sleep(run.seconds)
    finally:
        Person.repeats = False
    run.fault(run.crowd.counts()["repeats"] - before)


def _refused_cleanly(run: Run) -> None:
    """An upload finds no room: it is refused, and whether a file is left is looked at in the end."""
    reply = acts.paint(run.canary)
    if reply is not None and reply.status != 503:
        run.violations.append(f"an upload to a full disk was answered with {reply.status} {reply.code}")


def _restart(run: Run, clock: str) -> None:
    """The last host starts anew by this clock, while the others go on."""
    _end(run.house.masters[-1])
    run.house.masters[-1] = run.house.start_master(len(run.house.ports) - 1, clock)
    run.ready()


def _end(process: Process) -> None:
    """Tell it to stop, as a supervisor does, who does not wait for long."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    kill(process)


def _redis(house: House) -> str:
    return "" if house.store else "no Redis here"


def _postgres(house: House) -> str:
    return "" if house.cluster else "no PostgreSQL here"


def _small_disk(house: House) -> str:
    return "" if house.disk.is_small else "this process may not mount a small disk"


def _clocks(house: House) -> str:
    if len(house.ports) < 2:
        return "one host only"
    return "" if FAKETIME else "libfaketime is not installed"


SCENARIOS = (
    Scenario("workers killed", 26, outages.workers, crash=True),
    Scenario("jobs killed", 16, outages.jobs, doubles=2),
    Scenario("Redis stopped", 18, outages.redis_stops, _redis),
    Scenario("Redis hanging", 20, outages.redis_hangs, _redis),
    Scenario("Redis flushed", 12, outages.redis_flushed, _redis),
    Scenario("PostgreSQL restarted", 25, outages.postgres, _postgres, doubles=1, crash=True),
    Scenario("SMTP away", 10, outages.smtp, doubles=1),
    Scenario("disk full", 12, disk_full, _small_disk, doubles=1),
    Scenario("schedulers: none, two", 8, schedulers, doubles=5),
    Scenario("herds of refreshes", 8, herds, is_acted=False),
    Scenario("every answer lost once", 15, twice),
    Scenario("all of it at once", 16, outages.storm, doubles=2, crash=True),
    Scenario("clocks 40 minutes apart", 14, clocks, _clocks, doubles=1000, clocks=3),
)
