"""Threats 1, 6, 14, 20, 34, 35 and 37 where administrators change accounts, against the real server."""

from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from domain import accounts, administration, roles, sign_up
from domain.caller import Caller, Client
from domain.database import new_id, reading, transaction
from domain.errors import LastAdmin
from model import Assignment, User
from tests.attacks.acts import OTHER, an_admin, count, live_sessions_of, staff, statuses, user_of
from tests.attacks.test_audit import FORGED
from tests.provider import Provider, sign_in
from tests.serving import at_once
from tests.visitor import PASSWORD

USERS = "/api/admin/users"
SETTINGS: dict[str, object] = {"MAX_SESSIONS_PER_USER": 100}
SHOWN = {"id", "email", "email_confirmed", "username", "name", "picture_url", "mfa_enabled", "status", "created_at", "last_login_at"}
SHOWN |= {"invited_at", "app_metadata", "erase_at"}
QUERIES = [
    "sort=password_hash",
    "order_by=password_hash",
    "password_hash=x",
    "filter=password_hash%20LIKE%20%27v2%25%27",
    "fields=password_hash",
    "include=password_hash",
    "email[]=x",
    "where=1%3D1",
    "offset=-1",
    "name=x",
]


@pytest.fixture(scope="module", autouse=True)
def provider():
    """Google, for the server of this module, which is started after it."""
    with Provider() as running:
        SETTINGS.update(running.settings)
        yield running


@pytest.fixture
def admin(server):
    return an_admin(server)


def at(user_id, act=""):
    return f"{USERS}/{user_id}{act}"


def invite(server, admin, email):
    answer = server.post(USERS, {"email": email}, token=admin["access_token"])
    assert answer.status == 201, answer.body
    return answer.json["id"]


def by_the_link(server, _provider, email):
    link = next(one for one in server.mailbox.of(email) if one.subject == "You are invited")
    assert server.post(link.path, {"password": PASSWORD}).status == 200


def by_a_code(server, _provider, email):
    asked = server.post("/send-otp", {"email": email}).json["otp_token"]
    code = next(one for one in server.mailbox.of(email)[::-1] if "code" in one.subject).code
    assert server.post("/verify-otp", {"otp_token": asked, "code": code}).json["user"]["email_confirmed"] is True


def by_a_provider(server, provider, email):
    provider.says = {"sub": new_id(), "email": email}
    assert sign_in(server, provider).json["user"]["email_confirmed"] is True


@pytest.mark.parametrize("way", [by_the_link, by_a_code, by_a_provider])
def test_who_signs_up_with_an_address_that_is_invited_gains_nothing(server, provider, admin, email, way):
    server.sign_up(email, OTHER, username=f"u{email[5:13]}", name="Eve")
    before = server.mailbox.last(email)
    waiting = server.post("/send-otp", {"email": email}).json["otp_token"]
    invite(server, admin, email)
    server.sign_up(email, OTHER)
    assert server.login(email, OTHER).code == "invalid_credentials"
    assert server.post(before.path).code == "link_invalid"
    assert server.post("/confirm", {"email": email, "code": before.code}).code == "mfa_invalid_code"
    assert user_of(email).invited_at is not None
    way(server, provider, email)
    assert server.post(before.path).code == "link_invalid"
    assert server.post("/confirm", {"email": email, "code": before.code}).code == "mfa_invalid_code"
    assert server.post("/verify-otp", {"otp_token": waiting, "code": "000000"}).code == "mfa_invalid_code"
    assert server.login(email, OTHER).code == "invalid_credentials"
    user = user_of(email)
    assert (user.invited_at, user.username, user.name) == (None, None, None)
    with reading() as db:
        assert sign_up.newest(db, email) is None


