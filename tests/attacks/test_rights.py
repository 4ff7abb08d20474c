"""Threats 34 to 36 at services and roles: nobody gains a right that they were not given, keeps one that was taken, or takes the
last administrator away.
"""

import re

import pytest
from sqlalchemy import delete, insert, select

from domain import accounts, cards, clock, limits, roles
from domain.database import new_id, reading, transaction
from domain.errors import LastAdmin
from domain.permissions import OWN
from model import Assignment, AuditEvent, KnownPermission, Role, Service, User
from tests.attacks.acts import account, claims, count, statuses, user_of, wide
from tests.serving import at_once
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000}


def fresh_admin(server):
    """A new administrator's id and access token."""
    email = f"admin-{new_id()}@example.com"
    user = accounts.create(email, PASSWORD, admin=True)
    return user.id, server.login(email).json["access_token"]


@pytest.fixture(scope="module")
def root(server):
    """The token of an administrator who stays one."""
    return fresh_admin(server)[1]


@pytest.fixture
def only_these(server):
    """Two administrators, and no other while the test runs."""
    with transaction() as db:
        kept = [{"user_id": one.user_id, "role_id": one.role_id, "assigned_at": one.assigned_at} for one in admins(db)]
        db.execute(delete(Assignment).where(Assignment.role_id == roles.ADMIN))
        cards.mark(db)
    yield [fresh_admin(server), fresh_admin(server)]
    with transaction() as db:
        db.execute(delete(Assignment).where(Assignment.role_id == roles.ADMIN))
        cards.mark(db)
        if kept:
            db.execute(insert(Assignment), kept)
            cards.mark(db)


def admins(db):
    return db.scalars(select(Assignment).join(User).where(Assignment.role_id == roles.ADMIN, User.status == "active")).all()


def path_of(user_id, service="gatehouse", role=None):
    return f"/api/roles/user/{user_id}/service/{service}" + (f"/role/{role}" if role else "")


def make(server, root, path, **body):
    answer = server.post(path, body, token=root)
    assert answer.status == 201, answer.body
    return answer.json


def service_of(server, root):
    return make(server, root, "/api/roles/services", name=new_id())["id"]


def role_of(server, root, *permissions, service="gatehouse"):
    return make(server, root, f"/api/roles/service/{service}", name=new_id(), permissions=list(permissions))["id"]


def clerk(server, root, *permissions):
    """The id and token of a user with these permissions of the server's own."""
    tokens = server.member()
    user_id = tokens["user"]["id"]
    assert server.post(path_of(user_id, role=role_of(server, root, *permissions)), token=root).status == 201
    return user_id, tokens["access_token"]


# The last administrator.


@pytest.mark.parametrize("turn", range(5))
def test_of_two_administrators_who_demote_each_other_one_stays(server, only_these, turn):
    (one, token_of_one), (two, token_of_two) = only_these
    acts = [(path_of(two, role="admin"), token_of_one), (path_of(one, role="admin"), token_of_two)]
    answers = at_once(20, lambda number: server.delete(acts[(number + turn) % 2][0], token=acts[(number + turn) % 2][1]))
    assert statuses(answers)[204] == 1
    assert {one.status for one in answers} <= {204, 403, 404, 409}
    with reading() as db:
        assert len(admins(db)) == 1


def test_of_administrators_who_all_leave_at_once_one_stays(server, only_these):
    all_of_them = [*only_these, *(fresh_admin(server) for _ in range(3))]
    answers = at_once(20, lambda number: server.delete(path_of(all_of_them[number % 5][0], role="admin"), token=all_of_them[number % 5][1]))
    assert statuses(answers)[204] == 4
    with reading() as db:
        assert len(admins(db)) == 1


def test_an_administrator_is_not_demoted_while_the_other_is_deactivated(server, only_these):
    (one, _), (two, token_of_two) = only_these
    with reading() as db:
        email = db.get(User, one).email

    def act(number):
        if number % 2:
            return server.delete(path_of(two, role="admin"), token=token_of_two).status
        try:
            accounts.deactivate(email)
        except LastAdmin:
            return 409
        return 204

    assert set(at_once(20, act)) <= {204, 403, 404, 409}
    with reading() as db:
        assert len(admins(db)) == 1


# Escalation.


