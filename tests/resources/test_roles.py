"""Roles, permissions and who has which, over HTTP: in force on the next request, and no more than who grants them has."""

import pytest

from domain import accounts, limits
from domain.permissions import OWN
from model import AuditEvent, Role
from tests.attacks.acts import aged, claims, count
from tests.visitor import PASSWORD

FIELDS = {"id", "service_id", "name", "description", "permissions"}


@pytest.fixture
def admin(house):
    """An administrator's token."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    return house.login("admin@example.com").json["access_token"]


@pytest.fixture
def service(house, admin):
    """The id of a service."""
    return house.post("/api/roles/services", {"name": "billing"}, token=admin).json["id"]


def add(house, admin, service, name="editor", **more):
    answer = house.post(f"/api/roles/service/{service}", {"name": name, **more}, token=admin)
    assert answer.status == 201, answer.body
    return answer.json


def path_of(user_id, service, role=None):
    return f"/api/roles/user/{user_id}/service/{service}" + (f"/role/{role}" if role else "")


def holder(house, admin, *permissions):
    """The tokens of a user who has a role of the server's own with these permissions."""
    tokens = house.member()
    role = add(house, admin, "gatehouse", f"role-{tokens['user']['id']}", permissions=list(permissions))
    assert house.post(path_of(tokens["user"]["id"], "gatehouse", role["id"]), token=admin).status == 201
    return tokens


def test_the_role_admin_has_every_permission_of_the_server(house, admin):
    (role,) = house.get("/api/roles/service/gatehouse", token=admin).json["roles"]
    assert set(role) == FIELDS
    assert (role["id"], role["service_id"], role["permissions"]) == ("admin", "gatehouse", sorted(OWN))


def test_a_permission_is_described_once(house, admin):
    listed = house.get("/api/roles/permissions", token=admin).json["permissions"]
    assert [one["name"] for one in listed] == sorted(OWN)
    assert [one for one in listed if not one["description"]] == []
    made = house.post("/api/roles/permissions", {"name": "invoices:read", "description": "See invoices"}, token=admin)
    assert (made.status, made.json) == (201, {"name": "invoices:read", "description": "See invoices"})
    assert made.json in house.get("/api/roles/permissions", token=admin).json["permissions"]
    for name in ("invoices:read", "users:write"):
        taken = house.post("/api/roles/permissions", {"name": name}, token=admin)
        assert (taken.status, taken.code) == (409, "name_taken")


@pytest.mark.parametrize("name", ["", "invoices", ":", "a:", ":b", "a:b:c", "A:b", "a: b", "a:b\n", "x" * 65 + ":a", 1, None])
def test_a_permission_of_another_form_is_refused(house, admin, service, name):
    assert house.post("/api/roles/permissions", {"name": name}, token=admin).code == "validation_failed"
    assert house.post(f"/api/roles/service/{service}", {"name": "x", "permissions": [name]}, token=admin).code == "validation_failed"


def test_a_role_is_added_and_listed_by_name(house, admin, service):
    house.post("/api/roles/permissions", {"name": "invoices:read"}, token=admin)
    made = add(house, admin, service, description="Edits", permissions=["invoices:read", "invoices:read"])
    assert set(made) == FIELDS
    assert (made["service_id"], made["name"], made["description"]) == (service, "editor", "Edits")
    assert made["permissions"] == ["invoices:read"]
    add(house, admin, service, "author")
    listed = house.get(f"/api/roles/service/{service}", token=admin).json["roles"]
    assert [one["name"] for one in listed] == ["author", "editor"]
    assert listed[0] | {"id": 1} == {"id": 1, "service_id": service, "name": "author", "description": "", "permissions": []}


def test_permissions_that_nobody_has_described_are_refused_by_their_place(house, admin, service):
    sent = {"name": "editor", "permissions": ["users:read", "invoices:read", "jobs:run", "invoices:write"]}
    refused = house.post(f"/api/roles/service/{service}", sent, token=admin)
    assert (refused.status, refused.code) == (400, "validation_failed")
    assert [(one["field"], one["code"]) for one in refused.json["errors"]] == [
        ("permissions.1", "unknown_permission"),
        ("permissions.3", "unknown_permission"),
    ]
    too_many = {"name": "editor", "permissions": ["users:read"] * (limits.ROLE_PERMISSIONS + 1)}
    assert house.post(f"/api/roles/service/{service}", too_many, token=admin).code == "validation_failed"
    assert count(Role) == 1


