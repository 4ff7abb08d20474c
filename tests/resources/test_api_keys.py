"""API keys: how they are made, shown and ended, and what their owners are told."""

import re
from datetime import datetime

import pytest
from sqlalchemy import select

from domain import activity, cards, database
from domain.database import reading, transaction
from model import ApiKey, Assignment, AuditEvent
from tests.credentials import FORM, admin_of, by_key, make_key

MADE = {"key_id", "api_key", "name", "scopes", "created_at", "expires_at"}
LISTED = {"key_id", "name", "last8", "scopes", "created_at", "last_used", "is_active", "expires_at"}
STATUS = {"key_id", "is_active", "expired", "expires_at", "rate_limit"}


def listed(house, tokens):
    answer = house.get("/keys/list", token=tokens["access_token"])
    assert answer.status == 200, answer.body
    return answer.json["keys"]


def days(key):
    made, ends = (datetime.fromisoformat(key[field]) for field in ("created_at", "expires_at"))
    return (ends - made).days


def told(action):
    with reading() as db:
        return db.scalars(select(AuditEvent).where(AuditEvent.action == action)).all()


def test_a_key_is_shown_once_and_opens_its_owners_profile(house, email):
    tokens = house.member(email)
    answer = house.post("/keys/create", {"name": "Backup"}, token=tokens["access_token"])
    assert (answer.status, set(answer.json), answer.headers["Cache-Control"]) == (201, MADE, "no-store")
    made = answer.json
    assert re.fullmatch(FORM, made["api_key"])
    assert (made["name"], made["scopes"], days(made)) == ("Backup", ["profile:read"], 90)
    for path in ("/profile", "/api/auth/me"):
        assert house.get(path, **by_key(made["api_key"])).json["email"] == email
        assert house.get(path, token=made["api_key"]).json["email"] == email
    (shown,) = listed(house, tokens)
    assert set(shown) == LISTED
    assert shown["last8"] == made["api_key"][-8:]
    assert (shown["key_id"], shown["is_active"]) == (made["key_id"], True)
    assert shown["last_used"].endswith("Z")


def test_nothing_is_needed_in_the_body(house, email):
    tokens = house.member(email)
    assert house.post("/keys/create", token=tokens["access_token"]).json["name"] is None
    assert make_key(house, tokens)["scopes"] == ["profile:read"]
    assert make_key(house, tokens, scopes=[])["scopes"] == []


def test_writing_needs_its_own_scope(house, email):
    tokens = house.member(email)
    reader = make_key(house, tokens)["api_key"]
    writer = make_key(house, tokens, scopes=["profile:write", "profile:write"])
    assert writer["scopes"] == ["profile:write"]
    for call in (house.put, house.patch):
        assert call("/profile", {"bio": "x"}, **by_key(reader)).code == "forbidden"
        assert call("/profile", {"bio": "y"}, **by_key(writer["api_key"])).json["bio"] == "y"
    assert house.get("/profile", **by_key(writer["api_key"])).code == "forbidden"
    (changed, _) = told("profile.changed")
    assert changed.facts == {"credential_id": writer["key_id"], "fields": ["bio"]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 91}, "expires_in_days"),
        ({"expires_in_days": 10**30}, "expires_in_days"),
        ({"expires_in_days": "7"}, "expires_in_days"),
        ({"expires_in_days": True}, "expires_in_days"),
        ({"expires_in_days": None}, "expires_in_days"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"scopes": "profile:read"}, "scopes"),
        ({"scopes": [1]}, "scopes.0"),
        ({"scopes": ["x" * 130]}, "scopes.0"),
        ({"user_id": "x"}, "user_id"),
    ],
)
def test_a_body_that_is_not_right_makes_no_key(house, email, body, field):
    tokens = house.member(email)
    answer = house.post("/keys/create", body, token=tokens["access_token"])
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [fault["field"] for fault in answer.json["errors"]] == [field]
    assert listed(house, tokens) == []


