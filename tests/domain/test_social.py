"""An address that a provider does not vouch for is proven by a mailed code, whether or not somebody has it."""

import pytest

from domain import accounts
from model import Identity
from tests.attacks.acts import count
from tests.provider import Provider, come_back, exchange, prove, sign_in


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider


@pytest.fixture
def settings(settings, google):
    return {**google.settings, **settings}


@pytest.mark.parametrize("taken", [False, True])
def test_an_address_that_nobody_vouches_for_is_proven_by_a_code(house, google, taken):
    member = house.member("robin@example.com") if taken else None
    google.says = {"email_verified": False}
    waiting = sign_in(house, google)
    assert (waiting.status, set(waiting.json)) == (200, {"status", "mfa_token", "methods", "expires_in"})
    assert (waiting.json["status"], waiting.json["methods"]) == ("confirmation_required", ["email"])
    assert count(Identity) == 0
    letter = house.mailbox.last("robin@example.com")
    answer = prove(house, waiting.json, letter.code)
    assert (answer.status, answer.json["status"]) == (200, "signed_in")
    if member:
        assert answer.json["user"]["id"] == member["user"]["id"]
        assert "A way to sign in was added" in house.mailbox.subjects("robin@example.com")
    assert prove(house, waiting.json, letter.code).code == "mfa_ticket_expired"
    assert sign_in(house, google).json["user"]["id"] == answer.json["user"]["id"]  # Known from now on.


def test_the_code_can_be_sent_again_and_the_older_one_is_over(house, google):
    google.says = {"email_verified": False}
    waiting = sign_in(house, google).json
    first = house.mailbox.last("robin@example.com").code
    assert house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": "email"}).json == {"status": "accepted"}
    assert prove(house, waiting, first).code == "mfa_invalid_code"
    assert prove(house, waiting, house.mailbox.last("robin@example.com").code, cookies=True).status == 200


def test_no_other_method_proves_the_address(house, google):
    google.says = {"email_verified": False}
    waiting = sign_in(house, google).json
    for method in ("totp", "sms", "recovery_code"):
        answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": method, "code": "123456"})
        assert answer.code == "validation_failed"
        assert house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": method}).code == "validation_failed"


def test_a_front_end_is_asked_for_the_proof_at_the_exchange(house, google):
    google.says = {"email_verified": False}
    given, verifier = come_back(house, google)
    waiting = exchange(house, given["code"], verifier).json
    assert waiting["status"] == "confirmation_required"
    assert prove(house, waiting, house.mailbox.last("robin@example.com").code).status == 200


def test_the_mailed_proof_is_no_second_factor(house, google):
    access = house.member("robin@example.com")["access_token"]
    house.turn_on_totp(access)
    house.post("/mfa", {"method": "email"}, token=access)
    house.post("/mfa", {"method": "email", "code": house.mailbox.last("robin@example.com").code}, token=access)
    google.says = {"email_verified": False}
    waiting = prove(house, sign_in(house, google).json, house.mailbox.last("robin@example.com").code).json
    assert (waiting["status"], waiting["methods"]) == ("mfa_required", ["totp", "recovery_code"])


def test_wrong_codes_of_a_proof_are_counted(house, google):
    google.says = {"email_verified": False}
    waiting = sign_in(house, google).json
    right = house.mailbox.last("robin@example.com").code
    wrong = f"{(int(right) + 1) % 1000000:06d}"
    assert [prove(house, waiting, wrong).code for _ in range(6)] == ["mfa_invalid_code"] * 5 + ["too_many_attempts"]
    assert prove(house, waiting, right).code == "too_many_attempts"


def test_an_account_that_is_switched_off_is_told_after_the_proof_and_not_joined(house, google):
    house.join("robin@example.com")
    accounts.deactivate("robin@example.com")
    google.says = {"email_verified": False}
    waiting = sign_in(house, google).json
    assert waiting["status"] == "confirmation_required"
    assert prove(house, waiting, house.mailbox.last("robin@example.com").code).code == "account_disabled"
    assert count(Identity) == 0