def test_who_writes_roles_gains_nothing_by_it(server, root):
    me, token = clerk(server, root, "roles:read", "roles:write", "services:read", "services:write")
    had = roles.permissions_of(me)
    mine = server.get(path_of(me), token=token).json["roles"][0]
    strong, other = role_of(server, root, "users:write"), service_of(server, root)
    victim, _ = fresh_admin(server)
    tries = {
        "a role with more": ("POST", "/api/roles/service/gatehouse", {"name": new_id(), "permissions": ["users:write"]}),
        "one for another service": ("POST", f"/api/roles/service/{other}", {"name": new_id(), "permissions": ["users:write"]}),
        "all of them": ("POST", "/api/roles/service/gatehouse", {"name": new_id(), "permissions": sorted(OWN)}),
        "more for my role": ("PUT", f"/api/roles/{mine['id']}", {"name": mine["name"], "permissions": [*had, "audit:read"]}),
        "a role that is there": ("POST", path_of(me, role=strong), None),
        "the role admin": ("POST", path_of(me, role="admin"), None),
        "the role admin for a friend": ("POST", path_of(server.member()["user"]["id"], role="admin"), None),
        "the role admin from an admin": ("DELETE", path_of(victim, role="admin"), None),
        "the role admin made weak": ("PUT", "/api/roles/admin", {"name": "admin", "permissions": []}),
        "the role admin gone": ("DELETE", "/api/roles/admin", None),
        "a strong role made weak": ("PUT", f"/api/roles/{strong}", {"name": "weak", "permissions": []}),
        "a strong role gone": ("DELETE", f"/api/roles/{strong}", None),
    }
    got = {name: server.request(method, path, body, token=token) for name, (method, path, body) in tries.items()}
    assert {name: (one.status, one.code) for name, one in got.items()} == dict.fromkeys(tries, (403, "forbidden"))
    assert roles.permissions_of(me) == had
    assert roles.permissions_of(victim) == OWN


def test_a_service_can_not_pass_for_the_servers_own(server, root):
    me, token = clerk(server, root, "roles:write", "services:write")
    taken = server.post("/api/roles/services", {"name": "gatehouse"}, token=token)
    service = make(server, token, "/api/roles/services", name=new_id())["id"]
    renamed = server.put(f"/api/roles/services/{service}", {"name": "gatehouse", "is_active": True}, token=token)
    assert (taken.code, renamed.code) == ("name_taken", "name_taken")
    role = make(server, token, f"/api/roles/service/{service}", name="admin", permissions=["services:write"])["id"]
    assert server.post(path_of(me, service, role), token=token).status == 201
    assert roles.permissions_of(me) == {"roles:write", "services:write"}
    for code in (server.delete("/api/roles/services/gatehouse", token=token).code, server.delete("/api/roles/admin", token=token).code):
        assert code in ("last_admin", "forbidden")


def test_a_role_of_one_service_is_not_given_under_another(server, root):
    me, token = clerk(server, root, "roles:write")
    first, second = service_of(server, root), service_of(server, root)
    role = role_of(server, root, service=first)
    for service, one in ((second, role), ("gatehouse", role), (first, "admin"), (second, "admin")):
        for answer in (server.post(path_of(me, service, one), token=token), server.delete(path_of(me, service, one), token=token)):
            assert (answer.status, answer.code) == (404, "not_found")
    assert count(Assignment, Assignment.user_id == me) == 1


def test_a_token_that_calls_itself_admin_opens_nothing(server, root):
    me, token = fresh_admin(server)
    assert claims(token)["roles"] == {"gatehouse": ["admin"]}
    assert server.delete(path_of(me, role="admin"), token=root).status == 204
    assert {server.get("/api/roles/services", token=token).code for _ in range(12)} == {"forbidden"}


def test_a_role_that_is_taken_is_gone_on_every_worker_at_once(server, root):
    me, token = clerk(server, root, "services:read")
    (role,) = server.get(path_of(me), token=token).json["roles"]
    for _ in range(3):
        assert statuses(at_once(12, lambda _: server.get("/api/roles/services", token=token))) == {200: 12}
        assert server.delete(path_of(me, role=role["id"]), token=root).status == 204
        assert statuses(at_once(12, lambda _: server.get("/api/roles/services", token=token))) == {403: 12}
        assert server.post(path_of(me, role=role["id"]), token=root).status == 201


def test_of_others_nothing_is_told_not_even_whether_they_are_there(server, root, email):
    somebody, stranger = account(email), server.member()["access_token"]
    service, role = service_of(server, root), role_of(server, root)
    told = set()
    for user in (somebody, user_of(email).id.upper(), "0" * 32, "admin"):
        for where in (service, "gatehouse", "0" * 32):
            for method, path in (
                ("GET", path_of(user, where)),
                ("POST", path_of(user, where, role)),
                ("DELETE", path_of(user, where, role)),
            ):
                answer = server.request(method, path, token=stranger)
                told.add((answer.status, re.sub(rb'"request_id":"\w+"', b"", answer.body)))
    assert len(told) == 1
    assert {status for status, _ in told} == {403}


# Bursts.