def test_a_key_lives_as_long_as_is_asked(house, email, moved_clock):
    tokens = house.member(email)
    key = make_key(house, tokens, expires_in_days=1)
    assert days(key) == 1
    moved_clock(86399)
    assert house.get("/profile", **by_key(key["api_key"])).status == 200
    moved_clock(86401)
    answer = house.get("/profile", **by_key(key["api_key"]))
    assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (
        401,
        "token_expired",
        'Bearer realm="gatehouse", error="invalid_token"',
    )


@pytest.mark.parametrize("scope", ["users:read", "posts:read", "anything", "", "Profile:read"])
def test_a_scope_that_the_owner_lacks_is_refused(house, email, scope):
    tokens = house.member(email)
    answer = house.post("/keys/create", {"scopes": ["profile:read", scope]}, token=tokens["access_token"])
    assert answer.status == (403 if scope else 400)
    assert listed(house, tokens) == []


def test_a_key_opens_what_its_owner_may_within_its_scopes(house, email):
    admin = admin_of(house, email)
    plain, auditor = make_key(house, admin), make_key(house, admin, scopes=["audit:read"])
    assert house.get("/api/admin/audit", **by_key(plain["api_key"])).code == "forbidden"
    assert house.get("/api/admin/audit", **by_key(auditor["api_key"])).status == 200
    assert house.get("/profile", **by_key(auditor["api_key"])).code == "forbidden"
    with transaction() as db:
        db.query(Assignment).delete()
        cards.mark(db)
    assert house.get("/api/admin/audit", **by_key(auditor["api_key"])).code == "forbidden"


@pytest.mark.settings(MAX_KEYS_PER_USER=2)
def test_there_are_so_many_live_keys_and_no_more(house, email, moved_clock):
    tokens = house.member(email)
    first, _ = make_key(house, tokens), make_key(house, tokens, expires_in_days=1)
    answer = house.post("/keys/create", {}, token=tokens["access_token"])
    assert (answer.status, answer.code) == (409, "too_many_keys")
    house.post(f"/keys/revoke/{first['key_id']}", token=tokens["access_token"])
    make_key(house, tokens)
    moved_clock(86401)
    tokens = house.login(email).json
    make_key(house, tokens)
    assert house.post("/keys/create", {}, token=tokens["access_token"]).code == "too_many_keys"
    assert [one["is_active"] for one in listed(house, tokens)].count(True) == 2


@pytest.mark.parametrize("path", ["/keys/revoke", "/key/revoke"])
@pytest.mark.parametrize("named", ["key_id", "api_key"])
def test_a_key_is_ended_by_its_id_or_by_itself(house, email, path, named):
    tokens = house.member(email)
    key = make_key(house, tokens)
    for _ in range(2):
        answer = house.post(f"{path}/{key[named]}", token=tokens["access_token"])
        assert (answer.status, answer.json) == (200, {"status": "revoked"})
    assert house.get("/profile", **by_key(key["api_key"])).code == "token_revoked"
    assert [one["is_active"] for one in listed(house, tokens)] == [False]
    assert [event.facts for event in told("key.revoked")] == [{"key": key["key_id"]}]


def test_a_key_of_somebody_else_is_not_there(house, email):
    key = make_key(house, house.member(email))
    stranger = house.member()
    for part in (key["key_id"], key["api_key"], "something", "é", "%00"):
        for method, path in (("POST", "/keys/revoke/"), ("POST", "/key/revoke/"), ("GET", "/keys/status/")):
            answer = house.request(method, path + part, token=stranger["access_token"])
            assert (answer.status, answer.code) == (404, "not_found")
    assert house.get("/profile", **by_key(key["api_key"])).status == 200
    broken = {"data": b"{", "headers": {"Content-Type": "application/json"}}
    assert house.post(f"/keys/revoke/{key['key_id']}", token=stranger["access_token"], **broken).status == 404