def test_an_invitation_that_is_followed_by_many_at_once_sets_one_password(server, admin, email):
    invite(server, admin, email)
    link = server.mailbox.last(email).path
    answers = at_once(20, lambda number: server.post(link, {"password": f"a long password, number {number}"}))
    assert statuses(answers) == {200: 1, 400: 19}
    assert {one.code for one in answers if one.status == 400} == {"token_used"}
    winner = next(number for number, one in enumerate(answers) if one.status == 200)
    assert [server.login(email, f"a long password, number {number}").status for number in (winner, (winner + 1) % 20)] == [200, 401]


def test_one_address_is_invited_once_by_many_at_once(server, admin, email):
    answers = at_once(20, lambda _: server.post(USERS, {"email": email}, token=admin["access_token"]))
    assert statuses(answers) == {201: 1, 409: 19}
    assert [one.subject for one in server.mailbox.of(email)] == ["You are invited"]


def deactivated(server, admin, user_id, _email):
    for status in ("inactive", "active"):
        assert server.patch(at(user_id), {"status": status}, token=admin["access_token"]).status == 200


def removed(server, admin, user_id, _email):
    assert server.delete(at(user_id), token=admin["access_token"]).status == 204


def invited_anew(server, admin, user_id, _email):
    assert server.post(at(user_id, "/reset-password"), token=admin["access_token"]).status == 202


def moved(server, _admin, _user_id, email):
    asked = server.post("/send-otp", {"email": email}).json["otp_token"]
    tokens = server.post("/verify-otp", {"otp_token": asked, "code": server.mailbox.last(email).code}).json
    assert server.post("/profile/email", {"email": f"2.{email}"}, token=tokens["access_token"]).status == 202
    link = server.mailbox.last(f"2.{email}").text.split("/profile/email/confirm/")[1].split()[0]
    assert server.post(f"/profile/email/confirm/{link}").status == 200


@pytest.mark.parametrize("end", [deactivated, removed, invited_anew, moved])
def test_an_invitation_ends_with_what_it_was_for(server, admin, email, end):
    user_id = invite(server, admin, email)
    link = server.mailbox.last(email).path
    end(server, admin, user_id, email)
    assert server.post(link, {"password": PASSWORD}).code == "link_invalid"
    assert server.login(email).code == "invalid_credentials"
    assert count(User, User.email == email, User.password_hash.is_not(None)) == 0


def test_a_removed_users_tokens_and_links_are_dead_on_every_worker_at_once(server, admin, email):
    tokens = server.member(email)
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    assert {one.status for one in at_once(9, lambda _: server.get("/profile", token=tokens["access_token"]))} == {200}
    removed(server, admin, tokens["user"]["id"], email)
    for act in (
        lambda _: server.get("/profile", token=tokens["access_token"]),
        lambda _: server.post("/refresh", token=tokens["refresh_token"]),
    ):
        assert {one.code for one in at_once(9, act)} == {"token_revoked"}
    assert server.post(link, {"password": PASSWORD}).code == "link_invalid"
    assert count(User, User.email == email) == 0


@pytest.mark.parametrize("act", ["remove", "deactivate"])
def test_no_sign_in_outruns_an_administrator(server, admin, email, act):
    server.join(email)
    user_id, token = user_of(email).id, admin["access_token"]

    def one(number):
        if number != 9:
            return server.login(email)
        return (
            server.delete(at(user_id), token=token) if act == "remove" else server.patch(at(user_id), {"status": "inactive"}, token=token)
        )

    answers = at_once(20, one)
    assert answers[9].status in (200, 204)
    granted = [answer.json["access_token"] for number, answer in enumerate(answers) if number != 9 and answer.status == 200]
    assert {server.get("/profile", token=one).code for one in granted} <= {"token_revoked"}
    assert {answer.code for answer in answers} <= {None, "account_disabled", "invalid_credentials", "too_many_attempts"}
    assert act == "remove" or live_sessions_of(email) == 0


