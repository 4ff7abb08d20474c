"""What is gathered is written once, whole, and not forgotten when it can't be written."""

import threading

import pytest

import config
from domain.errors import Unavailable
from domain.gathering import Gathering


@pytest.fixture(autouse=True)
def settings(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, ACTIVITY_FLUSH_SECONDS=3600)


@pytest.fixture
def written():
    return []


@pytest.fixture
def counts(written):
    made = Gathering(lambda had, new: had + new, written.append, lambda now, part: now - part or None)
    yield made
    made.forget()


def test_what_happens_often_is_written_once(counts, written):
    for _ in range(5):
        counts.note("a", 1)
    counts.note("b", 1)
    assert (counts.get("a"), counts.flush(dry_run=True), written) == (5, 2, [])
    assert counts.flush() == 2
    assert written == [{"a": 5, "b": 1}]
    assert (counts.get("a"), counts.flush()) == (None, 0)
    assert len(written) == 1


def test_what_can_not_be_written_is_kept():
    def fail(_):
        raise Unavailable

    counts = Gathering(lambda had, new: had + new, fail, lambda now, part: now - part or None)
    counts.note("a", 1)
    counts.try_flush()
    assert counts.get("a") == 1
    counts.forget()
    assert counts.get("a") is None


def test_what_comes_while_a_batch_is_written_is_written_with_the_next(written):
    def write(batch):
        counts.note("a", 1)
        written.append(batch)

    counts = Gathering(lambda had, new: had + new, write, lambda now, part: now - part or None)
    counts.note("a", 3)
    counts.flush()
    counts.flush()
    assert written == [{"a": 3}, {"a": 1}]
    counts.forget()


def test_two_flushes_at_once_write_nothing_twice(written):
    inside, go_on = threading.Event(), threading.Event()

    def write(batch):
        inside.set()
        go_on.wait(10)
        written.append(batch)

    counts = Gathering(lambda had, new: had + new, write, lambda now, part: now - part or None)
    counts.note("a", 1)
    first, second = (threading.Thread(target=counts.flush) for _ in range(2))
    first.start()
    inside.wait(10)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert written == [{"a": 1}]
    counts.forget()