def test_making_one_asks_for_a_recent_sign_in(house, email, moved_clock):
    tokens = house.member(email)
    moved_clock(301)
    answer = house.post("/keys/create", {}, token=tokens["access_token"])
    assert (answer.code, answer.json["methods"]) == ("reauthentication_required", ["password"])
    key = make_key(house, house.login(email).json)
    for method, path in (("POST", "/keys/create"), ("GET", "/keys/list"), ("GET", f"/keys/status/{key['key_id']}")):
        assert house.request(method, path, **by_key(key["api_key"])).code == "forbidden"
    assert house.post(f"/keys/revoke/{key['key_id']}", **by_key(key["api_key"])).code == "forbidden"


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_REQUESTS=5)
def test_what_a_key_asks_counts_for_its_owner_and_is_told(house, email):
    tokens = house.member(email)
    key, other = make_key(house, tokens), make_key(house, tokens)
    left = [house.get("/profile", **by_key(one["api_key"])) for one in (key, other)]
    assert [answer.headers["X-RateLimit-Limit"] for answer in left] == ["5", "5"]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in left] == ["2", "1"]
    status = house.get(f"/keys/status/{key['key_id']}", token=tokens["access_token"])
    assert set(status.json) == STATUS
    assert status.json["rate_limit"]["remaining"] == 0
    reset = int(left[0].headers["X-RateLimit-Reset"])
    assert abs(datetime.fromisoformat(status.json["rate_limit"]["reset_at"]).timestamp() - reset) <= 1
    assert "X-RateLimit-Limit" not in status.headers
    over = house.get("/profile", **by_key(key["api_key"]))
    assert (over.status, over.code, over.headers["X-RateLimit-Remaining"]) == (429, "rate_limited", "0")
    assert int(over.headers["Retry-After"]) >= 1


def test_without_limits_the_answers_to_a_key_tell_of_a_full_budget(house, email):
    tokens = house.member(email)
    key = make_key(house, tokens)
    for _ in range(3):
        answer = house.delete("/profile/picture", **by_key(key["api_key"]))
        assert answer.status == 403
        assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("600", "600")


def test_the_status_tells_whether_a_key_was_ended_or_has_run_out(house, email, moved_clock):
    tokens = house.member(email)
    over, ended = make_key(house, tokens, expires_in_days=1), make_key(house, tokens)
    house.post(f"/keys/revoke/{ended['api_key']}", token=tokens["access_token"])
    moved_clock(86401)
    tokens = house.login(email).json
    stand = [house.get(f"/keys/status/{key['api_key']}", token=tokens["access_token"]).json for key in (over, ended)]
    assert [(one["is_active"], one["expired"]) for one in stand] == [(False, True), (False, False)]


def test_a_use_is_counted_and_written_in_batches(house, email, moved_clock):
    tokens = house.member(email)
    key = make_key(house, tokens)
    for second in range(3):
        moved_clock(second)
        house.get("/profile", **by_key(key["api_key"]))
    with reading() as db:
        assert db.get(ApiKey, key["key_id"]).use_count == 0
    last_used = listed(house, tokens)[0]["last_used"]
    activity.flush()
    with reading() as db:
        row = db.get(ApiKey, key["key_id"])
    assert row.use_count == 3
    assert listed(house, tokens)[0]["last_used"] == last_used
    moved_clock(0)
    house.get("/profile", **by_key(key["api_key"]))
    activity.flush()
    with reading() as db:
        again = db.get(ApiKey, key["key_id"])
    assert (again.use_count, again.last_used_at) == (4, row.last_used_at)


def test_the_owner_is_told_of_a_new_key_and_can_say_that_it_was_not_them(house, email):
    tokens = house.member(email)
    key = make_key(house, tokens, name="see https://evil.example/x or www.evil.example", expires_in_days=30)
    letter = house.mailbox.last(email)
    assert letter.subject == "A new API key"
    assert key["api_key"][-8:] in letter.text
    assert "profile:read" in letter.text
    assert "evil.example" not in letter.text + letter.html
    assert "://evil" not in letter.text + letter.html
    assert key["api_key"] not in letter.text + letter.html
    assert house.post(letter.path, headers={"Content-Type": "application/x-www-form-urlencoded"}).status == 200
    assert house.get("/profile", **by_key(key["api_key"])).code == "token_revoked"


def test_no_table_holds_a_key(house, email):
    key = make_key(house, house.member(email))["api_key"]
    house.get("/profile", **by_key(key))
    with database.connection() as db:
        tables = [db.exec_driver_sql(f"SELECT * FROM {name}").all() for name in ("api_keys", "audit_events", "budgets", "mails")]
    assert key not in str(tables)
