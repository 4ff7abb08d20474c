"""One's own data: taken along, deleted with a way back, and restored."""

import base64
import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from domain import accounts, clock, erasure
from domain.database import transaction
from model import Mail, User
from tests.attacks.acts import OTHER, aged, an_admin, count, live_sessions_of, mails_of, user_of
from tests.credentials import make_key
from tests.pictures import form, plain
from tests.visitor import PASSWORD, code_of

DAY_SECONDS = 86400
HTML = {"Accept": "text/html"}
FORM = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}


def delete(house, tokens, **body):
    """Ask for the account to be deleted: the path of the link that calls it off."""
    answer = house.delete("/profile", body or None, token=tokens["access_token"])
    assert (answer.status, answer.json) == (202, {"status": "accepted"})
    path = house.mailbox.last(tokens["user"]["email"]).path
    assert path.startswith("/profile/restore/")
    return path


def export(house, tokens):
    answer = house.get("/profile/export", token=tokens["access_token"])
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return answer.json


def test_the_export_holds_what_is_held_and_no_secret(house, email):
    tokens = house.member(email, username="robin", name="Robin")
    app, codes = house.turn_on_totp(tokens["access_token"])
    house.patch("/profile", **form(plain(), phone="+43 1 234567", metadata='{"theme": "dark"}'), token=tokens["access_token"])
    house.post("/profile/email", {"email": f"new.{email}"}, token=tokens["access_token"])
    key = house.post("/keys/create", {"name": "Backup"}, token=tokens["access_token"]).json["api_key"]
    house.login(email, "a wrong password", headers={"User-Agent": "Stranger/1.0"})
    with transaction() as db:
        db.execute(update(User).where(User.email == email).values(app_metadata={"tier": "gold"}))
    told = export(house, tokens)
    profile = told["profile"]
    assert (profile["username"], profile["phone"], profile["metadata"]) == ("robin", "+43 1 234567", {"theme": "dark"})
    assert (profile["app_metadata"], profile["erase_at"]) == ({"tier": "gold"}, None)
    assert base64.b64decode(told["picture"]["data"]).startswith(b"RIFF")
    assert [one["type"] for one in told["factors"]] == ["totp"]
    assert len(told["recovery_codes"]) == 10
    assert (len(told["sessions"]), len(told["devices"]), told["api_keys"][0]["name"]) == (1, 1, "Backup")
    assert f"new.{email}" in {one["email"] for one in told["links"]}
    assert told["sign_ups"][0]["ip"] == "127.0.0.1"
    assert {"key_created", "confirmation"} <= {one["template"] for one in told["mails"]}
    assert {"account.created", "sign_in", "profile.changed", "account.exported"} <= {one["action"] for one in told["events"]}
    assert "Stranger/1.0" in {one["user_agent"] for one in told["events"]}
    said = json.dumps(told)
    secrets = [tokens["access_token"], tokens["refresh_token"], tokens["device_token"], app.secret, key, *codes, "$2b$", "gAAAA"]
    assert [one for one in secrets if one in said] == []


def test_the_export_does_not_tell_whether_somebody_has_an_address_nor_from_where_an_administrator_acts(house, email):
    house.join(f"taken.{email}")
    tokens, admin = house.member(email), an_admin(house)
    told = {}
    for state in ("free", "taken"):
        house.post("/profile/email", {"email": f"{state}.{email}"}, token=tokens["access_token"])
        sections = export(house, tokens)
        told[state] = [[one.get("purpose"), one.get("template"), one.get("state")] for one in sections["links"][-1:] + sections["mails"]]
    assert told["free"] == told["taken"]
    house.patch(
        f"/api/admin/users/{tokens['user']['id']}", {"name": "R."}, token=admin["access_token"], headers={"User-Agent": "Admin/1.0"}
    )
    assert "Admin/1.0" not in json.dumps(export(house, tokens))


