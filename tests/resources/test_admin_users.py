"""Users as administrators see and change them."""

import pytest
from sqlalchemy import select

from domain import accounts, clock
from domain.database import reading
from model import AuditEvent, Session, User
from tests.attacks.acts import aged, an_admin, count, live_sessions_of, staff, user_of
from tests.pictures import form, plain, stored
from tests.visitor import PASSWORD

USERS = "/api/admin/users"
USER = {"id", "email", "email_confirmed", "username", "name", "picture_url", "mfa_enabled", "status", "created_at", "last_login_at"}


@pytest.fixture
def admin(house):
    return an_admin(house)


@pytest.fixture
def token(admin):
    return admin["access_token"]


def at(user_id, act=""):
    return f"{USERS}/{user_id}{act}"


def told(user_id):
    """What the trail tells about a user, the oldest first: action and actor."""
    with reading() as db:
        rows = db.scalars(select(AuditEvent).where(AuditEvent.user_id == user_id).order_by(AuditEvent.at)).all()
    return [(one.action, one.actor) for one in rows]


def invite(house, token, email, **more):
    answer = house.post(USERS, {"email": email, **more}, token=token)
    assert answer.status == 201, answer.body
    return answer.json


def test_the_users_are_listed_newest_first_in_parts(house, token):
    made = [house.member()["user"]["id"] for _ in range(3)]
    found, cursor = [], ""
    while cursor is not None:
        part = house.get(f"{USERS}?limit=1{cursor and f'&cursor={cursor}'}", token=token).json
        found += [one["id"] for one in part["users"]]
        cursor = part["next_cursor"]
    assert found[:3] == made[::-1]
    assert len(found) == 4


def test_a_user_is_found_by_the_address_in_any_spelling_and_by_status(house, token, email):
    house.join(email)
    house.join(f"2.{email}")
    accounts.deactivate(email)

    def asked(query):
        return [one["email"] for one in house.get(f"{USERS}?{query}", token=token).json["users"]]

    assert asked(f"email={email.replace('example', 'EXAMPLE')}") == [email]
    assert asked("status=inactive") == [email]
    assert asked(f"status=active&email={email}") == []
    assert asked("email=nobody@example.com") == []
    for query in ("email=user", "email=%25", "status=deleted", "limit=0", "cursor=x"):
        answer = house.get(f"{USERS}?{query}", token=token)
        assert (answer.status, [one["field"] for one in answer.json["errors"]]) == (400, [query.split("=")[0]])


def test_a_user_is_shown_with_what_administrators_note_and_nothing_secret(house, token, email):
    member = house.member(email)
    shown = house.get(at(member["user"]["id"]), token=token)
    assert set(shown.json) == USER | {"invited_at", "app_metadata", "erase_at"}
    assert shown.headers["Cache-Control"] == "no-store"
    assert {name: shown.json[name] for name in USER} == member["user"]
    assert house.get(at("0" * 32), token=token).code == "not_found"


def test_an_invited_user_sets_a_password_by_the_mailed_link_and_signs_in(house, token, email):
    invited = invite(house, token, email, name="Ann")
    assert (invited["email"], invited["name"], invited["email_confirmed"], invited["status"]) == (email, "Ann", False, "active")
    letter = house.mailbox.last(email)
    assert letter.subject == "You are invited"
    assert "/reset-password/" in letter.link
    assert "within 24 hours" in letter.text
    assert "127.0.0.1" not in letter.text.replace(letter.link, ""), "where the administrator sits is told to nobody"
    assert house.login(email).code == "invalid_credentials"
    assert house.post(letter.path, {"password": PASSWORD}).status == 200
    signed_in = house.login(email).json
    assert signed_in["user"]["email_confirmed"] is True
    assert house.get(at(invited["id"]), token=token).json["invited_at"] is None
    actions = [action for action, _ in told(invited["id"])]
    assert actions == ["account.invited", "sign_in", "account.confirmed", "password.reset", "sign_in"]


def test_an_invitation_lasts_as_long_as_a_confirmation(house, token, email, moved_clock):
    invite(house, token, email)
    link = house.mailbox.last(email).path
    moved_clock(86400 - 5)
    assert house.post(link, {"password": "short"}).code == "weak_password"
    moved_clock(86400 + 1)
    assert house.post(link, {"password": PASSWORD}).code == "link_invalid"
    assert house.post(at(user_of(email).id, "/reset-password"), token=token).code == "token_expired"


def test_a_mailed_code_opens_an_invited_account(house, token, email):
    invited = invite(house, token, email)
    asked = house.post("/send-otp", {"email": email}).json
    answer = house.post("/verify-otp", {"otp_token": asked["otp_token"], "code": house.mailbox.last(email).code})
    assert answer.json["user"]["email_confirmed"] is True
    assert ("account.confirmed", invited["id"]) in told(invited["id"])


