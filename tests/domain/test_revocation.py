"""What decides over a session: the database's word, and Redis, which may only repeat it and must never bring back what ended."""

from datetime import timedelta

import orjson
import pytest
import redis
from sqlalchemy import delete

from domain import cache, cards, clock, metrics, revocation, sessions
from domain.database import transaction
from domain.errors import Unavailable
from domain.revocation import Found, State
from model import Session
from tests.attacks.acts import account
from tests.sign_ins import caller, opened, put, row

GOOD = State("u", 0, 0, 0, 0, None)


@pytest.fixture
def grant(cellar, email, still_clock):
    still_clock()
    return opened(account(email, None))


@pytest.fixture
def store(grant):
    """Redis, as it is while nothing of the session is in it."""
    if cache.client is None:
        pytest.skip("needs Redis")
    cache.client.flushdb()
    return cache.client


def look(grant, *more):
    return revocation.look_up(grant.session.id, grant.user.id, *more)


def entries(store):
    return {name: store.get(name) for name in store.scan_iter(f"{revocation.SESSION}*")}


def counted(outcome):
    lines = metrics.text(lambda: 0).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("gatehouse_") and f'"{outcome}"' in line and "look" in line)


def test_the_state_is_what_the_row_says(grant):
    end = clock.now() + timedelta(seconds=900)
    times = {
        "authenticated_at": clock.now() - timedelta(seconds=30),
        "last_seen_at": clock.now() - timedelta(seconds=20),
        "expires_at": end,
    }
    put(grant, floor=4, **times)
    at = [int(one.timestamp()) for one in times.values()]
    assert revocation.read(grant.session.id) == State(grant.user.id, 4, *at, None) == revocation.state_of(row(grant))
    put(grant, expires_at=None, ended_at=clock.now(), end_reason=sessions.EXPIRED)
    assert revocation.read(grant.session.id) == State(grant.user.id, 4, *at[:2], 0, "expired") == revocation.state_of(row(grant))
    assert revocation.read("another") is None


def test_without_redis_the_database_is_asked_and_nothing_counted(grant, monkeypatch):
    monkeypatch.setattr(cache, "client", None)
    before = counted("off")
    assert look(grant, "here", 60) == Found(revocation.read(grant.session.id), None, None)
    assert counted("off") == before + 1
    revocation.mark([grant.session.id])


def test_what_was_read_is_kept_and_found_and_each_is_counted(grant, store):
    state, misses, hits = revocation.read(grant.session.id), counted("miss"), counted("hit")
    assert look(grant) == Found(state, None, None)
    ((name, kept),) = entries(store).items()
    assert orjson.loads(kept) == list(state)
    assert name.decode() == f"gatehouse:session:{store.get(cache.EPOCH).decode()}:{grant.session.id}"
    assert 290 < store.ttl(name) <= 300
    with transaction() as db:
        db.execute(delete(Session))
    assert look(grant).state == state, "Redis answers, and does not ask the database"
    assert (counted("miss"), counted("hit")) == (misses + 1, hits + 1)
    assert store.ttl(name) <= 300


def test_what_does_not_exist_is_not_kept(grant, store):
    assert revocation.look_up("another", grant.user.id).state is None
    assert entries(store) == {}


def test_after_a_mark_the_database_is_asked_until_the_mark_is_over_and_nothing_is_kept_meanwhile(grant, store):
    look(grant)
    revocation.mark([grant.session.id, "another"])
    marked = entries(store)
    assert (len(marked), set(marked.values())) == (2, {b""})
    assert {290 < store.ttl(name) <= 300 for name in marked} == {True}
    with transaction() as db:
        db.get(Session, grant.session.id).end_reason = sessions.REVOKED
    for _ in range(2):
        assert look(grant).state.ended == sessions.REVOKED
    assert entries(store) == marked


def test_a_slow_reader_brings_nothing_back(grant, store):
    """It has read before the end, and writes after it: over the mark, after a flush, and after a restart with a new epoch."""
    before, epoch = revocation.read(grant.session.id), b"the epoch that it began in"
    store.set(cache.EPOCH, epoch)
    revocation.mark([grant.session.id])
    revocation._keep(grant.session.id, before, epoch)
    assert set(entries(store).values()) == {b""}
    store.flushdb()
    revocation._keep(grant.session.id, before, epoch)
    put(grant, end_reason=sessions.REVOKED)
    assert look(grant).state.ended == sessions.REVOKED
    assert store.get(cache.EPOCH) != epoch


def test_an_old_epochs_entries_are_not_found_and_a_present_one_stays(grant, store):
    look(grant)
    epoch = store.get(cache.EPOCH)
    look(grant)
    revocation.mark(["another"])
    assert store.get(cache.EPOCH) == epoch
    store.set(cache.EPOCH, "another")
    put(grant, floor=9)
    assert look(grant).state.floor == 9


def test_requests_are_counted_in_their_window_on_the_same_way(grant, store):
    counts = [look(grant, name, 77).requests for name in ("a", "a", "b", "a")]
    assert counts == [1, 2, 1, 3]
    assert 70 < store.ttl("gatehouse:count:a") <= 77
    store.expire("gatehouse:count:a", 5)
    assert look(grant, "a", 77).requests == 4
    assert store.ttl("gatehouse:count:a") <= 5, "a window that goes on is not prolonged, or a limit never ends"
    assert look(grant).requests is None


def test_the_users_own_card_comes_along(grant, store):
    assert look(grant).card is None
    cards.of_caller(caller(grant))
    (name,) = store.scan_iter(f"{cards.CARD}*")
    assert look(grant).card == store.get(name)
    assert revocation.look_up(grant.session.id, "another").card is None


@pytest.fixture
def away(grant, monkeypatch):
    """Redis is configured, and nobody answers there."""
    there = redis.Redis(port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(cache, "client", there)
    yield
    there.close()


def test_while_redis_is_away_everything_is_asked_of_the_database(grant, away):
    before = counted("away")
    assert look(grant, "here", 60) == Found(revocation.read(grant.session.id), None, None)
    assert counted("away") == before + 1
    revocation._keep(grant.session.id, GOOD, b"epoch")


def test_an_end_that_can_not_be_told_to_redis_does_not_happen(grant, away):
    with pytest.raises(Unavailable) as refused, transaction() as db:
        sessions.end_some(db, [grant.session.id])
    assert refused.value.retry_after == 2
    assert row(grant).ended_at is None
    revocation.mark([])
