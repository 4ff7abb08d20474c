"""Application tokens: who makes them for whom, what they open, and how they end."""

import re
from datetime import datetime

import pytest
from sqlalchemy import delete, select, update

from domain import activity, clock
from domain.database import reading, transaction
from model import AppToken, AuditEvent, KnownPermission, Role, Service
from tests.credentials import APP_FORM, admin_of, by_app_token, by_key, make_app_token, make_key, make_service

LISTED = {"id", "name", "last8", "scopes", "is_active", "created_at", "expires_at", "last_used_at", "use_count"}
GOOD = {"valid", "service", "scopes", "expires_at"}


@pytest.fixture
def admin(house, email):
    return admin_of(house, email)


@pytest.fixture
def shop(house):
    return make_service("shop")


def listed(house, admin, service_id):
    answer = house.get(f"/api/tokens/service/{service_id}", token=admin["access_token"])
    assert answer.status == 200, answer.body
    return answer.json["tokens"]


def validate(house, token):
    return house.get("/api/tokens/validate", **by_app_token(token))


def told(action):
    with reading() as db:
        return db.scalars(select(AuditEvent).where(AuditEvent.action == action)).all()


def test_a_token_is_shown_once_and_tells_whose_it_is(house, admin, shop):
    answer = house.post("/api/tokens/", {"service_id": shop, "name": "Front"}, token=admin["access_token"])
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    made = answer.json
    assert re.fullmatch(APP_FORM, made["token"])
    assert (made["scopes"], made["expires_at"], made["service_id"]) == ([], None, shop)
    good = validate(house, made["token"])
    assert (good.status, set(good.json), good.json["valid"], good.headers["Cache-Control"]) == (200, GOOD, True, "no-store")
    assert (good.json["service"]["id"], good.json["service"]["name"], good.json["service"]["is_active"]) == ("shop", "shop", True)
    assert house.get("/api/tokens/validate", token=made["token"]).json == good.json
    (shown,) = listed(house, admin, shop)
    assert set(shown) == LISTED
    assert (shown["id"], shown["last8"], shown["is_active"], shown["use_count"]) == (made["id"], made["token"][-8:], True, 2)
    assert made["token"] not in str(shown)
    assert house.post("/api/tokens", {"service_id": shop, "name": "Front"}, token=admin["access_token"]).status == 201
    assert told("app_token.created")[0].facts == {"service": shop, "token": made["id"], "scopes": []}


def test_a_token_lasts_for_so_many_days(house, admin, shop, moved_clock):
    made = make_app_token(house, admin, shop, expires_in_days=2)
    assert (datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])).days == 2
    moved_clock(2 * 86400 - 5)
    assert validate(house, made["token"]).json["expires_at"] == made["expires_at"]
    moved_clock(2 * 86400)
    assert validate(house, made["token"]).code == "token_expired"
    house_admin = house.login(admin["user"]["email"]).json
    assert [one["is_active"] for one in listed(house, house_admin, shop)] == [False]


def test_a_token_opens_the_rows_of_its_scopes_and_no_other(house, admin, shop):
    token = make_app_token(house, admin, shop, scopes=["audit:read", "tokens:read"])["token"]
    assert house.get("/api/admin/audit", **by_app_token(token)).status == 200
    assert house.get(f"/api/tokens/service/{shop}", token=token).status == 200
    for method, path in (("GET", "/profile"), ("POST", "/api/tokens"), ("GET", "/mfa"), ("POST", "/logout"), ("POST", "/refresh")):
        assert house.request(method, path, **by_app_token(token)).code == "forbidden"


def test_a_token_may_make_tokens_within_its_own_scopes(house, admin, shop):
    token = make_app_token(house, admin, shop, scopes=["tokens:write"])["token"]
    body = {"service_id": shop, "name": "Second"}
    assert house.post("/api/tokens", {**body, "scopes": ["tokens:write"]}, **by_app_token(token)).status == 201
    assert house.post("/api/tokens", {**body, "scopes": ["audit:read"]}, **by_app_token(token)).code == "forbidden"
    assert told("app_token.created")[-1].actor == f"service:{shop}"


