"""The trail as its readers see it: users their own events, administrators all, part by part."""

import json
from datetime import timedelta

import pytest

from domain import accounts, audit, clock, trail
from domain.caller import Client
from tests.visitor import PASSWORD

FIELDS = {"id", "at", "action", "ip", "user_agent", "result"}
AGENT = {"User-Agent": "Firefox/130.0"}


def activity(house, token, query=""):
    answer = house.get(f"/profile/activity{query}", token=token)
    assert answer.status == 200, answer.body
    return answer.json


def every(house, token, path, limit):
    """All events, part by part, and how many parts there were."""
    found, cursor, parts = [], "", 0
    while cursor is not None:
        part = house.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor and '&cursor='}{cursor}", token=token).json
        found += part["events"]
        cursor, parts = part["next_cursor"], parts + 1
    return found, parts


@pytest.fixture
def admin(house):
    """An administrator's token."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    return house.login("admin@example.com").json["access_token"]


def test_users_see_what_happened_to_their_account_the_newest_first(house, email):
    house.join(email)
    house.login(email, "a wrong password", headers=AGENT)
    token = house.login(email, headers=AGENT).json["access_token"]
    house.patch("/profile", {"bio": "x", "metadata": {"a": 1}}, token=token)
    house.post("/reauthenticate", {"password": "a wrong password"}, token=token)
    found = activity(house, token)
    assert set(found) == {"events", "next_cursor"}
    assert found["next_cursor"] is None
    assert {frozenset(one) for one in found["events"]} == {frozenset(FIELDS)}
    assert [(one["action"], one["result"]) for one in found["events"]] == [
        ("step_up", "invalid_credentials"),
        ("profile.changed", "success"),
        ("sign_in", "success"),
        ("sign_in", "invalid_credentials"),
        ("account.created", "success"),
    ]
    assert {one["ip"] for one in found["events"]} == {"127.0.0.1"}
    assert found["events"][2]["user_agent"] == "Firefox/130.0"
    assert all(one["at"].endswith("Z") for one in found["events"])


def test_an_answer_of_activity_is_not_stored(house):
    assert house.get("/profile/activity", token=house.member()["access_token"]).headers["Cache-Control"] == "no-store"


def test_the_confirmation_by_link_and_by_code_says_from_where(house, email):
    house.sign_up(email)
    letter = house.mailbox.last(email)
    assert house.post("/confirm", {"email": email, "code": letter.code}, headers=AGENT).status == 200
    made = activity(house, house.login(email).json["access_token"])["events"][-1]
    assert (made["action"], made["ip"], made["user_agent"]) == ("account.created", "127.0.0.1", "Firefox/130.0")


def test_nobody_sees_what_happened_to_others(house, email):
    mine, others = house.member(email), house.member()
    found = activity(house, mine["access_token"])["events"]
    assert len(found) == 2
    theirs = {one["id"] for one in activity(house, others["access_token"])["events"]}
    assert not theirs & {one["id"] for one in found}


def test_from_where_an_administrator_acted_is_not_told_to_the_user(house, email):
    member = house.member(email)
    audit.note_alone("role.granted", member["user"]["id"], Client("198.51.100.9", "Admin/1"), actor="f" * 32, role="x")
    (granted, *_) = activity(house, member["access_token"])["events"]
    assert (granted["action"], granted["ip"], granted["user_agent"]) == ("role.granted", None, None)


def test_changes_of_the_profile_tell_their_fields_and_nothing_of_them(house, admin, email):
    token = house.member(email)["access_token"]
    house.patch("/profile", {"bio": "my secret", "name": None, "metadata": {"a": 1}}, token=token)
    house.delete("/profile/picture", token=token)
    assert house.patch("/profile", {}, token=token).status == 200
    (removed, changed, *_) = exported()[-2:][::-1]
    assert changed["gatehouse"]["facts"] == {"fields": ["bio", "metadata", "name"]}
    assert removed["gatehouse"]["facts"] == {"fields": ["picture"]}
    assert "my secret" not in json.dumps(exported())


def exported():
    return list(trail.export())


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_parts_fit_together_whatever_their_size(house, limit):
    token = house.member()["access_token"]
    for _ in range(5):
        house.patch("/profile", {"bio": "x"}, token=token)
    whole = activity(house, token, "?limit=200")["events"]
    found, parts = every(house, token, "/profile/activity", limit)
    assert found == whole
    assert len(whole) == 7
    assert parts == -(-7 // limit)


def test_events_that_come_meanwhile_shift_nothing(house):
    token = house.member()["access_token"]
    for _ in range(4):
        house.patch("/profile", {"bio": "x"}, token=token)
    whole = activity(house, token)["events"]
    first = activity(house, token, "?limit=3")
    house.patch("/profile", {"bio": "x"}, token=token)
    rest = activity(house, token, f"?limit=200&cursor={first['next_cursor']}")
    assert first["events"] + rest["events"] == whole


def test_events_of_one_moment_are_told_one_by_one(house, monkeypatch):
    member = house.member()
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)
    for _ in range(9):
        audit.note_alone("step_up", member["user"]["id"], actor=member["user"]["id"])
    monkeypatch.undo()
    found, _ = every(house, member["access_token"], "/profile/activity", 2)
    assert len({one["id"] for one in found}) == len(found) == 11


def test_fifty_come_unless_more_are_asked_for(house):
    member = house.member()
    for _ in range(220):
        audit.note_alone("step_up", member["user"]["id"])
    assert len(activity(house, member["access_token"])["events"]) == 50
    assert len(activity(house, member["access_token"], "?limit=200")["events"]) == 200


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1e3", "x", "", "1.5", "9" * 40, "null"])
def test_a_limit_that_is_none_is_refused(house, limit):
    answer = house.get(f"/profile/activity?limit={limit}", token=house.member()["access_token"])
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [one["field"] for one in answer.json["errors"]] == ["limit"]


def test_administrators_see_everything_with_who_and_to_whom(house, admin, email):
    member = house.member(email)
    answer = house.get("/api/admin/audit", token=admin)
    assert answer.status == 200
    newest = answer.json["events"][0]
    assert set(newest) == FIELDS | {"actor", "user"}
    assert (newest["action"], newest["actor"], newest["user"]) == ("sign_in", member["user"]["id"], member["user"]["id"])
    granted = next(one for one in answer.json["events"] if one["action"] == "role.granted")
    assert granted["actor"] == "operator"


def test_who_lacks_the_right_is_refused(house):
    assert house.get("/api/admin/audit", token=house.member()["access_token"]).code == "forbidden"
    assert house.get("/api/admin/audit").code == "token_missing"


def test_the_filters_fit_together(house, admin, email, moved_clock):
    member = house.member(email)
    user, token = member["user"]["id"], member["access_token"]
    moved_clock(60)
    since = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    house.patch("/profile", {"bio": "x"}, token=token)
    house.login(email, "a wrong password")

    def asked(query):
        return [(one["action"], one["result"]) for one in house.get(f"/api/admin/audit?{query}", token=admin).json["events"]]

    assert asked(f"user={user}&since={since}") == [("sign_in", "invalid_credentials"), ("profile.changed", "success")]
    assert asked(f"user={user}&action=sign_in") == [("sign_in", "invalid_credentials"), ("sign_in", "success")]
    assert asked(f"user={user}&action=sign_in&since={since}") == [("sign_in", "invalid_credentials")]
    assert asked("user=nobody") == []
    assert asked("action=nothing") == []
    later = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert asked(f"since={later}") == []
    found, parts = every(house, admin, f"/api/admin/audit?user={user}&action=sign_in", 1)
    assert ([one["result"] for one in found], parts) == (["invalid_credentials", "success"], 2)


@pytest.mark.parametrize("since", ["yesterday", "2026-11-03T14:05:00", "2026-13-03T14:05:00Z", "9999-12-31T23:59:59-23:00", "", "null"])
def test_a_moment_that_is_none_is_refused(house, admin, since):
    answer = house.get(f"/api/admin/audit?since={since}", token=admin)
    assert (answer.status, [one["field"] for one in answer.json["errors"]]) == (400, ["since"])


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "1000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2020-02-29T12:00:00%2B02:00"])
def test_a_moment_of_long_ago_shows_everything(house, admin, since):
    assert house.get(f"/api/admin/audit?since={since}", token=admin).json["events"]
