"""A new password: by a mailed link, or in a running session."""

import pytest

from tests.visitor import PASSWORD, code_of

NEW = "an entirely new password"


def ask(house, email):
    assert house.post("/forgot-password", {"email": email}).json == {"status": "accepted"}
    return house.mailbox.last(email).path


def test_a_reset_sets_the_password_and_ends_everything(house, email):
    tokens = house.member(email)
    path = ask(house, email)
    answer = house.post(path, {"password": NEW})
    assert (answer.status, "access_token" in answer.json) == (200, False)
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.login(email).code == "invalid_credentials"
    assert house.login(email, NEW).status == 200
    assert house.mailbox.last(email).subject == "Your password was changed"


def test_a_link_acts_once_and_a_newer_request_ends_the_older(house, email):
    house.join(email)
    older = ask(house, email)
    newer = ask(house, email)
    assert house.post(older, {"password": NEW}).code == "link_invalid"
    assert house.post(newer, {"password": NEW}).status == 200
    assert house.post(newer, {"password": NEW}).code == "token_used"


def test_the_token_may_come_in_the_body(house, email):
    house.join(email)
    token = ask(house, email).rsplit("/", 1)[1]
    assert house.post("/api/password/reset", {"token": token, "password": NEW}).status == 200


def test_a_weak_password_leaves_the_link_good(house, email):
    house.join(email)
    path = ask(house, email)
    assert house.post(path, {"password": "short"}).code == "weak_password"
    assert house.post(path, {"password": NEW}).status == 200


def test_a_link_is_over_in_time(house, email, moved_clock):
    house.join(email)
    path = ask(house, email)
    moved_clock(3601)
    assert house.post(path, {"password": NEW}).code == "link_invalid"


def test_the_page_changes_nothing_and_its_form_does(house, email):
    house.join(email)
    path = ask(house, email)
    page = house.get(path, headers={"Accept": "text/html"})
    assert '<input id="password"' in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    form = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    weak = house.post(path, headers=form, data="password=short")
    assert (weak.status, weak.headers["Content-Type"].split(";")[0]) == (400, "text/html")
    assert house.post(path, headers=form, data=f"password={NEW}").status == 200
    assert house.login(email, NEW).status == 200


def test_the_pages_are_the_same_for_every_token(house, email):
    house.join(email)
    assert house.get(ask(house, email)).body == house.get("/reset-password/unknown").body
    assert house.get("/confirm/a", headers={"Accept": "text/html"}).body == house.get("/confirm/b", headers={"Accept": "text/html"}).body


def test_a_reset_makes_the_account_of_an_open_attempt(house, email):
    house.sign_up(email)
    confirmation = house.mailbox.last(email).path
    assert house.post(ask(house, email), {"password": NEW}).status == 200
    assert house.login(email, NEW).status == 200
    assert house.login(email, PASSWORD).status == 401
    assert house.post(confirmation).code == "link_invalid"


def test_a_reset_does_not_skip_the_second_factor(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    house.post(ask(house, email), {"password": NEW})
    waiting = house.login(email, NEW).json
    assert waiting["status"] == "mfa_required"
    answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "totp", "code": code_of(app)})
    assert answer.status == 200


def test_a_changed_password_ends_the_other_sessions_and_links(house, email):
    mine = house.member(email)
    other = house.login(email).json
    path = ask(house, email)
    change = {"current_password": PASSWORD, "new_password": NEW}
    assert house.post("/change-password", change, token=mine["access_token"]).json == {"status": "password_changed"}
    assert house.get("/mfa", token=mine["access_token"]).status == 200
    assert house.get("/mfa", token=other["access_token"]).code == "token_revoked"
    assert house.post(path, {"password": "yet another password"}).code == "link_invalid"
    assert house.login(email, NEW).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"new_password": NEW}, "validation_failed"),
        ({"new_password": NEW, "current_password": "wrong"}, "invalid_credentials"),
        ({"new_password": "short", "current_password": PASSWORD}, "weak_password"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(house, email, body, code):
    tokens = house.member(email)
    assert house.post("/change-password", body, token=tokens["access_token"]).code == code
    assert house.login(email).status == 200


def test_the_policy_is_told(house):
    assert house.get("/password-policy").json == {"min_length": 12, "max_length": 256}
