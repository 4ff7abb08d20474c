"""Services over HTTP: whole rows in and out, names that are unique, and what goes with a service."""

import pytest

from domain import accounts
from domain.database import reading
from model import AppToken, Assignment, Role, Service
from tests.attacks.acts import aged, count
from tests.visitor import PASSWORD

FIELDS = {"id", "name", "description", "is_active", "created_at"}


@pytest.fixture
def admin(house):
    """An administrator's token."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    return house.login("admin@example.com").json["access_token"]


def add(house, admin, name="billing", **more):
    answer = house.post("/api/roles/services", {"name": name, **more}, token=admin)
    assert answer.status == 201, answer.body
    return answer.json


def test_the_server_itself_is_a_service_and_listed(house, admin):
    (own,) = house.get("/api/roles/services", token=admin).json["services"]
    assert set(own) == FIELDS
    assert (own["id"], own["name"], own["is_active"]) == ("gatehouse", "gatehouse", True)


def test_a_service_is_added_and_listed_by_name(house, admin):
    made = add(house, admin, description="Sends invoices")
    assert set(made) == FIELDS
    assert (made["name"], made["description"], made["is_active"]) == ("billing", "Sends invoices", True)
    assert made["created_at"].endswith("Z")
    add(house, admin, "archive", is_active=False)
    listed = house.get("/api/roles/services", token=admin).json["services"]
    assert [(one["name"], one["is_active"]) for one in listed] == [("archive", False), ("billing", True), ("gatehouse", True)]
    assert listed[1] == made
    assert listed[0]["description"] == ""


def test_a_row_as_it_is_shown_can_be_sent_back(house, admin):
    made = add(house, admin)
    row = {name: made[name] for name in ("name", "description", "is_active")}
    assert house.put(f"/api/roles/services/{made['id']}", row, token=admin).json == made


def test_put_takes_the_whole_row(house, admin):
    made = add(house, admin, description="Sends invoices")
    path = f"/api/roles/services/{made['id']}"
    changed = house.put(path, {"name": "payments", "is_active": False}, token=admin)
    assert (changed.status, changed.json) == (200, made | {"name": "payments", "description": "", "is_active": False})
    missing = house.put(path, {"description": "x"}, token=admin)
    assert (missing.status, {one["field"] for one in missing.json["errors"]}) == (400, {"name", "is_active"})


def test_a_name_is_taken_once(house, admin):
    made = add(house, admin)
    taken = house.post("/api/roles/services", {"name": "billing"}, token=admin)
    assert (taken.status, taken.code) == (409, "name_taken")
    assert house.post("/api/roles/services", {"name": "gatehouse"}, token=admin).code == "name_taken"
    row = {"name": "gatehouse", "is_active": True}
    assert house.put(f"/api/roles/services/{made['id']}", row, token=admin).code == "name_taken"
    assert house.put(f"/api/roles/services/{made['id']}", row | {"name": "billing"}, token=admin).status == 200


@pytest.mark.parametrize("name", ["", "x" * 65, "Billing", "a b", "a,b", "a/b", "bílling", "a\n", "billing ", None, 1, ["a"]])
def test_a_name_that_tokens_could_not_carry_is_refused(house, admin, name):
    answer = house.post("/api/roles/services", {"name": name}, token=admin)
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [one["field"] for one in answer.json["errors"]] == ["name"]


@pytest.mark.parametrize("more", [{"id": "x"}, {"created_at": "2026-01-01T00:00:00Z"}, {"description": None}, {"is_active": "yes"}])
def test_other_fields_and_other_types_are_refused(house, admin, more):
    assert house.post("/api/roles/services", {"name": "billing", **more}, token=admin).code == "validation_failed"
    assert count(Service) == 1


def test_the_servers_own_keeps_its_name_and_stays_active(house, admin):
    path = "/api/roles/services/gatehouse"
    for row in ({"name": "other", "is_active": True}, {"name": "gatehouse", "is_active": False}):
        refused = house.put(path, row, token=admin)
        assert (refused.status, refused.code) == (409, "last_admin")
    refused = house.delete(path, token=admin)
    assert (refused.status, refused.code) == (409, "last_admin")
    described = house.put(path, {"name": "gatehouse", "is_active": True, "description": "Here"}, token=admin)
    assert (described.status, described.json["description"]) == (200, "Here")


def test_a_service_takes_its_roles_their_users_and_its_tokens_along(house, admin):
    made = add(house, admin)
    role = house.post(f"/api/roles/service/{made['id']}", {"name": "editor"}, token=admin).json
    user = accounts.create("ann@example.com", PASSWORD)
    assert house.post(f"/api/roles/user/{user.id}/service/{made['id']}/role/{role['id']}", token=admin).status == 201
    assert house.delete(f"/api/roles/services/{made['id']}", token=admin).status == 204
    assert (count(Role, Role.id == role["id"]), count(Assignment, Assignment.role_id == role["id"]), count(AppToken)) == (0, 0, 0)
    assert house.delete(f"/api/roles/services/{made['id']}", token=admin).code == "not_found"
    assert house.put(f"/api/roles/{role['id']}", {"name": "x", "permissions": []}, token=admin).code == "not_found"


def test_an_unknown_id_is_told_before_what_is_wrong_with_the_body(house, admin):
    answer = house.put("/api/roles/services/unknown", {"name": 1}, token=admin)
    assert (answer.status, answer.code) == (404, "not_found")


def test_everybody_sees_the_services_where_they_have_a_role(house, admin):
    made = add(house, admin)
    role = house.post(f"/api/roles/service/{made['id']}", {"name": "editor"}, token=admin).json
    tokens = house.member()
    assert house.get("/api/roles/services/user", token=tokens["access_token"]).json == {"services": []}
    house.post(f"/api/roles/user/{tokens['user']['id']}/service/{made['id']}/role/{role['id']}", token=admin)
    assert house.get("/api/roles/services/user", token=tokens["access_token"]).json == {"services": [made]}
    assert [one["name"] for one in house.get("/api/roles/services/user", token=admin).json["services"]] == ["gatehouse"]


def test_changes_ask_for_a_recent_sign_in_and_looks_do_not(house, admin):
    old = aged(admin)
    assert house.get("/api/roles/services", token=old).status == 200
    refused = house.post("/api/roles/services", {"name": "billing"}, token=old)
    assert (refused.status, refused.code) == (401, "reauthentication_required")
    with reading() as db:
        assert db.query(Service).count() == 1


def test_what_is_done_to_services_stands_in_the_audit_trail(house, admin):
    made = add(house, admin)
    house.put(f"/api/roles/services/{made['id']}", {"name": "payments", "is_active": True}, token=admin)
    house.delete(f"/api/roles/services/{made['id']}", token=admin)
    told = house.get("/api/admin/audit", token=admin).json["events"]
    assert [one["action"] for one in told][:3] == ["service.removed", "service.changed", "service.created"]
    assert {(one["actor"] is not None, one["user"], one["ip"]) for one in told[:3]} == {(True, None, "127.0.0.1")}