def test_an_invitation_is_sent_anew_and_the_earlier_one_ends(house, token, email):
    invited = invite(house, token, email)
    first = house.mailbox.last(email)
    assert house.post(at(invited["id"], "/reset-password"), token=token).json == {"status": "accepted"}
    second = house.mailbox.last(email)
    assert [one.subject for one in (first, second)] == ["You are invited"] * 2
    assert house.post(first.path, {"password": PASSWORD}).code == "link_invalid"
    assert house.post(second.path, {"password": PASSWORD}).status == 200


def test_an_address_with_an_account_is_not_invited(house, token, email):
    house.join(email)
    answer = house.post(USERS, {"email": email}, token=token)
    assert (answer.status, answer.code) == (409, "email_taken")
    invite(house, token, f"2.{email}")
    assert house.post(USERS, {"email": f"2.{email}"}, token=token).code == "email_taken"


def test_name_and_metadata_are_changed_and_only_administrators_see_the_metadata(house, admin, token, email):
    member = house.member(email)
    answer = house.patch(at(member["user"]["id"]), {"name": "Ann", "app_metadata": {"plan": "gold"}}, token=token)
    assert (answer.status, answer.json["name"], answer.json["app_metadata"]) == (200, "Ann", {"plan": "gold"})
    assert house.patch(at(member["user"]["id"]), {"app_metadata": {}}, token=token).json["app_metadata"] == {}
    assert house.patch(at(member["user"]["id"]), {}, token=token).json["name"] == "Ann"
    assert "app_metadata" not in house.get("/profile", token=member["access_token"]).json
    assert told(member["user"]["id"])[-1] == ("account.changed", admin["user"]["id"])


@pytest.mark.parametrize(
    "body",
    [
        {"status": "deleted"},
        {"status": None},
        {"name": None},
        {"name": ""},
        {"app_metadata": None},
        {"app_metadata": []},
        {"app_metadata": {"x": "y" * 20_000}},
        {"password": PASSWORD},
        {"password_hash": "x"},
        {"email": "x@example.com"},
        {"invited_at": None},
        {"mfa_enabled": False},
    ],
    ids=str,
)
def test_what_an_administrator_can_not_change_is_refused(house, token, email, body):
    before = house.member(email)["user"]
    answer = house.patch(at(before["id"]), body, token=token)
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert {name: value for name, value in house.get(at(before["id"]), token=token).json.items() if name in USER} == before