def test_two_administrators_who_shut_each_other_out_leave_one(server):
    for kind in ("inactive", "removed"):
        with transaction() as db:
            others = select(Assignment.user_id).where(Assignment.role_id == roles.ADMIN)
            db.execute(update(User).where(User.id.in_(others)).values(status="inactive"))
        pair = [an_admin(server), an_admin(server)]

        def one(number, kind=kind, pair=pair):
            mine, target = pair[number % 2]["access_token"], at(pair[1 - number % 2]["user"]["id"])
            return server.patch(target, {"status": "inactive"}, token=mine) if kind == "inactive" else server.delete(target, token=mine)

        answers = at_once(20, one)
        left = count(User, User.id.in_([each["user"]["id"] for each in pair]), User.status == "active")
        assert left == 1, statuses(answers)
        assert {answer.code for answer in answers} <= {None, "last_admin", "token_revoked", "not_found", "forbidden"}
        assert statuses(answers)[500] == statuses(answers)[503] == 0


def test_the_operator_and_an_administrator_at_once_leave_one(server):
    with transaction() as db:
        others = select(Assignment.user_id).where(Assignment.role_id == roles.ADMIN)
        db.execute(update(User).where(User.id.in_(others)).values(status="inactive"))
    pair = [an_admin(server), an_admin(server)]

    def one(number):
        try:
            if number % 2:
                return accounts.deactivate(pair[0]["user"]["email"])
            caller = Caller(pair[0]["user"]["id"], pair[0]["session_id"], 1, 0, (), Client())
            return administration.change(caller, pair[1]["user"]["id"], {"status": "inactive"})
        except LastAdmin as refusal:
            return refusal

    at_once(8, one)
    assert count(User, User.id.in_([each["user"]["id"] for each in pair]), User.status == "active") == 1


def test_who_helps_at_the_desk_touches_no_administrator(server, admin):
    desk = staff(server, "users:read", "users:write")["access_token"]
    target, before = at(admin["user"]["id"]), user_of(admin["user"]["email"])
    changes = [("PATCH", "", {"status": "inactive"}), ("DELETE", "", None), ("POST", "/unlock", None), ("POST", "/reset-password", None)]
    changes += [("DELETE", "/sessions", None), ("DELETE", "/mfa", None), ("PATCH", "", {"app_metadata": {"x": 1}})]
    for method, act, body in changes:
        assert server.request(method, target + act, body, token=desk).code == "forbidden", act
    assert server.get("/profile", token=admin["access_token"]).status == 200
    after = user_of(admin["user"]["email"])
    assert (after.status, after.app_metadata, after.password_hash) == (before.status, None, before.password_hash)


@pytest.mark.parametrize("column", [column.key for column in User.__table__.columns])
def test_no_column_is_set_that_is_not_named_in_the_contract(server, admin, email, column):
    user_id = invite(server, admin, email)
    token = admin["access_token"]
    if column not in ("email", "name"):
        assert server.post(USERS, {"email": f"2.{email}", column: "x"}, token=token).code == "validation_failed"
    if column != "name":
        assert server.patch(at(user_id), {column: "x"}, token=token).code == "validation_failed"
    assert count(User, User.email == f"2.{email}") == 0


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_reaches_a_secret_column(server, admin, query):
    plain = server.get(USERS, token=admin["access_token"])
    answer = server.get(f"{USERS}?{query}", token=admin["access_token"])
    assert [one["id"] for one in answer.json["users"]] == [one["id"] for one in plain.json["users"]]
    assert {frozenset(one) for one in answer.json["users"]} == {frozenset(SHOWN)}
    assert "$2b$" not in answer.text


@pytest.mark.parametrize("cursor", FORGED)
def test_a_cursor_that_we_have_not_given_is_refused_or_only_a_place(server, admin, cursor):
    answer = server.get(f"{USERS}?cursor={quote(cursor, safe='%')}", token=admin["access_token"])
    assert answer.status in (200, 400, 431, 414), answer.body
    if answer.status == 400:
        assert (answer.code, [one["field"] for one in answer.json["errors"]]) == ("validation_failed", ["cursor"])
