"""What fails, one function each; and the table of them."""

import os
import random
import signal
import sqlite3
import time
from contextlib import suppress

from faults import acts, postbox
from faults.house import FAKETIME, House, Process, kill
from faults.people import Person
from faults.run import Run, Scenario

HERD = 50
MINUTES_APART = 40


def workers(run: Run) -> None:
    """Workers are killed in the middle of whatever they do."""
    for _ in run.goes_on():
        for master in run.house.masters:
            for worker in random.sample(found := run.house.workers(master), min(random.choice((1, 1, 2, 3)), len(found))):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    run.fault()
            run.pause(0, 0.3)
        run.back()


def jobs(run: Run) -> None:
    """The process of the jobs is killed, and started again as a supervisor would."""
    for _ in run.goes_on():
        kill(run.house.jobs.pop())
        run.fault()
        run.house.jobs.append(run.house.start_jobs())
        run.pause(1.2, 2.5)
    run.post_is_back()


def redis_stops(run: Run) -> None:
    """Redis dies, and comes back empty or with an old snapshot."""
    assert run.house.store
    for _ in run.goes_on():
        if random.random() < 0.5:
            run.house.store.snapshot()
            run.pause(0.2, 0.5)
        run.house.store.kill()
        run.fault()
        run.pause(0.1, 1)
        run.house.store.start()
        run.back()


def redis_hangs(run: Run) -> None:
    """Redis takes connections and answers nothing."""
    assert run.house.store
    for _ in run.goes_on():
        run.house.store.freeze()
        run.fault()
        run.pause(0.1, 1.2)
        run.house.store.thaw()
        run.back()


def redis_flushed(run: Run) -> None:
    """Redis forgets everything."""
    assert run.house.store
    for _ in run.goes_on():
        run.house.store.flush()
        run.fault()
        run.pause(0.05, 0.4)
    run.back()


def postgres(run: Run) -> None:
    """PostgreSQL is restarted, or crashes."""
    assert run.house.cluster
    for _ in run.goes_on():
        run.house.cluster.stop(random.choice(("fast", "immediate")))
        run.fault()
        run.pause(0.1, 1.5)
        run.house.cluster.start()
        run.back()


def smtp(run: Run) -> None:
    """The mail server is away, silent, or in the way after DATA."""
    box = run.house.postbox
    for _ in run.goes_on():
        for mode in (postbox.REFUSES, postbox.PUTS_OFF, postbox.HANGS_UP, postbox.FORGETS_TO_ANSWER):
            box.mode = mode
            run.fault()
            run.pause(1, 2)
        box.mode = postbox.UP
        box.close()
        run.fault()
        run.pause(2, 3)
        with box.silence():
            run.fault()
            run.pause(3, 4)
        box.open()
        run.post_is_back()


def disk_full(run: Run) -> None:
    """There is no room for pictures; where the database is SQLite, none for it either."""
    for _ in run.goes_on():
        run.house.disk.fill()
        run.fault()
        _refused_cleanly(run)
        run.pause(0.5, 1.5)
        run.house.disk.free()
        run.back()
    if not run.house.cluster:
        with sqlite3.connect(run.house.database) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            run.violations.append(f"SQLite says: {verdict}")


def clocks(run: Run) -> None:
    """One host's clock is wrong by MINUTES_APART, ahead or behind; afterwards sessions may have ended, and nothing else."""
    for person in (*run.crowd.everybody(), run.canary):
        person.ledger.is_skewed = True
    for sign in "+-":
        run.house.jobs.append(run.house.start_jobs(f"{sign}{MINUTES_APART}m"))
        _restart(run, f"{sign}{MINUTES_APART}m")
        run.fault(2)
        time.sleep(run.seconds / 2)
        _end(run.house.jobs.pop())
    _restart(run, "")
    for person in (*run.crowd.everybody(), run.canary):
        person.ledger.doubt()
        person.ledger.is_skewed = False


def schedulers(run: Run) -> None:
    """Two schedulers at once, then none, then one."""
    for _ in run.goes_on():
        run.house.jobs.append(run.house.start_jobs())
        run.fault()
        run.pause(3, 5)
        for process in run.house.jobs:
            _end(process)
        run.house.jobs.clear()
        run.fault()
        run.pause(1, 2)
        run.house.jobs.append(run.house.start_jobs())
        run.post_is_back()


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


def storm(run: Run) -> None:
    """Workers, stores and jobs fail in any order, some at the same time."""
    store, cluster = run.house.store, run.house.cluster
    for _ in run.goes_on():
        if store:
            store.freeze()
            run.fault()
        for master in run.house.masters:
            with suppress(ProcessLookupError, IndexError):
                os.kill(random.choice(run.house.workers(master)), signal.SIGKILL)
                run.fault()
        if cluster and random.random() < 0.5:
            cluster.stop("immediate")
            run.fault()
            cluster.start()
        kill(run.house.jobs.pop())
        run.house.jobs.append(run.house.start_jobs())
        run.fault()
        if store:
            store.thaw()
            store.flush()
            run.fault()
        run.back()


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
    """Tell it to stop, as a supervisor does."""
    process.terminate()
    process.wait(30)


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
    Scenario("workers killed", 26, workers, crash=True),
    Scenario("jobs killed", 16, jobs, doubles=1),
    Scenario("Redis stopped", 18, redis_stops, _redis),
    Scenario("Redis hanging", 20, redis_hangs, _redis),
    Scenario("Redis flushed", 12, redis_flushed, _redis),
    Scenario("PostgreSQL restarted", 25, postgres, _postgres, doubles=1, crash=True),
    Scenario("SMTP away", 10, smtp, doubles=20),
    Scenario("disk full", 12, disk_full, _small_disk, doubles=1),
    Scenario("schedulers: two, none", 8, schedulers),
    Scenario("herds of refreshes", 8, herds, is_acted=False),
    Scenario("every answer lost once", 15, twice),
    Scenario("all of it at once", 16, storm, doubles=2, crash=True),
    Scenario("clocks 40 minutes apart", 14, clocks, _clocks, doubles=1000, clocks=2),
)
