"""Refresh tokens by their generations: which get a pair, which pair, and which of the others end the session."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from domain import activity, clock, metrics, rotation, sessions
from domain.database import transaction
from domain.errors import Refused, SessionExpired, TokenRevoked
from model import Session, User
from tests.attacks.acts import account
from tests.sign_ins import caller, opened, put, row, told

GRACE = 10
DAY = 86400


@pytest.fixture
def grant(cellar, email, still_clock):
    still_clock()
    return opened(account(email, None))


def outcome(grant, generation):
    """The generation that a refresh token gets, or the class of the refusal; and whether the session goes on."""
    try:
        made = rotation.refresh(caller(grant, generation))
    except Refused as refusal:
        got = type(refusal)
    else:
        assert (made.session.id, made.user.id) == (grant.session.id, grant.user.id)
        got = made.generation
    return got, row(grant).ended_at is None


def test_the_newest_token_is_traded_and_everything_that_hangs_on_it_moves(grant, moved_clock):
    moved_clock(60)
    other = opened(grant.user.id)
    put(grant, expires_at=None)
    made = rotation.refresh(caller(grant))
    assert (made.generation, made.session.id, made.user.id, made.device_token) == (2, grant.session.id, grant.user.id, None)
    now, after = clock.now(), row(grant)
    assert (after.generation, after.floor, after.ended_at) == (2, 0, None)
    assert (after.rotated_at, after.last_seen_at, after.tokens_expire_at) == (now, now, now + timedelta(seconds=DAY))
    assert after.authenticated_at == grant.session.authenticated_at
    assert row(other).generation == 1


@pytest.mark.parametrize(
    ("behind", "later", "got", "goes_on"),
    [
        (1, 0, 6, True),
        (1, 10**3, 6, True),
        (2, GRACE, 5, True),
        (2, GRACE + 1, TokenRevoked, False),
        (3, 0, TokenRevoked, False),
        (-1, 0, TokenRevoked, False),
        (5, 0, TokenRevoked, False),
    ],
)
def test_older_tokens(grant, moved_clock, behind, later, got, goes_on):
    """One behind: a lost answer. Two behind: two that refreshed at once, for a moment. All else: somebody else has the token."""
    put(grant, generation=6)
    moved_clock(later)
    assert outcome(grant, 6 - behind) == (got, goes_on)
    replays = [(one.user_id, one.session_id, one.result) for one in told("session.replayed")]
    assert replays == ([] if goes_on else [(grant.user.id, grant.session.id, "token_revoked")])
    if goes_on:
        assert row(grant).generation == 6
    else:
        assert row(grant).end_reason == sessions.REVOKED
        assert outcome(grant, 6) == (TokenRevoked, False)
        assert len(told("session.replayed")) == 1


@pytest.mark.parametrize(
    ("generation", "later", "got"),
    [(4, GRACE, 5), (4, GRACE + 1, TokenRevoked), (3, 0, TokenRevoked), (5, 0, 6)],
)
def test_after_a_step_up_what_it_replaced_gets_the_new_pair_for_a_moment_and_ends_nothing(grant, moved_clock, generation, later, got):
    put(grant, generation=5, floor=5, stepped_at=clock.now())
    moved_clock(later)
    assert outcome(grant, generation) == (got, True)
    assert told("session.replayed") == []


def test_after_a_step_up_a_lost_answer_can_be_asked_for_again(grant):
    put(grant, generation=6, floor=5, stepped_at=clock.now())
    assert outcome(grant, 5) == (6, True)


def test_below_a_floor_that_no_step_up_made_nothing_is_given(grant):
    put(grant, generation=5, floor=5, stepped_at=None)
    assert outcome(grant, 4) == (TokenRevoked, True)


def test_after_a_step_up_a_token_at_the_floor_that_is_replayed_ends_the_session(grant):
    put(grant, generation=8, floor=5, stepped_at=clock.now())
    assert outcome(grant, 5) == (TokenRevoked, False)


@pytest.mark.parametrize(("reason", "got"), [(sessions.REVOKED, TokenRevoked), (sessions.EXPIRED, SessionExpired)])
@pytest.mark.parametrize("generation", [1, 2, 4])
def test_an_ended_session_gives_nothing_and_says_why(grant, reason, got, generation):
    put(grant, generation=4, ended_at=clock.now(), end_reason=reason)
    assert outcome(grant, generation) == (got, False)
    assert (row(grant).generation, row(grant).end_reason, told("session.replayed")) == (4, reason, [])


@pytest.mark.parametrize(("changes", "later"), [({}, 1202), ({"expires_at": 30}, 30)])
@pytest.mark.parametrize("generation", [3, 4])
def test_a_session_that_has_run_out_gives_nothing_and_was_not_stolen(grant, moved_clock, changes, later, generation):
    put(grant, generation=4, **{name: clock.now() + timedelta(seconds=value) for name, value in changes.items()})
    moved_clock(later)
    assert outcome(grant, generation) == (SessionExpired, True)
    assert told("session.replayed") == []


def test_activity_that_is_not_written_yet_keeps_a_session_from_being_idle(grant, moved_clock):
    moved_clock(1000)
    activity._seen.note(grant.session.id, clock.epoch())
    moved_clock(2000)
    assert outcome(grant, 1) == (2, True)
    activity._seen.note(grant.session.id, clock.epoch())
    moved_clock(3000)
    assert outcome(grant, 1) == (2, True), "asked for again"


def test_a_token_that_ran_out_between_the_update_and_the_look_is_expired(grant, monkeypatch):
    monkeypatch.setattr(rotation, "changed", lambda *_: 0)
    assert outcome(grant, 1) == (SessionExpired, True)


def test_a_session_that_goes_to_its_end_has_no_tokens_beyond_it(grant):
    end = clock.now() + timedelta(seconds=500)
    put(grant, expires_at=end)
    rotation.refresh(caller(grant))
    assert row(grant).tokens_expire_at == end


@pytest.mark.parametrize("status", ["inactive", "", "ACTIVE"])
def test_an_account_that_is_not_active_gets_nothing_and_its_token_is_not_used_up(grant, status):
    with transaction() as db:
        db.execute(update(User).values(status=status))
    assert outcome(grant, 1) == (TokenRevoked, True)
    assert row(grant).generation == 1


def test_a_session_that_is_gone_gives_nothing(grant):
    with transaction() as db:
        db.execute(delete(Session))
    with pytest.raises(TokenRevoked):
        rotation.refresh(caller(grant))


def test_refreshes_are_counted(grant):
    def shown():
        return [line for line in metrics.text(lambda: 0).splitlines() if line.startswith("gatehouse_refresh_seconds_count")]

    before = shown()
    rotation.refresh(caller(grant))
    assert shown() != before
