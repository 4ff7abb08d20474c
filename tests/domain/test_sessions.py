"""Sessions as rows: what a sign-in writes, which tokens open something, what step-up replaces, and every way to an end."""

import json
from datetime import timedelta

import pytest
import redis
from sqlalchemy import delete, select

from domain import activity, cache, clock, devices, places, revocation, secrets, sessions
from domain.database import reading, transaction
from domain.errors import SessionExpired, TokenRevoked, Unavailable
from model import Device, Mail, Session, User
from tests.attacks.acts import account
from tests.sign_ins import HERE, caller, opened, put, row, told

WRITTEN = {"id", "user_id", "device_id", "tokens_expire_at", "expires_at"}


@pytest.fixture
def user_id(cellar, email, still_clock):
    still_clock()
    return account(email, None)


@pytest.fixture
def grant(user_id):
    return opened(user_id)


@pytest.fixture
def marked(monkeypatch):
    """Which sessions Redis is told of."""
    calls = []
    monkeypatch.setattr(revocation, "mark", calls.append)
    return calls


def alive(*grants):
    return [row(one).ended_at is None for one in grants]


def outcome(grant, generation=1, **state):
    """What is said to a token of this generation, while the session is in such a state."""
    found = revocation.read(grant.session.id)._replace(**state)
    try:
        sessions.check(grant.session.id, generation, found)
    except (TokenRevoked, SessionExpired) as refusal:
        return type(refusal)
    return None


def test_a_sign_in_writes_who_when_where_and_how(user_id, monkeypatch):
    monkeypatch.setattr(places, "country", {HERE.ip: "AT"}.get)
    grant, now = opened(user_id, "pwd", "otp", "mfa"), clock.now()
    kept = row(grant)
    assert {name: getattr(kept, name) for name in [one.name for one in Session.__table__.c] if name not in WRITTEN} == {
        "amr": "pwd otp mfa", "ip": HERE.ip, "user_agent": HERE.user_agent, "device_name": "Firefox on Linux", "country": "AT",
        "generation": 1, "floor": 0, "created_at": now, "authenticated_at": now, "rotated_at": now, "stepped_at": None,
        "last_seen_at": now, "ended_at": None, "end_reason": None,
    }  # fmt: skip
    assert (kept.user_id, kept.expires_at, kept.tokens_expire_at) == (user_id, now + timedelta(days=1), now + timedelta(days=1))
    assert (grant.generation, grant.session.id, grant.user.id, grant.user.last_login_at) == (1, kept.id, user_id, now)
    with reading() as db:
        assert db.get(User, user_id).last_login_at == now
        device = db.get(Device, kept.device_id)
    assert (device.user_id, device.trusted_until) == (user_id, None)
    assert devices.recognise(HERE._replace(device_token=grant.device_token), user_id).id == device.id
    (event,) = told("sign_in")
    assert (event.user_id, event.actor, event.session_id, event.ip) == (user_id, user_id, kept.id, HERE.ip)
    assert event.facts == {"amr": ["pwd", "otp", "mfa"], "surplus": 0}


def test_a_sign_in_does_not_wait_for_a_redis_that_is_away(user_id, monkeypatch):
    with redis.Redis(port=1, socket_connect_timeout=0.2) as nowhere:
        monkeypatch.setattr(cache, "client", nowhere)
        assert opened(user_id).user.id == user_id


@pytest.mark.settings(SESSION_MAX_SECONDS=0)
def test_where_sessions_have_no_end_none_is_written(grant):
    assert row(grant).expires_at is None


def test_a_device_is_trusted_only_if_that_was_asked_for(user_id):
    with reading() as db:
        assert not devices.is_trusted(db, db.get(Device, opened(user_id).session.device_id))
        assert devices.is_trusted(db, db.get(Device, opened(user_id, trust=True).session.device_id))


