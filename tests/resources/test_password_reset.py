"""A new password: by a mailed link, or in a running session."""

import re

import pytest
from sqlalchemy import select

import config
from domain import passwords
from domain.database import reading
from model import PasswordHistory
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
    assert "Your password was changed" in house.mailbox.subjects(email)


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
    assert 'name="password" type="password" autocomplete="new-password"' in page.text
    assert not re.search(r"<script|onpaste", page.text)
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


def test_a_change_that_is_sent_twice_at_once_is_made_once_and_its_session_goes_on(house, email, monkeypatch):
    token, change, hashed = house.member(email)["access_token"], {"current_password": PASSWORD, "new_password": NEW}, passwords.hash
    first = []

    def overtaken(password):
        monkeypatch.setattr(passwords, "hash", hashed)
        first.append(house.post("/change-password", change, token=token).status)
        return hashed(password)

    monkeypatch.setattr(passwords, "hash", overtaken)
    second = house.post("/change-password", change, token=token)
    assert (first, second.code) == ([200], "invalid_credentials")
    assert house.get("/mfa", token=token).status == 200


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


POLICY = {
    "min_length": 12,
    "max_length": 256,
    "min_score": 2,
    "blocklist": True,
    "own_words": True,
    "breaches": False,
    "composition": [],
    "history": 0,
    "max_age_days": 0,
}
STRICT = {
    "PASSWORD_MIN_LENGTH": 10,
    "PASSWORD_MIN_LENGTH_WITHOUT_MFA": 15,
    "PASSWORD_MIN_SCORE": 3,
    "PASSWORD_RANGE_URL": "http://127.0.0.1:1/range",
    "PASSWORD_COMPOSITION": "digit, symbol",
    "PASSWORD_HISTORY": 5,
    "PASSWORD_MAX_AGE_DAYS": 90,
}
WORDS = [f"{word} lanterns on a quiet hill" for word in ("red", "green", "blue", "white")]


def test_the_policy_is_told(house):
    assert house.get("/password-policy").json == POLICY


@pytest.mark.settings(**STRICT)
def test_the_policy_tells_every_rule_that_is_set(house):
    rules = {"min_length": 15, "min_score": 3, "breaches": True, "composition": ["digit", "symbol"], "history": 5, "max_age_days": 90}
    assert house.get("/password-policy").json == POLICY | rules


@pytest.mark.settings(**STRICT)
def test_the_page_tells_the_rules(house):
    page = house.get("/reset-password/any", headers={"Accept": "text/html"}).text
    assert "At least 15 characters" in page
    assert "It needs a digit and a sign." in page
    assert 'minlength="15"' in page


@pytest.mark.settings(PASSWORD_MIN_LENGTH_WITHOUT_MFA=15, REQUIRE_MFA="all")
def test_where_everybody_has_a_factor_a_password_may_be_shorter(house):
    assert house.get("/password-policy").json["min_length"] == 12


def test_a_weak_password_is_told_under_the_name_of_its_field(house, email):
    token = house.member(email)["access_token"]
    change = {"current_password": PASSWORD, "new_password": "short"}
    errors = house.post("/change-password", change, token=token).json["errors"]
    assert {error["field"] for error in errors} == {"new_password"}
    errors = house.post(ask(house, email), {"password": "short"}).json["errors"]
    assert {error["field"] for error in errors} == {"password"}


def test_words_of_the_account_make_no_password(house):
    email = "katharina.morgenstern@example.com"
    token = house.member(email, username="kathi99", name="Katharina Morgenstern-Huber")["access_token"]
    for own in ("katharina.morgenstern", "Kathi99-Kathi99!", "Morgenstern-Hüber"):
        weak = house.post("/change-password", {"current_password": PASSWORD, "new_password": own}, token=token)
        assert "own_words" in {error["code"] for error in weak.json["errors"]}
        weak = house.post(ask(house, email), {"password": own})
        assert "own_words" in {error["code"] for error in weak.json["errors"]}


def test_the_page_says_every_reason(house, email):
    house.join(email)
    form = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    page = house.post(ask(house, email), headers=form, data="password=password1").text
    assert "Use at least 12 characters" in page
    assert "most common passwords" in page


@pytest.mark.settings(PASSWORD_COMPOSITION="lower,upper,digit,symbol")
def test_composition_is_asked_for_where_it_is_set(house, email):
    codes = {error["code"] for error in house.sign_up(email, "alllowercaseletters").json["errors"]}
    assert codes >= {"composition_upper", "composition_digit", "composition_symbol"}
    assert house.sign_up(email, "Seven quiet lanterns, 42").status == 201


@pytest.mark.settings(PASSWORD_HISTORY=2)
def test_earlier_passwords_may_not_come_back_where_a_history_is_kept(house, email):
    token = house.member(email, WORDS[0])["access_token"]

    def change(now, new):
        answer = house.post("/change-password", {"current_password": now, "new_password": new}, token=token)
        return [error["code"] for error in answer.json.get("errors", [])]

    assert change(WORDS[0], WORDS[0]) == ["used_before"]
    assert change(WORDS[0], WORDS[1]) == []
    assert change(WORDS[1], WORDS[0]) == ["used_before"]
    assert change(WORDS[1], WORDS[2]) == []
    assert change(WORDS[2], WORDS[0]) == ["used_before"]
    reset = house.post(ask(house, email), {"password": WORDS[1]})
    assert [error["code"] for error in reset.json["errors"]] == ["used_before"]
    assert change(WORDS[2], WORDS[3]) == []
    assert len(history()) == 2
    assert change(WORDS[3], WORDS[0]) == []


def test_no_history_is_kept_unless_it_is_asked_for(house, email):
    token = house.member(email)["access_token"]
    house.post("/change-password", {"current_password": PASSWORD, "new_password": NEW}, token=token)
    assert history() == []
    assert house.post("/change-password", {"current_password": NEW, "new_password": PASSWORD}, token=token).status == 200


@pytest.mark.settings(PASSWORD_HISTORY=2)
def test_a_history_ends_with_its_setting(house, email):
    token = house.member(email)["access_token"]
    house.post("/change-password", {"current_password": PASSWORD, "new_password": NEW}, token=token)
    assert len(history()) == 1
    config.settings = config.settings.model_copy(update={"PASSWORD_HISTORY": 0})
    house.post("/change-password", {"current_password": NEW, "new_password": PASSWORD}, token=token)
    assert history() == []


@pytest.mark.settings(PASSWORD_MAX_AGE_DAYS=90, SESSION_MAX_SECONDS=0, SESSION_IDLE_SECONDS=0)
def test_an_old_password_asks_for_a_new_one_where_an_age_is_set(house, email, moved_clock):
    house.join(email)
    assert house.login(email).status == 200
    moved_clock(90 * 86400 + 1)
    expired = house.login(email)
    assert (expired.status, expired.code) == (403, "password_expired")
    assert "/forgot-password" in expired.json["title"]
    assert house.login(email, "not the password").code == "invalid_credentials"
    code = house.post("/send-otp", {"email": email}).json["otp_token"]
    assert house.post("/verify-otp", {"otp_token": code, "code": house.mailbox.last(email).code}).json["status"] == "signed_in"
    assert house.post(ask(house, email), {"password": NEW}).status == 200
    assert house.login(email, NEW).status == 200


def history():
    with reading() as db:
        return list(db.scalars(select(PasswordHistory)))