def test_a_role_is_named_once_in_its_service(house, admin, service):
    made = add(house, admin, service)
    other = add(house, admin, service, "author")
    assert house.post(f"/api/roles/service/{service}", {"name": "editor"}, token=admin).code == "name_taken"
    assert house.put(f"/api/roles/{other['id']}", {"name": "editor", "permissions": []}, token=admin).code == "name_taken"
    assert add(house, admin, "gatehouse")["id"] != made["id"]


def test_put_takes_the_whole_row(house, admin, service):
    made = add(house, admin, service, description="Edits", permissions=["users:read"])
    changed = house.put(f"/api/roles/{made['id']}", {"name": "reader", "permissions": []}, token=admin)
    assert (changed.status, changed.json) == (200, made | {"name": "reader", "description": "", "permissions": []})
    missing = house.put(f"/api/roles/{made['id']}", {"name": "reader"}, token=admin)
    assert [one["field"] for one in missing.json["errors"]] == ["permissions"]
    assert house.put("/api/roles/unknown", {"name": 1}, token=admin).code == "not_found"


def test_the_role_admin_is_neither_changed_nor_deleted(house, admin):
    for answer in (
        house.put("/api/roles/admin", {"name": "admin", "permissions": []}, token=admin),
        house.delete("/api/roles/admin", token=admin),
    ):
        assert (answer.status, answer.code) == (409, "last_admin")


def test_a_role_is_given_once_and_taken_once(house, admin, service):
    role = add(house, admin, service, permissions=["jobs:read"])
    user = accounts.create("ann@example.com", PASSWORD)
    path = path_of(user.id, service, role["id"])
    answers = [house.post(path, token=admin), house.post(path, token=admin)]
    assert [(one.status, one.json) for one in answers] == [(201, {"status": "granted"}), (200, {"status": "granted"})]
    held = house.get(path_of(user.id, service), token=admin)
    assert (held.status, held.json) == (200, {"roles": [role], "permissions": ["jobs:read"]})
    assert [house.delete(path, token=admin).status for _ in range(2)] == [204, 404]
    assert house.get(path_of(user.id, service), token=admin).json == {"roles": [], "permissions": []}
    noted = [one["action"] for one in house.get(f"/api/admin/audit?user={user.id}", token=admin).json["events"]]
    assert noted == ["role.taken", "role.granted", "account.created"]


def test_ids_that_are_not_there_and_roles_of_other_services_are_not_found(house, admin, service):
    role = add(house, admin, service)
    user = accounts.create("ann@example.com", PASSWORD)
    for path in (
        path_of("unknown", service, role["id"]),
        path_of(user.id, "unknown", role["id"]),
        path_of(user.id, service, "unknown"),
        path_of(user.id, "gatehouse", role["id"]),
        path_of(user.id, service, "admin"),
    ):
        for answer in (house.post(path, token=admin), house.delete(path, token=admin)):
            assert (answer.status, answer.code) == (404, "not_found")
    for path in (path_of("unknown", service), path_of(user.id, "unknown"), "/api/roles/service/unknown"):
        assert house.get(path, token=admin).code == "not_found"


def test_ones_own_roles_need_a_sign_in_only(house, admin, service):
    tokens, other = house.member(), house.member()
    role = add(house, admin, service)
    house.post(path_of(tokens["user"]["id"], service, role["id"]), token=admin)
    mine = path_of(tokens["user"]["id"], service)
    assert house.get(mine, token=aged(tokens["access_token"])).json["roles"] == [role]
    assert (house.get(mine).code, house.get(mine, token=other["access_token"]).code) == ("token_missing", "forbidden")
    assert house.get(path_of(tokens["user"]["id"], "unknown"), token=tokens["access_token"]).code == "not_found"