def test_the_owner_is_told_of_another_device_and_not_of_the_first_or_a_known_one(user_id, email, monkeypatch):
    def letters():
        with reading() as db:
            found = db.scalars(select(Mail).where(Mail.template == "new_device", Mail.to == email))
            said = [json.loads(secrets.decrypt(one.values_encrypted)) for one in found]
        return [(one["device"], one["country"], one["ip"]) for one in said]

    monkeypatch.setattr(places, "country", {"198.51.100.9": "AT"}.get)
    first = opened(user_id)
    opened(user_id, client=HERE._replace(device_token=first.device_token))
    assert letters() == []
    opened(user_id, client=HERE._replace(ip="198.51.100.9"))
    assert letters() == [("Firefox on Linux", "AT", "198.51.100.9")]


@pytest.mark.settings(MAX_SESSIONS_PER_USER=2)
def test_the_oldest_goes_and_only_of_those_that_run_and_of_this_user(user_id, still_clock, moved_clock, email):
    others = opened(account(f"other-{email}", None))
    made = []
    for number in range(3):
        moved_clock(number)
        made.append(opened(user_id))
    assert alive(*made, others) == [False, True, True, True]
    assert row(made[0]).end_reason == sessions.REVOKED
    assert [one.facts["surplus"] for one in told("sign_in")] == [0, 0, 0, 1]
    put(made[2], ended_at=clock.now())
    moved_clock(3)
    made.append(opened(user_id))
    assert alive(*made) == [False, True, False, True]
    moved_clock(5 + 1202)
    made.append(opened(user_id))
    assert alive(*made) == [False, True, False, True, True], "what has run out takes nobody's place"


@pytest.mark.settings(MAX_SESSIONS_PER_USER=1)
def test_where_one_is_allowed_the_newest_is_it(user_id, moved_clock):
    first = opened(user_id)
    moved_clock(-5)  # On another host, whose clock is behind.
    second = opened(user_id)
    assert alive(first, second) == [False, True]


@pytest.mark.parametrize(
    ("generation", "state", "said"),
    [
        (1, {}, None),
        (2, {"floor": 2}, None),
        (1, {"floor": 2}, TokenRevoked),
        (1, {"ended": "revoked"}, TokenRevoked),
        (9, {"ended": "revoked"}, TokenRevoked),
        (1, {"ended": "expired"}, SessionExpired),
        (1, {"ended": "expired", "floor": 2}, TokenRevoked),
        (1, {"expires": 1}, SessionExpired),
    ],
)
def test_a_token_opens_something_while_its_session_goes_on_and_its_generation_counts(grant, generation, state, said):
    assert outcome(grant, generation, **state) == said
    assert (activity.seen(grant.session.id) > 0) == (said is None)


def test_a_session_that_there_is_not_opens_nothing(grant):
    with pytest.raises(TokenRevoked):
        sessions.check(grant.session.id, 1, None)
    assert activity.seen(grant.session.id) == 0


def test_a_look_is_no_activity(grant):
    sessions.check(grant.session.id, 1, revocation.read(grant.session.id), note=False)
    assert activity.seen(grant.session.id) == 0


@pytest.mark.parametrize(("later", "said"), [(1200, None), (1201, SessionExpired)])
def test_after_the_idle_time_it_is_over(grant, moved_clock, later, said):
    moved_clock(later)
    assert outcome(grant) == said


def test_what_looks_idle_is_read_anew_before_it_is_refused_or_let_in(grant, moved_clock):
    old = revocation.read(grant.session.id)
    moved_clock(1300)
    put(grant, last_seen_at=clock.now())
    sessions.check(grant.session.id, 1, old)
    moved_clock(1190)
    activity.forget()
    put(grant, ended_at=clock.now(), end_reason=sessions.REVOKED)
    with pytest.raises(TokenRevoked):
        sessions.check(grant.session.id, 1, old)
    with transaction() as db:
        db.execute(delete(Session))
    with pytest.raises(TokenRevoked):
        sessions.check(grant.session.id, 1, old)


