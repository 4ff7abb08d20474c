"""Sign-up: what a client sees, and what stands in the mail."""

import pytest

from tests.visitor import PASSWORD


def test_a_confirmed_sign_up_can_sign_in(house, email):
    assert house.sign_up(email).json == {"status": "confirmation_sent"}
    assert house.login(email).code == "invalid_credentials"
    assert house.post(house.mailbox.last(email).path).json == {"status": "confirmed"}
    answer = house.login(email)
    assert answer.status == 200
    assert answer.json["user"]["email"] == email


def test_confirming_twice_is_fine(house, email):
    house.sign_up(email)
    path = house.mailbox.last(email).path
    assert [house.post(path).status for _ in range(3)] == [200, 200, 200]


def test_a_taken_address_gets_the_same_answer_and_a_warning_without_a_link(house, email):
    house.join(email)
    answer = house.sign_up(email, "another long password")
    assert (answer.status, answer.json) == (201, {"status": "confirmation_sent"})
    letter = house.mailbox.last(email)
    assert "/confirm/" not in letter.text + letter.html
    assert house.login(email, "another long password").status == 401


@pytest.mark.settings(PREVENT_ENUMERATION=False)
def test_where_it_may_be_told_a_taken_address_is_told(house, email):
    house.join(email)
    assert house.sign_up(email).code == "email_taken"


def test_the_confirmation_code_confirms(house, email):
    house.sign_up(email)
    letter = house.mailbox.last(email)
    wrong = f"{(int(letter.code) + 1) % 1000000:06d}"
    assert house.post("/confirm", {"email": email, "code": wrong}).code == "mfa_invalid_code"
    assert house.post("/confirm", {"email": email, "code": letter.code}).json == {"status": "confirmed"}
    assert house.post("/confirm", {"email": email, "code": letter.code}).code == "mfa_invalid_code"
    assert house.post(letter.path).json == {"status": "confirmed"}
    assert house.login(email).status == 200


def test_following_the_link_changes_nothing_until_the_button_is_pressed(house, email):
    house.sign_up(email)
    path = house.mailbox.last(email).path
    for accept in ("text/html,application/xhtml+xml", "*/*", "text/html, application/json"):
        assert "<form" in house.get(path, headers={"Accept": accept}).text
    assert house.login(email).status == 401
    page = house.post(path, headers={"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "confirmed" in page.text
    assert "127.0.0.1" in page.text
    assert house.login(email).status == 200


def test_a_program_that_asks_for_json_confirms_by_get(house, email):
    house.sign_up(email)
    assert house.get(house.mailbox.last(email).path, headers={"Accept": "application/json"}).json == {"status": "confirmed"}


def test_a_resent_mail_has_a_link_of_its_own_and_the_older_link_still_works(house, email):
    house.sign_up(email)
    first = house.mailbox.last(email)
    assert house.post("/resend-confirmation", {"email": email}).status == 202
    second = house.mailbox.last(email)
    assert first.path != second.path
    assert house.post(first.path).status == 200
    assert house.login(email).status == 200


def test_signing_in_too_early_mails_the_link_again(house, email):
    house.sign_up(email)
    assert len(house.mailbox.of(email)) == 1
    assert house.login(email).code == "invalid_credentials"
    assert len(house.mailbox.of(email)) == 2
    house.login(email, "some other password")
    assert len(house.mailbox.of(email)) == 2


def test_a_username_signs_in_and_one_that_is_gone_is_left_empty(house, email):
    house.join(email, username="Robin")
    assert house.post("/login", {"username": "ROBIN", "password": PASSWORD}).json["user"]["username"] == "robin"
    other = house.member("other@example.com", username="robin")
    assert other["user"]["username"] is None


@pytest.mark.parametrize(
    ("password", "reasons"),
    [
        ("lamp oaks", ["too_short"]),
        ("", ["too_short"]),
        ("lamps on a hill " * 17, ["too_long"]),
        ("password", ["too_short", "common", "too_guessable"]),
        ("Gatehouse 2024", ["common", "own_words"]),
    ],
    ids=["short", "empty", "long", "common", "own words"],
)
def test_a_weak_password_is_refused_with_every_reason(house, email, password, reasons):
    answer = house.sign_up(email, password)
    assert (answer.status, answer.code) == (400, "weak_password")
    assert [error["code"] for error in answer.json["errors"]] == reasons
    assert {error["field"] for error in answer.json["errors"]} == {"password"}
    assert house.mailbox.of(email) == []


def test_unknown_fields_are_refused(house, email):
    answer = house.sign_up(email, status="active", is_admin=True)
    assert answer.code == "validation_failed"
    assert {error["field"] for error in answer.json["errors"]} == {"status", "is_admin"}
