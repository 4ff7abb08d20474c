"""Factors that are lost, and recovery codes that are used: what the owner is told, and what is over."""

import pytest

from domain import clock, mfa
from domain.database import reading
from domain.errors import NotFound
from model import AuditEvent, Code, Factor, RecoveryCode, User
from tests.visitor import code_of


def rows(table):
    with reading() as db:
        return db.query(table).where(table.user_id.is_not(None)).count()


def events(action):
    with reading() as db:
        return db.query(AuditEvent).filter_by(action=action).all()


def test_a_recovery_code_that_is_used_is_told_with_how_many_are_left(house, email):
    token = house.member(email)["access_token"]
    _, codes = house.turn_on_totp(token)
    ticket = house.login(email).json["mfa_token"]
    assert house.post("/verify-otp", {"mfa_token": ticket, "method": "recovery_code", "code": "0000-0000-0000-0000"}).status == 401
    assert house.mailbox.last(email).subject == "A second factor was turned on"
    assert house.post("/verify-otp", {"mfa_token": ticket, "method": "recovery_code", "code": codes[0]}).status == 200
    assert house.mailbox.last(email).subject == "A recovery code was used"
    assert "You have 9 codes left." in house.mailbox.last(email).text
    (event,) = events("recovery_code.used")
    assert event.facts == {"left": 9}
    assert house.post("/reauthenticate", {"method": "recovery_code", "code": codes[1]}, token=token).status == 200
    assert "You have 8 codes left." in house.mailbox.last(email).text


def test_new_recovery_codes_are_told(house, email):
    token = house.member(email)["access_token"]
    app, _ = house.turn_on_totp(token)
    assert house.post("/mfa/recovery-codes", {"code": "000000"}, token=token).status == 401
    assert house.mailbox.last(email).subject == "A second factor was turned on"
    assert house.post("/mfa/recovery-codes", {"code": code_of(app)}, token=token).status == 200
    assert house.mailbox.last(email).subject == "New recovery codes were made"
    assert house.post(house.mailbox.last(email).path).status == 200
    assert house.get("/mfa", token=token).code == "token_revoked"


def test_the_last_recovery_code_says_so(house, email):
    _, codes = house.turn_on_totp(house.member(email)["access_token"])
    for code in codes:
        ticket = house.login(email).json["mfa_token"]
        assert house.post("/verify-otp", {"mfa_token": ticket, "method": "recovery_code", "code": code}).status == 200
    texts = [one.text for one in house.mailbox.of(email) if one.subject == "A recovery code was used"]
    assert ["You have 1 code left." in text for text in texts] == [False] * 8 + [True, False]
    assert "It was the last one" in texts[9]
    assert house.login(email).json["methods"] == ["totp"]


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=1)
def test_a_reset_ends_everything_that_rests_on_the_factors(house, email):
    first = house.member(email)
    app, _ = house.turn_on_totp(first["access_token"])
    house.post("/mfa", {}, token=first["access_token"])
    ticket = house.login(email).json["mfa_token"]
    proof = {"mfa_token": ticket, "method": "totp", "code": code_of(app), "trust_device": True}
    device = house.post("/verify-otp", proof).json["device_token"]
    waiting = house.login(email).json["mfa_token"]
    house.post("/send-otp", {"email": email})
    mfa.reset(email)
    assert (rows(Factor), rows(RecoveryCode), rows(Code)) == (0, 0, 0)
    assert house.get("/mfa", token=first["access_token"]).code == "token_revoked"
    assert house.post("/verify-otp", {"mfa_token": waiting, "method": "totp", "code": code_of(app, 1)}).code == "mfa_ticket_expired"
    with reading() as db:
        user = db.query(User).one()
    assert (user.mfa_enabled, user.mfa_asked_at) == (False, None)
    assert house.mailbox.last(email).subject == "Your second factors were turned off"
    (event,) = events("factors.reset")
    assert (event.actor, event.user_id) == ("operator", user.id)
    again = house.login(email, headers={"X-Device-Token": device}).json
    assert again["status"] == "signed_in"
    assert again["mfa_setup_by"] > clock.now().isoformat()
    house.turn_on_totp(again["access_token"])
    assert house.login(email, headers={"X-Device-Token": device}).json["status"] == "mfa_required", "trust is gone"


def test_a_reset_of_nobody_is_told(house):
    with pytest.raises(NotFound):
        mfa.reset("nobody@example.com")