def test_a_step_up_is_a_new_sign_in_of_the_same_session(grant, moved_clock, marked):
    other = opened(grant.user.id)
    put(grant, generation=4, expires_at=None)
    moved_clock(50)
    made, now = sessions.step_up(caller(grant), ["pwd", "otp"]), clock.now()
    kept = row(grant)
    assert (made.generation, made.session.id, made.user.id, made.device_token) == (5, grant.session.id, grant.user.id, None)
    assert (kept.generation, kept.floor, kept.amr, kept.created_at) == (5, 5, "pwd otp", grant.session.created_at)
    assert {kept.authenticated_at, kept.stepped_at, kept.rotated_at, kept.last_seen_at} == {now}
    assert kept.tokens_expire_at == now + timedelta(days=1)
    assert marked == [[grant.session.id]]
    assert (row(other).generation, row(other).floor) == (1, 0)
    (event,) = told("step_up")
    assert (event.user_id, event.actor, event.session_id, event.facts) == (
        grant.user.id,
        grant.user.id,
        grant.session.id,
        {"amr": ["pwd", "otp"]},
    )


def test_tokens_of_a_step_up_end_with_their_session(grant):
    end = clock.now() + timedelta(seconds=99)
    put(grant, expires_at=end)
    sessions.step_up(caller(grant), ["pwd"])
    assert row(grant).tokens_expire_at == end


def test_an_ended_session_is_not_stepped_up(grant, marked):
    put(grant, ended_at=clock.now(), end_reason=sessions.REVOKED)
    with pytest.raises(TokenRevoked):
        sessions.step_up(caller(grant), ["pwd"])
    assert (row(grant).generation, row(grant).floor, marked, told("step_up")) == (1, 0, [], [])


def test_signing_out_ends_this_session_once(grant, marked):
    other = opened(grant.user.id)
    for _ in range(2):
        sessions.end(caller(grant))
    assert alive(grant, other) == [False, True]
    assert (row(grant).ended_at, row(grant).end_reason) == (clock.now(), sessions.REVOKED)
    assert marked == [[grant.session.id]] * 2
    (event,) = told("session.ended")
    assert (event.user_id, event.actor, event.session_id) == (grant.user.id, grant.user.id, grant.session.id)


def test_what_can_not_be_made_known_has_not_ended(grant, monkeypatch):
    def away(_):
        raise Unavailable

    monkeypatch.setattr(revocation, "mark", away)
    for act in (lambda: sessions.end(caller(grant)), lambda: sessions.step_up(caller(grant), ["pwd"]), sessions.end_all):
        with pytest.raises(Unavailable):
            act()
    assert (row(grant).ended_at, row(grant).floor) == (None, 0)


def test_of_many_each_is_ended_and_told_in_batches_and_the_first_reason_stays(grant, marked, monkeypatch):
    monkeypatch.setattr(sessions, "BATCH", 2)
    made = [grant, *(opened(grant.user.id) for _ in range(4))]
    put(made[1], ended_at=clock.now() - timedelta(days=1), end_reason=sessions.EXPIRED)
    ids = [one.session.id for one in made]
    with transaction() as db:
        assert sessions.end_some(db, ids) == 4
    assert marked == [ids[:2], ids[2:4], ids[4:]]
    assert {row(one).end_reason for one in made[2:]} == {sessions.REVOKED}
    assert (row(made[1]).end_reason, row(made[1]).ended_at) == (sessions.EXPIRED, clock.now() - timedelta(days=1))
    with transaction() as db:
        assert sessions.end_some(db, []) == 0


def test_what_has_to_be_true_besides_is_asked_of_each_and_what_ran_out_is_told_too(grant, marked):
    other = opened(grant.user.id)
    ids = [grant.session.id, other.session.id]
    with transaction() as db:
        assert sessions.end_some(db, ids, sessions.EXPIRED, Session.id == other.session.id) == 1
    assert (alive(grant, other), marked) == ([True, False], [ids])


