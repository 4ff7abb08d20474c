"""Known devices: how they are shown and removed, and how a sign-in from an unknown one is told."""

import pytest
from sqlalchemy import select, update

from domain import limits
from domain.database import reading, transaction
from model import AuditEvent, Device
from tests.visitor import code_of

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
FIELDS = {"id", "name", "ip", "trusted_until", "last_used_at", "current"}
NOTICE = "A sign-in from a new device"


def devices(house, tokens, **headers):
    """The devices that the owner of these tokens sees."""
    answer = house.get("/profile/devices", token=tokens["access_token"], headers=headers)
    assert answer.status == 200, answer.body
    return answer.json["devices"]


def current(house, tokens, **headers):
    """The id of the device that asks, if there is one."""
    found = [one["id"] for one in devices(house, tokens, **headers) if one["current"]]
    return found[0] if found else None


def remove(house, tokens, device_id):
    return house.delete(f"/profile/devices/{device_id}", token=tokens["access_token"])


def from_device(tokens):
    return {"X-Device-Token": tokens["device_token"]}


def is_alive(house, tokens):
    return house.get("/mfa", token=tokens["access_token"]).status == 200


def notices(house, email):
    """The letters about new devices."""
    return [one for one in house.mailbox.of(email) if one.subject == NOTICE]


def test_a_device_is_shown_with_what_the_contract_names(house, email):
    house.join(email)
    tokens = house.login(email, headers={"User-Agent": FIREFOX}).json
    (shown,) = devices(house, tokens)
    assert set(shown) == FIELDS
    assert (shown["name"], shown["ip"], shown["trusted_until"], shown["current"]) == ("Firefox on Windows", "127.0.0.1", None, True)
    assert shown["last_used_at"].endswith("Z")


def test_the_last_used_device_comes_first_and_has_the_name_of_its_last_use(house, email, moved_clock):
    first, second = house.member(email), house.login(email).json
    before = [one["id"] for one in devices(house, second)]
    moved_clock(60)
    again = house.login(email, headers={**from_device(first), "User-Agent": FIREFOX}).json
    shown = devices(house, again)
    assert [one["id"] for one in shown] == list(reversed(before))
    assert shown[0]["name"] == "Firefox on Windows"


def test_current_is_what_brings_its_token_or_what_opened_the_session(house, email):
    first, second = house.member(email), house.login(email).json
    assert current(house, first) != current(house, second)
    assert current(house, second, **from_device(first)) == current(house, first)
    stranger = house.member()
    assert current(house, second, **from_device(stranger)) == current(house, second)


def test_trust_is_shown_while_it_lasts(house, email, moved_clock):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    proof = {"mfa_token": house.login(email).json["mfa_token"], "method": "totp", "code": code_of(app), "trust_device": True}
    tokens = house.post("/verify-otp", proof).json
    assert devices(house, tokens)[0]["trusted_until"].endswith("Z")
    with transaction() as db:
        db.execute(update(Device).values(trusted_until=Device.created_at))
    assert devices(house, tokens)[0]["trusted_until"] is None


def test_a_device_that_is_no_longer_known_is_not_shown(house, email):
    tokens = house.member(email)
    (shown,) = devices(house, tokens)
    with transaction() as db:
        db.execute(update(Device).values(expires_at=Device.created_at))
    assert devices(house, tokens) == []
    assert remove(house, tokens, shown["id"]).code == "not_found"


def test_a_removed_device_is_unknown_at_once_and_what_it_opened_is_over(house, email):
    lost, mine = house.member(email), house.login(email).json
    opened_too = house.login(email, headers=from_device(lost)).json
    assert remove(house, mine, current(house, lost)).status == 204
    assert [is_alive(house, one) for one in (lost, opened_too, mine)] == [False, False, True]
    assert [one["current"] for one in devices(house, mine)] == [True]
    again = house.login(email, headers=from_device(lost)).json
    assert again["device_token"] != lost["device_token"]


