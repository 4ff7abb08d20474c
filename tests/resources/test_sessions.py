"""The list of sessions: what it shows, what it leaves out, and how sessions are ended from it."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from domain import activity, clock, sessions
from domain.database import reading, transaction
from model import AuditEvent, Session

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
FIELDS = {"id", "created_at", "last_seen_at", "expires_at", "ip", "country", "user_agent", "device", "current"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def listed(house, tokens):
    """The sessions that the owner of these tokens sees."""
    answer = house.get("/api/auth/sessions", token=tokens["access_token"])
    assert answer.status == 200, answer.body
    return answer.json["sessions"]


def ids(house, tokens):
    return [one["id"] for one in listed(house, tokens)]


def stats(house, tokens):
    return house.get("/api/auth/sessions/stats", token=tokens["access_token"]).json


def events(user_id, action):
    with reading() as db:
        return db.scalars(select(AuditEvent).where(AuditEvent.user_id == user_id, AuditEvent.action == action)).all()


def is_alive(house, tokens):
    return house.get("/mfa", token=tokens["access_token"]).status == 200


@pytest.fixture
def three(house, email):
    """Three sessions of one user, the oldest first."""
    return [house.member(email), house.login(email, headers={"User-Agent": FIREFOX}).json, house.login(email).json]


def test_a_session_is_shown_with_what_the_contract_names(house, email):
    house.join(email)
    tokens = house.login(email, headers={"User-Agent": FIREFOX}).json
    (shown,) = listed(house, tokens)
    assert set(shown) == FIELDS
    assert (shown["id"], shown["current"], shown["country"]) == (tokens["session_id"], True, None)
    assert (shown["ip"], shown["user_agent"], shown["device"]) == ("127.0.0.1", FIREFOX, "Firefox on Windows")
    assert all(MOMENT.fullmatch(shown[name]) for name in ("created_at", "last_seen_at", "expires_at"))


def test_sessions_are_listed_newest_first_and_each_knows_itself(house, three):
    for tokens in three:
        assert ids(house, tokens) == [one["session_id"] for one in reversed(three)]
        assert [one["id"] for one in listed(house, tokens) if one["current"]] == [tokens["session_id"]]


def test_a_session_without_words_for_its_device_gets_them_from_its_user_agent(house, three):
    with transaction() as db:
        db.execute(update(Session).values(device_name=None))
    assert [one["device"] for one in listed(house, three[0])][1] == "Firefox on Windows"


@pytest.mark.settings(SESSION_MAX_SECONDS=0)
def test_a_session_without_an_absolute_end_shows_none(house):
    assert listed(house, house.member())[0]["expires_at"] is None


def test_the_last_use_counts_before_it_is_written(house, email, moved_clock):
    used, asking = house.member(email), house.login(email).json
    moved_clock(600)
    assert is_alive(house, used)
    shown = {one["id"]: one for one in listed(house, asking)}[used["session_id"]]
    assert shown["last_seen_at"] >= clock.now().isoformat()[:17]
    activity.flush()
    assert {one["id"]: one for one in listed(house, asking)}[used["session_id"]]["last_seen_at"] == shown["last_seen_at"]


def test_what_has_ended_is_not_listed(house, three):
    house.post("/logout", token=three[0]["access_token"])
    assert ids(house, three[1]) == [three[2]["session_id"], three[1]["session_id"]]
    assert stats(house, three[1])["active"] == 2


def test_what_has_run_out_idle_is_not_listed_before_anybody_writes_it_down(house, three, moved_clock):
    moved_clock(900)
    assert is_alive(house, three[1])
    activity.flush()
    moved_clock(1500)
    assert ids(house, three[1]) == [three[1]["session_id"]]
    assert stats(house, three[1]) == {"active": 1, "by_device": {"Firefox on Windows": 1}, "created_last_24h": 3}
    assert house.delete(f"/api/auth/sessions/{three[0]['session_id']}", token=three[1]["access_token"]).code == "not_found"
    assert house.delete("/api/auth/sessions", token=three[1]["access_token"]).json == {"revoked": 0}
    assert house.get("/mfa", token=three[0]["access_token"]).code == "session_expired"


@pytest.mark.settings(SESSION_IDLE_SECONDS=0, SESSION_MAX_SECONDS=3600)
def test_what_has_run_out_absolutely_is_not_listed(house, email, moved_clock):
    house.member(email)
    moved_clock(1900)
    later = house.login(email).json
    moved_clock(3601)
    assert ids(house, later) == [later["session_id"]]


@pytest.mark.settings(MAX_SESSIONS_PER_USER=2, JWT_ACCESS_TOKEN_EXPIRES=7200)
def test_what_has_run_out_takes_no_place(house, email, moved_clock):
    old, idle = house.member(email), house.login(email).json
    for seconds in (900, 1800):
        moved_clock(seconds)
        assert is_alive(house, old)
        activity.flush()
    new = house.login(email).json
    assert [is_alive(house, one) for one in (old, new)] == [True, True]
    assert house.get("/mfa", token=idle["access_token"]).code == "session_expired"


def test_one_session_is_ended(house, three):
    assert house.delete(f"/api/auth/sessions/{three[0]['session_id']}", token=three[2]["access_token"]).status == 204
    assert house.get("/mfa", token=three[0]["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=three[0]["refresh_token"]).code == "token_revoked"
    assert [is_alive(house, one) for one in three] == [False, True, True]
    again = house.delete(f"/api/auth/sessions/{three[0]['session_id']}", token=three[2]["access_token"])
    assert (again.status, again.code) == (404, "not_found")
    (event,) = events(three[2]["user"]["id"], "session.ended")
    assert (event.session_id, event.facts, event.result) == (three[2]["session_id"], {"ended": three[0]["session_id"]}, "success")


def test_the_present_session_may_end_itself(house, three):
    assert house.delete(f"/api/auth/sessions/{three[1]['session_id']}", token=three[1]["access_token"]).status == 204
    assert [is_alive(house, one) for one in three] == [True, False, True]


def test_all_others_are_ended(house, three, email):
    stranger = house.member()
    answer = house.delete("/api/auth/sessions", token=three[1]["access_token"])
    assert (answer.status, answer.json) == (200, {"revoked": 2})
    assert [is_alive(house, one) for one in (*three, stranger)] == [False, True, False, True]
    assert house.delete("/api/auth/sessions", token=three[1]["access_token"]).json == {"revoked": 0}
    assert house.login(email).status == 200
    assert [one.facts for one in events(three[1]["user"]["id"], "sessions.ended")] == [{"number": 2}, {"number": 0}]


def test_what_has_run_out_by_this_hosts_clock_ends_with_the_others_for_every_host(house, three):
    idle, other, mine = three

    def seen(at):
        with transaction() as db:
            db.execute(update(Session).where(Session.id == idle["session_id"]).values(last_seen_at=at))

    seen(clock.now() - timedelta(hours=1))
    assert house.delete("/api/auth/sessions", token=mine["access_token"]).json == {"revoked": 1}
    seen(clock.now())
    assert [is_alive(house, one) for one in (idle, other, mine)] == [False, False, True]


def test_what_the_job_of_a_host_with_another_clock_has_ended_is_over_for_every_host(house, three):
    idle, _, mine = three
    assert is_alive(house, idle)  # From now on Redis has it.
    with transaction() as db:
        long_ago = clock.now() - timedelta(hours=1)
        db.execute(update(Session).where(Session.id == idle["session_id"]).values(last_seen_at=long_ago))
    assert sessions.end_idle() == 1
    assert [is_alive(house, one) for one in (idle, mine)] == [False, True]


@pytest.mark.parametrize("path", ["unknown", "0" * 32])
def test_an_id_that_is_none_of_theirs_is_not_found(house, path):
    tokens = house.member()
    assert house.delete(f"/api/auth/sessions/{path}", token=tokens["access_token"]).code == "not_found"
    assert is_alive(house, tokens)


@pytest.mark.settings(SESSION_IDLE_SECONDS=0, SESSION_MAX_SECONDS=0, JWT_ACCESS_TOKEN_EXPIRES=1_000_000)
def test_statistics_count_by_device_and_by_day(house, email, moved_clock):
    house.member(email)
    house.login(email)
    moved_clock(100_000)
    tokens = house.login(email, headers={"User-Agent": FIREFOX}).json
    assert stats(house, tokens) == {"active": 3, "by_device": {"an unknown device": 2, "Firefox on Windows": 1}, "created_last_24h": 1}


def test_what_is_personal_is_kept_in_no_cache(house):
    token = house.member()["access_token"]
    for path in ("/api/auth/sessions", "/api/auth/sessions/stats", "/profile/devices"):
        assert house.get(path, token=token).headers["Cache-Control"] == "no-store"