def test_the_end_of_a_users_sessions_is_nobody_elses_and_may_leave_one(grant, email):
    mine, others = opened(grant.user.id), opened(account(f"other-{email}", None))
    with transaction() as db:
        assert sessions.end_of_user(db, grant.user.id, but=mine.session.id) == 1
    assert alive(grant, mine, others) == [False, True, True]
    with transaction() as db:
        assert sessions.end_of_user(db, grant.user.id, reason=sessions.EXPIRED) == 1
    assert alive(mine, others) == [False, True]
    assert (row(grant).end_reason, row(mine).end_reason) == (sessions.REVOKED, sessions.EXPIRED)


def test_the_end_of_all_is_told(grant, email, marked):
    made = [grant, opened(account(f"other-{email}", None))]
    put(opened(grant.user.id), ended_at=clock.now())
    marked.clear()
    assert sessions.end_all() == 2
    assert alive(*made) == [False, False]
    assert {one for batch in marked for one in batch} == {one.session.id for one in made}
    (event,) = told("sessions.ended")
    assert (event.user_id, event.actor, event.facts) == (None, "operator", {"sessions": 2})


def test_what_has_run_out_is_written_down_and_what_runs_is_left(grant, moved_clock, monkeypatch):
    monkeypatch.setattr(sessions, "BATCH", 2)
    idle = [grant, *(opened(grant.user.id) for _ in range(4))]
    put(revoked := opened(grant.user.id), ended_at=clock.now(), end_reason=sessions.REVOKED)
    moved_clock(1202)
    running, at_its_end = opened(grant.user.id), opened(grant.user.id)
    put(at_its_end, expires_at=clock.now())
    assert sessions.end_idle(dry_run=True) == 6
    assert alive(*idle) == [True] * 5
    assert sessions.end_idle() == 6
    assert alive(*idle, at_its_end, running) == [False] * 6 + [True]
    assert {row(one).end_reason for one in [*idle, at_its_end]} == {sessions.EXPIRED}
    assert row(revoked).end_reason == sessions.REVOKED
    events = told("session.ended")
    assert {one.session_id for one in events} == {one.session.id for one in [*idle, at_its_end]}
    assert {(one.user_id, one.actor, tuple(one.facts.items())) for one in events} == {(grant.user.id, "system", (("reason", "expired"),))}
    assert sessions.end_idle() == sessions.end_idle(dry_run=True) == 0


@pytest.mark.parametrize(("ago", "gone"), [(300, 0), (301, 1)])
def test_a_row_goes_once_no_token_of_it_can_come_back(grant, ago, gone):
    put(grant, tokens_expire_at=clock.now() - timedelta(seconds=ago))
    other = opened(grant.user.id)
    assert sessions.purge(dry_run=True) == gone
    assert row(grant) is not None
    assert sessions.purge() == gone
    assert (row(grant) is None, row(other) is None) == (bool(gone), False)


def test_proofs_are_noted_once_and_only_here(grant):
    other = opened(grant.user.id, "email")
    with transaction() as db:
        sessions.add_amr(db, grant.session.id, "otp", "pwd", "mfa")
        sessions.add_amr(db, "another", "otp")
    assert (sessions.amr(grant.session.id), sessions.amr(other.session.id)) == (["pwd", "otp", "mfa"], ["email"])
    assert sessions.amr("another") == []


def test_a_session_knows_its_device_its_user_and_whether_it_is_open(grant):
    other = opened(grant.user.id)
    assert sessions.device_of(grant.session.id) == grant.session.device_id != sessions.device_of(other.session.id)
    assert sessions.device_of("another") is None
    with transaction() as db:
        assert [one.id for one in sessions.load(db, grant.session.id)] == [grant.session.id, grant.user.id]
        with pytest.raises(TokenRevoked):
            sessions.load(db, "another")
        assert sessions.is_open(db, grant.session.id)
        assert not sessions.is_open(db, "another")
    put(grant, ended_at=clock.now())
    with reading() as db:
        assert not sessions.is_open(db, grant.session.id)
        assert sessions.is_open(db, other.session.id)
