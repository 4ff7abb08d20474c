"""Of several processes one runs a job; each run is written down."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from domain import clock, database, runs
from domain.database import reading, transaction
from domain.errors import Conflict, Unavailable
from model import Base, JobLease, JobRun
from tests import databases


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        yield


def records(name="sweep"):
    with reading() as db:
        return [(run.affected, run.result) for run in db.scalars(select(JobRun).where(JobRun.name == name).order_by(JobRun.started_at))]


def change(table, **values):
    with transaction() as db:
        db.execute(update(table).values(**values))


def test_a_run_is_written_down_with_what_it_did():
    before = clock.now()
    assert runs.take_turn("sweep", lambda: 3, every=300) == 3
    run = runs.last("sweep")
    assert (run.affected, run.result) == (3, "ok")
    assert before - timedelta(seconds=1) <= run.started_at <= clock.now()
    assert 0 <= run.seconds < 5


def test_a_job_waits_until_it_is_due_again():
    assert runs.take_turn("sweep", lambda: 1, every=300) == 1
    assert runs.take_turn("sweep", lambda: 1, every=300) is None
    change(JobLease, next_run_at=clock.now() - timedelta(seconds=1))
    assert runs.take_turn("sweep", lambda: 1, every=300) == 1


def test_a_clock_that_strikes_a_moment_early_finds_the_job_due(moved_clock):
    runs.take_turn("sweep", lambda: 1, every=2)
    moved_clock(1.9)
    assert runs.take_turn("sweep", lambda: 1, every=2) == 1


def test_of_many_clocks_that_strike_at_once_one_runs_the_job():
    start, answers = threading.Barrier(12), []

    def strike():
        start.wait()
        try:
            answers.append(runs.take_turn("sweep", lambda: 1, every=300))
        except Unavailable:
            answers.append(None)  # A database that was too busy: no turn either.

    threads = [threading.Thread(target=strike) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {1: 1, None: 11}
    assert records() == [(1, "ok")]


def test_a_job_that_is_running_is_not_started_again_though_it_is_due():
    with transaction() as db:
        now = clock.now()
        db.add(JobLease(name="sweep", holder="another", leased_until=now + timedelta(minutes=1), next_run_at=now))
    assert runs.take_turn("sweep", lambda: 1, every=300) is None


def test_a_lease_whose_holder_died_runs_out():
    with transaction() as db:
        now = clock.now()
        db.add(JobLease(name="sweep", holder="another", leased_until=now - timedelta(seconds=1), next_run_at=now))
    assert runs.take_turn("sweep", lambda: 1, every=300) == 1


def test_by_hand_a_job_runs_though_it_is_not_due():
    runs.take_turn("sweep", lambda: 1, every=300)
    assert runs.take_now("sweep", lambda: 2, every=300) == 2


def test_by_hand_a_job_that_runs_elsewhere_is_refused_after_a_wait(monkeypatch):
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.5)
    with transaction() as db:
        now = clock.now()
        db.add(JobLease(name="sweep", holder="another", leased_until=now + timedelta(minutes=1), next_run_at=now))
    with pytest.raises(Conflict):
        runs.take_now("sweep", lambda: 1, every=300)


def test_a_failing_job_is_written_down_raises_and_gives_its_lease_back():
    with pytest.raises(ZeroDivisionError):
        runs.take_turn("sweep", lambda: 1 // 0, every=300)
    assert records() == [(0, "ZeroDivisionError")]
    assert runs.take_now("sweep", lambda: 1, every=300) == 1


def test_idle_runs_of_a_frequent_job_share_one_record():
    for _ in range(5):
        runs.record("beat", lambda: 0, every=2)
    assert records("beat") == [(0, "ok")]


def test_an_idle_stretch_is_still_seen_to_be_alive():
    runs.record("beat", lambda: 0, every=2)
    change(JobRun, started_at=clock.now() - timedelta(minutes=2))
    runs.record("beat", lambda: 0, every=2)
    assert len(records("beat")) == 1
    assert clock.now() - runs.last("beat").started_at < timedelta(minutes=1)


def test_a_frequent_job_that_did_something_gets_a_record_of_its_own():
    for affected in (0, 2, 3, 0):
        runs.record("beat", lambda affected=affected: affected, every=2)
    assert records("beat") == [(0, "ok"), (2, "ok"), (3, "ok"), (0, "ok")]


def test_every_run_of_a_rare_job_is_written_down():
    for _ in range(3):
        runs.record("sweep", lambda: 0, every=300)
    assert records() == [(0, "ok")] * 3


def test_old_runs_are_forgotten_and_a_dry_run_only_counts_them():
    runs.record("sweep", lambda: 1, every=300)
    change(JobRun, started_at=clock.now() - timedelta(days=runs.KEEP_DAYS, seconds=1))
    runs.record("sweep", lambda: 2, every=300)
    assert runs.purge(dry_run=True) == 1
    assert runs.purge() == 1
    assert records() == [(2, "ok")]
    with reading() as db:
        assert db.scalar(select(func.count()).select_from(JobRun)) == 1