def test_who_is_made_inactive_is_out_and_active_again_may_sign_in(house, admin, token, email):
    member = house.member(email)
    user_id = member["user"]["id"]
    house.post("/forgot-password", {"email": email})
    link = house.mailbox.last(email).path
    for _ in range(2):
        assert house.patch(at(user_id), {"status": "inactive"}, token=token).json["status"] == "inactive"
    assert house.get("/profile", token=member["access_token"]).code == "token_revoked"
    assert house.login(email).code == "account_disabled"
    assert house.patch(at(user_id), {"status": "active"}, token=token).json["status"] == "active"
    assert house.get("/profile", token=member["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=member["refresh_token"]).code == "token_revoked"
    assert house.post(link, {"password": PASSWORD}).code == "link_invalid"
    assert house.login(email).status == 200
    assert [one for one in told(user_id) if one[0].endswith("activated")] == [
        ("account.deactivated", admin["user"]["id"]),
        ("account.activated", admin["user"]["id"]),
    ]


def test_a_deleted_user_is_gone_with_all_that_hung_on_them(house, admin, token, email):
    member = house.member(email)
    assert house.patch("/profile", **form(plain()), token=member["access_token"]).status == 200
    house.turn_on_totp(member["access_token"])
    assert len(stored(member["user"]["id"])) == 1
    assert house.delete(at(member["user"]["id"]), token=token).status == 204
    assert house.get("/profile", token=member["access_token"]).code == "token_revoked"
    assert house.login(email).code == "invalid_credentials"
    assert (stored(member["user"]["id"]), count(User, User.email == email)) == ([], 0)
    assert count(Session, Session.user_id == member["user"]["id"]) == 0
    assert told(member["user"]["id"])[-2:] == [("account.removed", admin["user"]["id"]), ("account.erased", "system")]
    assert house.delete(at(member["user"]["id"]), token=token).code == "not_found"
    house.join(email)
    assert house.login(email).status == 200


def test_an_administrator_unlocks(house, token, email):
    user_id = house.member(email)["user"]["id"]
    for _ in range(6):
        house.login(email, "a wrong password")
    assert house.login(email).code == "too_many_attempts"
    assert house.post(at(user_id, "/unlock"), token=token).json == {"status": "unlocked"}
    assert house.login(email).status == 200


def test_an_administrator_has_a_password_set_anew_and_knows_none(house, token, email):
    member = house.member(email)
    waiting = house.post("/send-otp", {"email": email}).json["otp_token"]
    code = house.mailbox.last(email).code
    answer = house.post(at(member["user"]["id"], "/reset-password"), token=token)
    assert (answer.status, answer.json) == (202, {"status": "accepted"})
    assert house.get("/profile", token=member["access_token"]).code == "token_revoked"
    assert house.post("/verify-otp", {"otp_token": waiting, "code": code}).code == "mfa_invalid_code"
    letter = house.mailbox.last(email)
    assert letter.subject == "Please set a new password"
    assert house.post(letter.path, {"password": "another long password"}).status == 200
    assert house.login(email, "another long password").status == 200
    assert house.post(at(member["user"]["id"], "/reset-password"), {"password": PASSWORD}, token=token).code == "validation_failed"


def test_an_administrator_ends_sessions_and_says_how_many(house, token, email):
    member = house.member(email)
    house.login(email)
    assert house.delete(at(member["user"]["id"], "/sessions"), token=token).json == {"revoked": 2}
    assert live_sessions_of(email) == 0
    assert house.delete(at(member["user"]["id"], "/sessions"), token=token).json == {"revoked": 0}


def test_an_administrator_turns_off_lost_factors_and_the_owner_is_told(house, admin, token, email):
    member = house.member(email)
    house.turn_on_totp(member["access_token"])
    assert house.delete(at(member["user"]["id"], "/mfa"), token=token).status == 204
    assert house.login(email).json["status"] == "signed_in"
    assert "factors" in house.mailbox.subjects(email)[-1]
    assert house.delete(at(admin["user"]["id"], "/mfa"), token=token).code == "forbidden"


def test_every_change_asks_for_a_recent_sign_in_or_the_password(house, token, email):
    member = house.member(email)
    old, path = aged(token), at(member["user"]["id"])
    changes = [("POST", USERS), ("PATCH", path), *(("POST", path + act) for act in ("/unlock", "/reset-password"))]
    changes += [("DELETE", path), *(("DELETE", path + act) for act in ("/sessions", "/mfa"))]
    assert {house.request(method, where, token=old).code for method, where in changes} == {"reauthentication_required"}
    assert house.get(path, token=old).status == 200
    assert house.patch(path, {"name": "Ann", "current_password": "wrong"}, token=old).code == "invalid_credentials"
    assert house.patch(path, {"name": "Ann", "current_password": PASSWORD}, token=old).json["name"] == "Ann"


def test_nobody_touches_who_may_what_they_may_not(house, admin, token):
    helpdesk = staff(house, "users:read", "users:write")["access_token"]
    auditor, member = staff(house, "audit:read"), house.member()
    for target, status in ((admin, 403), (auditor, 403), (member, 200)):
        assert house.patch(at(target["user"]["id"]), {"name": "Ann"}, token=helpdesk).status == status
    for act, method in (("", "DELETE"), ("/sessions", "DELETE"), ("/mfa", "DELETE"), ("/unlock", "POST"), ("/reset-password", "POST")):
        assert house.request(method, at(auditor["user"]["id"], act), token=helpdesk).code == "forbidden"
    assert house.get(at(admin["user"]["id"]), token=helpdesk).status == 200
    assert house.patch(at(admin["user"]["id"]), {"name": "Ann"}, token=staff(house, "users:read")["access_token"]).code == "forbidden"


def test_the_last_administrator_stays(house, admin, token):
    mine = at(admin["user"]["id"])
    for answer in (house.patch(mine, {"status": "inactive"}, token=token), house.delete(mine, token=token)):
        assert (answer.status, answer.code) == (409, "last_admin")
    other = an_admin(house)
    assert house.patch(mine, {"status": "inactive", "name": "x"}, token=token).status == 200
    assert house.delete(at(other["user"]["id"]), token=other["access_token"]).code == "last_admin"
    assert house.patch(mine, {"status": "active"}, token=other["access_token"]).status == 200
    assert house.delete(at(other["user"]["id"]), token=other["access_token"]).status == 204


def test_an_administrator_whose_invitation_waits_is_no_other_one(house, admin, token, email):
    accounts.create(email, admin=True)
    with_invitation = user_of(email)
    with accounts.transaction() as db:
        db.get_one(User, with_invitation.id).invited_at = clock.now()
    assert house.delete(at(admin["user"]["id"]), token=token).code == "last_admin"
    assert house.delete(at(with_invitation.id), token=token).status == 204


@pytest.mark.settings(SIGN_UP="closed")
def test_where_sign_up_is_closed_administrators_invite_nobody(house, token, email):
    answer = house.post(USERS, {"email": email}, token=token)
    assert (answer.status, answer.code) == (403, "sign_up_closed")
    assert count(User, User.email == email) == 0
