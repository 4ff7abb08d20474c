"""What dies, hangs or forgets around the service and within it: one function each."""

import os
import random
import signal
from contextlib import suppress

from faults import postbox
from faults.house import kill, wait_until
from faults.run import Run


def workers(run: Run) -> None:
    """Workers are killed in the middle of whatever they do, again as soon as every host answers."""
    for _ in run.goes_on():
        for master in run.house.masters:
            for worker in random.sample(found := run.house.workers(master), min(random.choice((1, 1, 2)), len(found))):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    run.fault()
        run.pause(0.4, 1.2)
        run.answers()
    run.back()


def jobs(run: Run) -> None:
    """The process of the jobs is killed while letters leave, and started again as a supervisor would."""
    for _ in run.goes_on():
        taken = len(run.house.postbox.taken)
        wait_until(lambda: len(run.house.postbox.taken) > taken, 8)  # noqa: B023 - Asked before the next round.
        run.pause(0, 0.5)
        kill(run.house.jobs.pop())
        run.fault()
        run.house.jobs.append(run.house.start_jobs())
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