def test_a_removal_is_noted(house, email):
    lost, mine = house.member(email), house.login(email).json
    device_id = current(house, lost)
    remove(house, mine, device_id)
    with reading() as db:
        event = db.scalars(select(AuditEvent).where(AuditEvent.action == "device.removed")).one()
    assert (event.user_id, event.session_id) == (mine["user"]["id"], mine["session_id"])
    assert event.facts == {"device": device_id, "sessions": 1}


def test_removing_the_present_device_leaves_the_present_session(house, email):
    mine = house.member(email)
    same = house.login(email, headers=from_device(mine)).json
    assert remove(house, mine, current(house, mine)).status == 204
    assert [is_alive(house, one) for one in (mine, same)] == [True, False]
    assert devices(house, mine) == []


def test_a_removed_device_is_trusted_no_more(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    proof = {"mfa_token": house.login(email).json["mfa_token"], "method": "totp", "code": code_of(app), "trust_device": True}
    tokens = house.post("/verify-otp", proof).json
    assert house.login(email, headers=from_device(tokens)).json["status"] == "signed_in"
    remove(house, tokens, current(house, tokens))
    assert house.login(email, headers=from_device(tokens)).json["status"] == "mfa_required"


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=2)
def test_a_removed_device_has_no_failure_budget_of_its_own(house, email):
    lost, mine = house.member(email), house.login(email).json
    for _ in range(2):
        assert house.login(email, "a wrong password").code == "invalid_credentials"
    assert house.login(email, headers=from_device(lost)).status == 200
    for token in (lost, mine):
        remove(house, mine, current(house, token))
    assert house.login(email, headers=from_device(lost)).code == "too_many_attempts"


@pytest.mark.parametrize("device_id", ["unknown", "0" * 32])
def test_what_is_none_of_theirs_is_not_found(house, device_id):
    assert remove(house, house.member(), device_id).code == "not_found"


def test_the_first_sign_in_of_all_is_no_news(house, email):
    house.member(email)
    assert notices(house, email) == []


def test_a_sign_in_from_an_unknown_device_is_told_once(house, email):
    first = house.member(email)
    second = house.login(email, headers={"User-Agent": FIREFOX}).json
    (letter,) = notices(house, email)
    for body in (letter.text, letter.html):
        assert "Firefox on Windows" in body
        assert "127.0.0.1" in body
        assert "country" not in body
    for tokens in (first, second):
        assert house.login(email, headers=from_device(tokens)).status == 200
    assert len(notices(house, email)) == 1


def test_another_users_device_is_unknown(house, email):
    house.member(email)
    stranger = house.member()
    assert house.login(email, headers={**from_device(stranger), "User-Agent": FIREFOX}).status == 200
    assert len(notices(house, email)) == 1


def test_a_sign_in_that_waits_for_its_second_factor_is_told_when_it_is_done(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    waiting = house.login(email).json
    assert notices(house, email) == []
    proof = {"mfa_token": waiting["mfa_token"], "method": "totp", "code": code_of(app)}
    assert house.post("/verify-otp", proof, headers={"User-Agent": FIREFOX}).status == 200
    assert len(notices(house, email)) == 1


def test_a_client_that_never_brings_its_token_back_is_told_once(house, email):
    house.member(email)
    for _ in range(3):
        house.login(email, headers={"User-Agent": FIREFOX})
    assert len(notices(house, email)) == 1


def test_of_very_many_devices_those_that_were_used_last_stay_known(house, email, moved_clock, monkeypatch):
    monkeypatch.setattr(limits, "DEVICES", 3)
    signed_in = [house.member(email)]
    for minute in range(1, 5):
        moved_clock(60 * minute)
        signed_in.append(house.login(email).json)
    known = [one["id"] for one in devices(house, signed_in[-1])]
    assert len(known) == 3
    moved_clock(360)
    first, *_ = devices(house, house.login(email, headers=from_device(signed_in[2])).json)
    assert first["id"] == known[-1]