def test_scopes_are_known_permissions_and_ones_own_those_of_its_maker(house, admin, shop):
    with transaction() as db:
        db.add(KnownPermission(name="posts:write", description=None, created_at=clock.now()))
        db.execute(update(Role).values(name="clerk", permissions=["tokens:write"]))
    body = {"service_id": shop, "name": "Front"}
    refused = house.post("/api/tokens", {**body, "scopes": ["posts:write", "posts:read"]}, token=admin["access_token"])
    assert (refused.status, refused.code) == (400, "validation_failed")
    assert refused.json["errors"][0]["field"].startswith("scopes")
    assert house.post("/api/tokens", {**body, "scopes": ["users:write"]}, token=admin["access_token"]).code == "forbidden"
    assert make_app_token(house, admin, shop, scopes=["tokens:write", "posts:write"])["scopes"] == ["posts:write", "tokens:write"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"service_id": 7}, "service_id"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 36501}, "expires_in_days"),
        ({"scopes": ["Users:Read"]}, "scopes"),
        ({"scopes": {}}, "scopes"),
        ({"token": "mine"}, "token"),
    ],
)
def test_a_body_that_is_not_right_makes_no_token(house, admin, shop, change, field):
    answer = house.post("/api/tokens", {"service_id": shop, "name": "Front", **change}, token=admin["access_token"])
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert answer.json["errors"][0]["field"].startswith(field)
    assert listed(house, admin, shop) == []


def test_what_is_not_there_is_not_found(house, admin, shop):
    mine = {"token": admin["access_token"]}
    assert house.post("/api/tokens", {"service_id": "nobody", "name": "Front"}, **mine).code == "not_found"
    assert house.get("/api/tokens/service/nobody", **mine).code == "not_found"
    assert house.post("/api/tokens/nothing/revoke", **mine).code == "not_found"
    assert house.post("/api/tokens/nothing/revoke", {"x": 1}, **mine).code == "not_found"
    assert house.delete("/api/tokens/nothing", **mine).code == "not_found"


def test_a_token_is_ended_at_once_and_again_is_fine(house, admin, shop):
    first, second = make_app_token(house, admin, shop), make_app_token(house, admin, shop)
    for _ in range(2):
        answer = house.post(f"/api/tokens/{first['id']}/revoke", token=admin["access_token"])
        assert (answer.status, answer.json) == (200, {"status": "revoked"})
    assert validate(house, first["token"]).code == "token_revoked"
    assert validate(house, second["token"]).status == 200
    assert {one["id"]: one["is_active"] for one in listed(house, admin, shop)} == {first["id"]: False, second["id"]: True}
    assert house.delete(f"/api/tokens/{second['id']}", token=admin["access_token"]).status == 204
    assert validate(house, second["token"]).code == "token_invalid"
    assert [len(told(f"app_token.{act}")) for act in ("created", "revoked", "removed")] == [2, 1, 1]


def test_a_token_ends_with_its_service_and_not_with_its_maker(house, admin, shop):
    token = make_app_token(house, admin, shop)["token"]
    with transaction() as db:
        db.execute(update(Service).where(Service.id == shop).values(is_active=False))
    assert validate(house, token).code == "token_revoked"
    with transaction() as db:
        db.execute(update(Service).where(Service.id == shop).values(is_active=True))
    assert validate(house, token).status == 200
    with transaction() as db:
        db.execute(delete(Service).where(Service.id == shop))
    assert validate(house, token).code == "token_invalid"


def test_who_is_no_service_learns_nothing(house, admin, shop):
    assert house.get("/api/tokens/validate").code == "token_missing"
    assert house.get("/api/tokens/validate", token=admin["access_token"]).code == "token_invalid"
    assert house.get("/api/tokens/validate", token=admin["refresh_token"]).code == "token_invalid"
    assert house.get("/api/tokens/validate", **by_key(make_key(house, admin)["api_key"])).code == "forbidden"


def test_making_one_asks_for_a_recent_sign_in_and_ending_one_does_not(house, admin, shop, moved_clock):
    made = make_app_token(house, admin, shop)
    moved_clock(301)
    body = {"service_id": shop, "name": "Front"}
    assert house.post("/api/tokens", body, token=admin["access_token"]).code == "reauthentication_required"
    assert house.post(f"/api/tokens/{made['id']}/revoke", token=admin["access_token"]).status == 200


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="3 per day", RATE_LIMIT_REQUESTS=3)
def test_what_a_service_asks_is_not_counted(house, admin, shop):
    token = make_app_token(house, admin, shop)["token"]
    answers = [validate(house, token) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[0].headers
    wrong = [house.get("/api/tokens/validate", **by_app_token("x")).status for _ in range(4)]
    assert wrong[-1] == 429


def test_uses_are_written_in_batches(house, admin, shop):
    made = make_app_token(house, admin, shop)
    for _ in range(3):
        validate(house, made["token"])
    activity.flush()
    with reading() as db:
        row = db.get(AppToken, made["id"])
    assert row.use_count == 3
    assert row.last_used_at is not None
    assert listed(house, admin, shop)[0]["use_count"] == 3