@pytest.mark.parametrize(
    ("path", "field", "table"),
    [
        ("/api/roles/services", "name", Service),
        ("/api/roles/service/gatehouse", "name", Role),
        ("/api/roles/permissions", "permission", KnownPermission),
    ],
)
def test_of_many_who_take_one_name_at_once_one_has_it(server, root, path, field, table):
    name = new_id() if field == "name" else f"{new_id()}:read"
    answers = at_once(20, lambda _: server.post(path, {"name": name}, token=root))
    assert statuses(answers) == {201: 1, 409: 19}
    assert {one.code for one in answers} == {None, "name_taken"}
    assert count(table, table.name == name) == 1


def test_a_role_that_many_give_at_once_is_given_once(server, root, email):
    user, role = account(email), role_of(server, root)
    answers = at_once(20, lambda _: server.post(path_of(user, role=role), token=root))
    assert statuses(answers) == {201: 1, 200: 19}
    assert count(AuditEvent, AuditEvent.user_id == user, AuditEvent.action == "role.granted") == 1
    answers = at_once(20, lambda _: server.delete(path_of(user, role=role), token=root))
    assert statuses(answers) == {204: 1, 404: 19}


def test_what_goes_while_something_is_added_to_it_takes_that_along(server, root, email):
    user = account(email)
    for _ in range(3):
        service = service_of(server, root)
        role = role_of(server, root, service=service)

        def act(number, service=service, role=role):
            if number == 10:
                return server.delete(f"/api/roles/services/{service}", token=root)
            if number % 2:
                return server.post(path_of(user, service, role), token=root)
            return server.post(f"/api/roles/service/{service}", {"name": f"role-{number}"}, token=root)

        assert {one.status for one in at_once(20, act)} <= {200, 201, 204, 404}
        assert (count(Role, Role.service_id == service), count(Assignment, Assignment.role_id == role)) == (0, 0)


# What is sent.


@pytest.mark.parametrize(
    "bad", ["a\0b", "\ud800", "ADMIN", wide("admin"), "admin ", "../admin", "a%00b", "x" * 100_000, "<b>", "\u0131", "a\r\nb", ""]
)
def test_no_name_that_another_reader_could_take_for_another_is_stored(server, root, bad):
    rows = (count(Service), count(Role), count(KnownPermission))
    for path, body in (
        ("/api/roles/services", {"name": bad}),
        ("/api/roles/service/gatehouse", {"name": bad}),
        ("/api/roles/permissions", {"name": bad}),
        ("/api/roles/permissions", {"name": f"users:{bad}"}),
        ("/api/roles/service/gatehouse", {"name": "x", "permissions": [bad]}),
    ):
        answer = server.post(path, body, token=root)
        assert (answer.status, answer.code) in ((400, "validation_failed"), (413, "too_large"))
    assert (count(Service), count(Role), count(KnownPermission)) == rows


@pytest.mark.parametrize("part", ["%00", "a%00b", "%ED%A0%80", "%F0%9F%94%91", "x" * 4000, "' OR 1=1 --", "%27%3B", "9223372036854775808"])
def test_no_id_of_a_path_breaks_anything(server, root, part):
    for method, path in (
        ("PUT", f"/api/roles/services/{part}"),
        ("DELETE", f"/api/roles/services/{part}"),
        ("GET", f"/api/roles/service/{part}"),
        ("DELETE", f"/api/roles/{part}"),
        ("GET", path_of(part)),
        ("GET", path_of(claims(root)["sub"], part)),
        ("POST", path_of(part, role="admin")),
        ("DELETE", path_of(claims(root)["sub"], role=part)),
    ):
        answer = server.request(method, path, {"name": "x", "is_active": True} if method == "PUT" else None, token=root)
        assert (answer.status, answer.code) == (404, "not_found")


def test_ten_thousand_roles_make_no_token_too_long_to_carry(server, root, email):
    service, tokens = service_of(server, root), server.member(email)
    rows = [{"id": new_id(), "service_id": service, "name": f"role-{number}", "permissions": ["jobs:read"]} for number in range(10_000)]
    with transaction() as db:
        db.execute(insert(Role), [{**row, "created_at": clock.now()} for row in rows])
        given = [{"user_id": tokens["user"]["id"], "role_id": row["id"], "assigned_at": clock.now()} for row in rows]
        db.execute(insert(Assignment), given)
        cards.mark(db)
    after = server.login(email).json["access_token"]
    assert "roles" not in claims(after)
    assert len(after) < limits.HEADER_TOKEN_BYTES / 2
    assert server.get("/profile", token=after).status == 200
    assert len(server.get(path_of(tokens["user"]["id"], service), token=after).json["roles"]) == 10_000
    assert server.delete(f"/api/roles/services/{service}", token=root).status == 204
    assert claims(server.login(email).json["access_token"])["roles"] == {}