def test_a_role_of_an_inactive_service_gives_nothing(house, admin, service):
    role = add(house, admin, service, permissions=["jobs:read"])
    tokens = house.member()
    house.put(f"/api/roles/services/{service}", {"name": "billing", "is_active": False}, token=admin)
    assert house.post(path_of(tokens["user"]["id"], service, role["id"]), token=admin).status == 201
    held = house.get(path_of(tokens["user"]["id"], service), token=admin).json
    assert (held["roles"], held["permissions"]) == ([role], [])
    assert claims(house.post("/refresh", token=tokens["refresh_token"]).json["access_token"])["roles"] == {}


def test_a_right_is_in_force_on_the_next_request_and_so_is_its_end(house, admin):
    tokens = house.member()
    role = add(house, admin, "gatehouse", "clerk", permissions=["services:read"])
    path = path_of(tokens["user"]["id"], "gatehouse", role["id"])

    def status():
        return house.get("/api/roles/services", token=tokens["access_token"]).status

    told = [status()]
    for step in (
        lambda: house.post(path, token=admin),
        lambda: house.put(f"/api/roles/{role['id']}", {"name": "clerk", "permissions": []}, token=admin),
        lambda: house.put(f"/api/roles/{role['id']}", {"name": "clerk", "permissions": ["services:read"]}, token=admin),
        lambda: house.delete(path, token=admin),
        lambda: house.post(path, token=admin),
        lambda: house.delete(f"/api/roles/{role['id']}", token=admin),
    ):
        assert step().status < 300
        told.append(status())
    assert told == [403, 200, 403, 200, 403, 200, 403]


def test_nobody_grants_what_they_lack(house, admin, service):
    clerk = holder(house, admin, "roles:read", "roles:write", "audit:read")
    me, token = clerk["user"]["id"], clerk["access_token"]
    strong = add(house, admin, "gatehouse", "strong", permissions=["users:write"])
    other = add(house, admin, service, "other", permissions=["users:write"])
    for answer in (
        house.post("/api/roles/service/gatehouse", {"name": "x", "permissions": ["audit:read", "users:write"]}, token=token),
        house.post(f"/api/roles/service/{service}", {"name": "x", "permissions": ["users:write"]}, token=token),
        house.put(f"/api/roles/{strong['id']}", {"name": "strong", "permissions": []}, token=token),
        house.delete(f"/api/roles/{strong['id']}", token=token),
        house.post(path_of(me, "gatehouse", strong["id"]), token=token),
        house.post(path_of(me, service, other["id"]), token=token),
        house.delete(path_of(me, service, other["id"]), token=token),
    ):
        assert (answer.status, answer.code) == (403, "forbidden")
    assert house.post("/api/roles/service/gatehouse", {"name": "x", "permissions": ["audit:read"]}, token=token).status == 201


def test_another_services_permissions_are_granted_by_whoever_writes_roles(house, admin, service):
    clerk = holder(house, admin, "roles:write")
    token = clerk["access_token"]
    assert house.post("/api/roles/permissions", {"name": "invoices:write"}, token=token).status == 201
    role = add(house, token, service, permissions=["invoices:write"])
    assert house.post(path_of(clerk["user"]["id"], service, role["id"]), token=token).status == 201
    assert house.put(f"/api/roles/{role['id']}", {"name": "y", "permissions": []}, token=token).status == 200
    assert house.delete(f"/api/roles/{role['id']}", token=token).status == 204


def test_the_last_admin_keeps_the_role(house, admin):
    me = claims(admin)["sub"]
    refused = house.delete(path_of(me, "gatehouse", "admin"), token=admin)
    assert (refused.status, refused.code) == (409, "last_admin")
    second = accounts.create("second@example.com", PASSWORD, admin=True)
    accounts.deactivate("second@example.com")
    assert house.delete(path_of(me, "gatehouse", "admin"), token=admin).code == "last_admin"
    accounts.activate("second@example.com")
    assert house.delete(path_of(me, "gatehouse", "admin"), token=admin).status == 204
    assert house.get("/api/roles/services", token=admin).code == "forbidden"
    assert count(AuditEvent, AuditEvent.action == "role.taken", AuditEvent.user_id == me) == 1
    assert (
        house.delete(path_of(second.id, "gatehouse", "admin"), token=house.login("second@example.com").json["access_token"]).status == 409
    )