def test_deletion_ends_everything_and_nobody_signs_in_by_any_way(house, email):
    tokens = house.member(email, username="robin")
    key = make_key(house, tokens)["api_key"]
    waiting = house.post("/send-otp", {"email": email}).json["otp_token"]
    code = house.mailbox.last(email).code
    house.post("/forgot-password", {"email": email})
    reset = house.mailbox.last(email).path
    delete(house, tokens)
    assert live_sessions_of(email) == 0
    assert house.get("/profile", token=tokens["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert house.get("/profile", headers={"X-API-Key": key}).code == "token_revoked"
    assert house.post(reset, {"password": OTHER}).code == "link_invalid"
    assert house.post("/verify-otp", {"otp_token": waiting, "code": code}).code == "mfa_invalid_code"
    known = {"X-Device-Token": tokens["device_token"]}
    assert [house.login(email, headers=more).code for more in ({}, known)] == ["account_disabled"] * 2
    assert house.post("/login", {"username": "robin", "password": PASSWORD}).code == "account_disabled"
    assert house.login(email, OTHER).code == "invalid_credentials"
    before = mails_of(email, "queued", "sent")
    house.post("/forgot-password", {"email": email})
    house.post("/send-otp", {"email": email})
    assert mails_of(email, "queued", "sent") == before
    house.sign_up(email, OTHER)
    assert "http" not in house.mailbox.last(email).text
    assert (user_of(email).status, count(User, User.email == email)) == ("inactive", 1)


def test_the_link_calls_it_off_once_and_what_was_ended_stays_so(house, email, moved_clock):
    tokens = house.member(email)
    path = delete(house, tokens)
    moved_clock(7 * DAY_SECONDS - 60)
    assert erasure.run() == 0
    assert house.get(path, headers=HTML).status == 200
    assert house.login(email).code == "account_disabled"
    assert house.post(path).json == {"status": "account_restored"}
    assert (user_of(email).status, user_of(email).erase_at) == ("active", None)
    assert house.login(email).status == 200
    assert house.post(path).code == "token_used"
    moved_clock(0)
    assert house.get("/profile", token=tokens["access_token"]).code == "token_revoked"
    moved_clock(8 * DAY_SECONDS)
    assert erasure.run() == 0
    assert house.login(email).status == 200


def test_in_time_it_is_erased_and_the_address_is_free_for_somebody_new(house, email, moved_clock):
    tokens = house.member(email, username="robin")
    path = delete(house, tokens)
    moved_clock(7 * DAY_SECONDS + 1)
    assert house.post(path).code == "link_invalid"
    assert erasure.run(dry_run=True) == 1
    assert erasure.run() == 1
    assert house.login(email).code == "invalid_credentials"
    assert house.post(path).code == "link_invalid"
    again = house.member(email, OTHER, username="robin")
    assert again["user"]["id"] != tokens["user"]["id"]
    assert tokens["user"]["id"] not in json.dumps(export(house, again))


@pytest.mark.settings(ACCOUNT_DELETION_DAYS=0)
def test_without_a_delay_the_next_run_erases(house, email):
    tokens = house.member(email)
    assert house.delete("/profile", token=tokens["access_token"]).status == 202
    assert "http" not in house.mailbox.last(email).text
    assert erasure.run() == 1
    assert count(User, User.email == email) == 0


def test_it_asks_for_a_recent_sign_in_or_the_password(house, email):
    tokens = house.member(email)
    old = aged(tokens["access_token"])
    assert house.get("/profile/export", token=old).code == "reauthentication_required"
    assert house.delete("/profile", token=old).code == "reauthentication_required"
    assert house.delete("/profile", {"current_password": OTHER}, token=old).code == "invalid_credentials"
    assert house.delete("/profile", {"current_password": PASSWORD}, token=old).status == 202


def test_with_a_factor_the_password_is_not_enough(house, email):
    tokens = house.member(email)
    app, _ = house.turn_on_totp(tokens["access_token"])
    old = aged(tokens["access_token"])
    refused = house.delete("/profile", {"current_password": PASSWORD}, token=old)
    assert (refused.code, refused.json["methods"]) == ("reauthentication_required", ["totp", "recovery_code"])
    fresh = house.post("/reauthenticate", {"method": "totp", "code": code_of(app)}, token=tokens["access_token"]).json
    delete(house, fresh)


def test_the_last_administrator_stays(house):
    admin = an_admin(house)
    assert house.delete("/profile", token=admin["access_token"]).code == "last_admin"
    an_admin(house)
    delete(house, admin)


def test_an_administrator_sees_it_calls_it_off_or_takes_the_way_back_away(house, email):
    admin = an_admin(house)["access_token"]
    tokens = house.member(email)
    at = f"/api/admin/users/{tokens['user']['id']}"
    path = delete(house, tokens)
    shown = house.get(at, token=admin).json
    assert (shown["status"], shown["erase_at"] is not None) == ("inactive", True)
    assert house.patch(at, {"status": "active"}, token=admin).json["erase_at"] is None
    assert house.post(path).code == "link_invalid"
    path = delete(house, house.login(email).json)
    assert house.patch(at, {"status": "inactive"}, token=admin).json["erase_at"] is not None
    assert house.post(path).code == "link_invalid"
    assert house.login(email).code == "account_disabled"


def test_an_account_that_is_being_erased_is_not_made_active(house, email, moved_clock):
    admin = an_admin(house)
    tokens = house.member(email)
    delete(house, tokens)
    moved_clock(7 * DAY_SECONDS)
    assert accounts.get(tokens["user"]["id"]).erase_at <= clock.now() + timedelta(seconds=1)
    fresh = house.login(admin["user"]["email"]).json["access_token"]
    moved_clock(7 * DAY_SECONDS + 2)
    answer = house.patch(f"/api/admin/users/{tokens['user']['id']}", {"status": "active"}, token=fresh)
    assert (answer.status, answer.code) == (404, "not_found")


def test_no_link_brings_back_whom_an_administrator_has_deleted_though_the_erasure_is_still_to_come(house, email, monkeypatch):
    tokens = house.member(email)
    house.post("/keys/create", {}, token=tokens["access_token"])
    notice = house.mailbox.last(email).path
    house.delete("/profile", token=tokens["access_token"])
    back, admin = house.mailbox.last(email).path, an_admin(house)["access_token"]
    monkeypatch.setattr(erasure, "erase", lambda _: False)  # As if the process had died right after its answer.
    assert house.delete(f"/api/admin/users/{user_of(email).id}", token=admin).status == 204
    assert [house.post(path).code for path in (notice, back)] == ["link_invalid"] * 2
    assert user_of(email).status == "inactive"


@pytest.mark.parametrize("way", ["undo", "not_me"])
def test_a_thief_who_deletes_the_account_is_stopped_by_the_owners_remedies(house, email, way):
    tokens, thief = house.member(email), f"thief.{email}"
    house.post("/keys/create", {}, token=tokens["access_token"])
    notice = house.mailbox.last(email).path
    house.post("/profile/email", {"email": thief}, token=tokens["access_token"])
    house.post(house.mailbox.last(thief).path)
    undo = house.mailbox.last(email).path
    house.delete("/profile", token=tokens["access_token"])
    back = house.mailbox.last(thief).path
    assert house.post({"undo": undo, "not_me": notice}[way]).status == 200
    assert (user_of(email).status, user_of(email).erase_at) == ("active", None)
    assert house.post(back).code == "link_invalid"
    house.post(house.mailbox.last(email).path, {"password": OTHER})
    assert house.login(email, OTHER).status == 200


def test_its_pages_say_what_happens_and_what_has_happened(house, email):
    path = delete(house, house.member(email))
    assert len({house.get(one, headers=HTML).text for one in (path, "/profile/restore/something")}) == 1
    assert "Your account stays" in house.post(path, headers=FORM).text
    assert "token_used" in house.post(path, headers=FORM).text
    assert count(Mail, Mail.template == "account_deletion") == 1
