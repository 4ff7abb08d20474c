"""Sign in, sign out, who is it, and step-up, as a client sees them."""

import pytest
from sqlalchemy import create_engine

from domain import accounts, database
from tests.visitor import PASSWORD, code_of


def test_a_login_gives_what_the_contract_names(house, email):
    house.join(email, username="pat", name="Pat")
    answer = house.login(email)
    assert set(answer.json) == {
        "status", "access_token", "refresh_token", "token_type", "expires_in", "session_id", "device_token", "user", "mfa_setup_by",
    }  # fmt: skip
    assert (answer.json["status"], answer.json["token_type"], answer.json["expires_in"]) == ("signed_in", "Bearer", 1800)
    assert answer.json["user"]["name"] == "Pat"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_logout_ends_every_token_of_the_session(house):
    tokens = house.member()
    assert house.post("/logout", token=tokens["access_token"]).json == {"status": "signed_out"}
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert house.get("/auth/status", token=tokens["access_token"]).json == {"authenticated": False}


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/logout"), ("POST", "/auth/logout"), ("GET", "/auth/logout")])
def test_either_token_signs_out(house, kind, method, path):
    tokens = house.member()
    assert house.request(method, path, token=tokens[kind]).status == 200
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"


def test_signing_out_ends_this_session_only(house, email):
    first = house.member(email)
    second = house.login(email).json
    house.post("/logout", token=first["access_token"])
    assert house.get("/mfa", token=second["access_token"]).status == 200


def test_a_logout_while_the_database_is_away_is_refused_and_ends_nothing(house, monkeypatch, tmp_path):
    tokens = house.member()
    with monkeypatch.context() as patch:
        patch.setattr(database, "engine", create_engine(f"sqlite:///{tmp_path}/nowhere/gatehouse.db"))
        refused = house.post("/logout", token=tokens["access_token"])
    assert (refused.status, refused.code) == (503, "unavailable")
    assert house.get("/mfa", token=tokens["access_token"]).status == 200
    assert house.post("/logout", token=tokens["access_token"]).json == {"status": "signed_out"}


def test_status_tells_who_is_signed_in_and_never_refuses(house, email):
    tokens = house.member(email)
    assert house.get("/auth/status", token=tokens["access_token"]).json["user"]["email"] == email
    for token in (None, "rubbish", tokens["refresh_token"]):
        assert house.get("/auth/status", token=token).json == {"authenticated": False}


@pytest.mark.parametrize("body", [{}, {"email": "x@example.com"}, {"email": "no address", "password": "x"}, {"email": 7, "password": "x"}])
def test_a_malformed_login_is_told_its_faults(house, body):
    answer = house.post("/login", body)
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert answer.json["errors"]


def test_a_disabled_account_is_told_so_only_after_the_right_password(house, email):
    tokens = house.member(email)
    accounts.deactivate(email)
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert house.login(email, "wrong password").code == "invalid_credentials"
    assert house.login(email).code == "account_disabled"
    accounts.activate(email)
    assert house.login(email).status == 200
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"


@pytest.mark.settings(MAX_SESSIONS_PER_USER=2)
def test_over_the_most_sessions_the_oldest_goes(house, email):
    first = house.member(email)
    others = [house.login(email).json for _ in range(2)]
    assert house.get("/mfa", token=first["access_token"]).code == "token_revoked"
    assert [house.get("/mfa", token=one["access_token"]).status for one in others] == [200, 200]


def test_a_device_token_comes_back_as_the_same_device(house, email):
    tokens = house.member(email)
    again = house.login(email, headers={"X-Device-Token": tokens["device_token"]}).json
    assert again["device_token"] == tokens["device_token"]
    assert house.login(email).json["device_token"] != tokens["device_token"]


def test_step_up_by_password_renews_the_sign_in_and_ends_the_old_pair(house):
    old = house.member()
    new = house.post("/reauthenticate", {"password": PASSWORD}, token=old["access_token"]).json
    assert new["session_id"] == old["session_id"]
    assert house.get("/mfa", token=old["access_token"]).code == "token_revoked"
    assert house.get("/mfa", token=new["access_token"]).status == 200
    again = house.post("/refresh", token=old["refresh_token"])
    assert again.status == 200
    assert house.post("/refresh", token=new["refresh_token"]).status == 200


@pytest.mark.settings(REFRESH_GRACE_SECONDS=0)
def test_the_old_refresh_token_after_a_step_up_ends_no_session(house):
    old = house.member()
    new = house.post("/reauthenticate", {"password": PASSWORD}, token=old["access_token"]).json
    assert house.post("/refresh", token=old["refresh_token"]).code == "token_revoked"
    assert house.get("/mfa", token=new["access_token"]).status == 200


def test_a_wrong_password_is_no_step_up(house):
    tokens = house.member()
    assert house.post("/reauthenticate", {"password": "wrong"}, token=tokens["access_token"]).code == "invalid_credentials"
    assert house.get("/mfa", token=tokens["access_token"]).status == 200


def test_where_a_factor_is_on_the_password_is_no_step_up(house):
    tokens = house.member()
    app, _ = house.turn_on_totp(tokens["access_token"])
    answer = house.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"])
    assert (answer.status, answer.code) == (401, "reauthentication_required")
    assert answer.json["methods"] == ["totp", "recovery_code"]
    assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    answer = house.post("/reauthenticate", {"method": "totp", "code": code_of(app)}, token=tokens["access_token"])
    assert answer.status == 200


@pytest.mark.settings(RECENT_SIGN_IN_SECONDS=1)
def test_what_changes_factors_asks_for_a_recent_sign_in(house, moved_clock):
    tokens = house.member()
    moved_clock(5)
    answer = house.post("/mfa", {}, token=tokens["access_token"])
    assert (answer.code, answer.json["methods"]) == ("reauthentication_required", ["password"])
    assert house.post("/mfa", {"current_password": "wrong"}, token=tokens["access_token"]).code == "invalid_credentials"
    assert house.post("/mfa", {"current_password": PASSWORD}, token=tokens["access_token"]).status == 200
    refreshed = house.post("/refresh", token=tokens["refresh_token"]).json
    assert house.post("/mfa", {}, token=refreshed["access_token"]).code == "reauthentication_required"


def test_in_cookie_mode_tokens_are_cookies_and_changes_need_the_csrf_token(house, email):
    house.join(email)
    answer = house.login(email, cookies=True)
    assert "access_token" not in answer.json
    assert {"access_token_cookie", "refresh_token_cookie", "csrf_access_token", "csrf_refresh_token", "device"} <= set(answer.cookies)
    assert answer.json["csrf_access_token"] == answer.cookies["csrf_access_token"]
    assert house.get("/mfa", cookies=answer.cookies).status == 200
    assert house.post("/mfa", {}, cookies=answer.cookies).code == "csrf_failed"
    csrf = {"X-CSRF-TOKEN": answer.json["csrf_access_token"]}
    assert house.post("/mfa", {}, cookies=answer.cookies, headers=csrf).status == 200
    refreshed = house.post("/refresh", cookies=answer.cookies, headers={"X-CSRF-TOKEN": answer.json["csrf_refresh_token"]})
    assert refreshed.status == 200
    assert "access_token" not in refreshed.json
    assert house.get("/auth/logout", cookies=refreshed.cookies).code == "token_missing"
    csrf = {"X-CSRF-TOKEN": refreshed.json["csrf_access_token"]}
    out = house.post("/logout", cookies=refreshed.cookies, headers=csrf)
    assert out.status == 200
    assert out.cookies["access_token_cookie"] == ""
