"""Mailed codes: to sign in without a password, and for step-up."""

import pytest

from domain import accounts
from tests.visitor import code_of


def ask(house, email):
    answer = house.post("/send-otp", {"email": email})
    assert answer.status == 202
    return answer.json["otp_token"]


def give(house, token, code):
    return house.post("/verify-otp", {"otp_token": token, "code": code})


def test_a_mailed_code_signs_in_once(house, email):
    house.join(email)
    token = ask(house, email)
    code = house.mailbox.last(email).code
    assert give(house, token, code).json["status"] == "signed_in"
    assert give(house, token, code).code == "mfa_invalid_code"


def test_a_code_belongs_to_the_request_that_asked_for_it(house, email):
    house.join(email)
    first = ask(house, email)
    code = house.mailbox.last(email).code
    second = ask(house, email)
    assert give(house, second, code).code == "mfa_invalid_code"
    assert give(house, first, code).status == 200


def test_nobody_learns_whether_the_address_has_an_account(house, email):
    house.join(email)
    known, unknown = house.post("/send-otp", {"email": email}), house.post("/send-otp", {"email": "nobody@example.com"})
    assert set(known.json) == set(unknown.json) == {"status", "otp_token", "expires_in"}
    assert house.mailbox.of("nobody@example.com") == []
    assert give(house, unknown.json["otp_token"], "123456").code == "mfa_invalid_code"


def test_a_code_is_over_in_time(house, email, moved_clock):
    house.join(email)
    token = ask(house, email)
    code = house.mailbox.last(email).code
    moved_clock(601)
    assert give(house, token, code).code == "mfa_invalid_code"


def test_a_second_factor_is_asked_after_a_mailed_code_and_is_no_mailed_code(house, email):
    access = house.member(email)["access_token"]
    app, _ = house.turn_on_totp(access)
    house.post("/mfa", {"method": "email"}, token=access)
    house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=access)
    token = ask(house, email)
    waiting = give(house, token, house.mailbox.last(email).code).json
    assert (waiting["status"], waiting["methods"]) == ("mfa_required", ["totp", "recovery_code"])
    assert house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": "email"}).code == "validation_failed"
    answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "totp", "code": code_of(app)})
    assert answer.status == 200


def test_an_account_without_a_password_steps_up_by_mail(house, email):
    house.post("/login")
    accounts.create(email)
    token = ask(house, email)
    tokens = give(house, token, house.mailbox.last(email).code).json
    assert house.post("/reauthenticate", {"password": "anything"}, token=tokens["access_token"]).json["methods"] == ["email"]
    assert house.post("/send-otp", {"method": "email"}, token=tokens["access_token"]).status == 202
    code = house.mailbox.last(email).code
    assert house.post("/reauthenticate", {"method": "email", "code": code}, token=tokens["access_token"]).status == 200


def test_a_code_for_step_up_needs_a_sign_in(house):
    assert house.post("/send-otp", {"method": "email"}).code == "token_missing"


@pytest.mark.parametrize("ticket", ["unknown", "x" * 500])
def test_an_unknown_ticket_is_refused(house, ticket):
    assert house.post("/send-otp", {"mfa_token": ticket, "method": "email"}).code == "mfa_ticket_expired"
    assert house.post("/verify-otp", {"mfa_token": ticket, "method": "totp", "code": "123456"}).code == "mfa_ticket_expired"
