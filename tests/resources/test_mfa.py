"""Second factors: turned on with a proof, asked at every sign-in, turned off with a proof."""

import json

import pytest

from tests.visitor import PASSWORD, code_of


def pending(house, email, **more):
    answer = house.login(email, **more)
    assert answer.json["status"] == "mfa_required", answer.body
    return answer.json


def verify(house, ticket, method, code, **more):
    return house.post("/verify-otp", {"mfa_token": ticket, "method": method, "code": code, **more})


def test_totp_counts_once_it_is_proven(house, email):
    tokens = house.member(email)
    setup = house.post("/mfa", {"name": "Phone"}, token=tokens["access_token"])
    assert set(setup.json) == {"status", "secret", "otpauth_uri", "qr_code"}
    assert setup.json["qr_code"].startswith("data:image/svg+xml")
    assert house.login(email).json["status"] == "signed_in"
    assert house.post("/mfa", {"code": "000000"}, token=tokens["access_token"]).code == "mfa_invalid_code"
    app, codes = house.turn_on_totp(tokens["access_token"])
    assert len(set(codes)) == 10
    listed = house.get("/mfa", token=tokens["access_token"]).json
    assert (listed["enabled"], [one["type"] for one in listed["methods"]], listed["recovery_codes_left"]) == (True, ["totp"], 10)
    waiting = pending(house, email)
    assert waiting["methods"] == ["totp", "recovery_code"]
    answer = verify(house, waiting["mfa_token"], "totp", code_of(app))
    assert answer.json["status"] == "signed_in"
    assert answer.json["user"]["mfa_enabled"] is True


def test_proving_without_having_started_is_told(house):
    assert house.post("/mfa", {"code": "123456"}, token=house.member()["access_token"]).code == "mfa_not_started"


def test_a_code_works_once(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    code = code_of(app)
    first, second = pending(house, email), pending(house, email)
    assert verify(house, first["mfa_token"], "totp", code).status == 200
    assert verify(house, second["mfa_token"], "totp", code).code == "mfa_invalid_code"


def test_a_ticket_works_once(house, email):
    app, codes = house.turn_on_totp(house.member(email)["access_token"])
    ticket = pending(house, email)["mfa_token"]
    assert verify(house, ticket, "totp", code_of(app)).status == 200
    assert verify(house, ticket, "recovery_code", codes[0]).code == "mfa_ticket_expired"
    assert verify(house, pending(house, email)["mfa_token"], "recovery_code", codes[0]).status == 200


def test_a_recovery_code_works_once_and_however_it_is_typed(house, email):
    _, codes = house.turn_on_totp(house.member(email)["access_token"])
    typed = codes[3].upper().replace("-", " ")
    assert verify(house, pending(house, email)["mfa_token"], "recovery_code", typed).status == 200
    assert verify(house, pending(house, email)["mfa_token"], "recovery_code", codes[3]).code == "mfa_invalid_code"


def test_an_enrolment_ends_the_other_sessions(house, email):
    mine = house.member(email)
    other = house.login(email).json
    house.turn_on_totp(mine["access_token"])
    assert house.get("/mfa", token=other["access_token"]).code == "token_revoked"
    assert house.get("/mfa", token=mine["access_token"]).status == 200
    assert house.mailbox.last(email).subject == "A second factor was turned on"


def test_codes_by_mail_are_a_factor(house, email):
    token = house.member(email)["access_token"]
    assert house.post("/mfa", {"method": "email"}, token=token).json == {"status": "code_sent"}
    answer = house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=token)
    assert len(answer.json["recovery_codes"]) == 10
    waiting = pending(house, email)
    assert waiting["methods"] == ["email", "recovery_code"]
    assert house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": "email"}).status == 202
    assert verify(house, waiting["mfa_token"], "email", house.mailbox.last(email).code).status == 200


def test_a_second_factor_brings_no_second_set_of_recovery_codes(house, email):
    token = house.member(email)["access_token"]
    house.turn_on_totp(token)
    house.post("/mfa", {"method": "email"}, token=token)
    answer = house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=token)
    assert answer.json == {"status": "enabled", "recovery_codes": []}
    assert pending(house, email)["methods"] == ["totp", "email", "recovery_code"]


def test_all_factors_go_off_with_a_code(house, email):
    token = house.member(email)["access_token"]
    app, _ = house.turn_on_totp(token)
    assert house.delete("/mfa", {"code": "000000"}, token=token).code == "mfa_invalid_code"
    assert house.delete("/mfa", {"code": code_of(app)}, token=token).status == 200
    assert house.login(email).json["status"] == "signed_in"
    assert house.get("/mfa", token=token).json == {"enabled": False, "methods": [], "recovery_codes_left": 0}
    assert "A second factor was turned off" in house.mailbox.subjects(email)


def test_one_factor_is_renamed_and_removed(house, email):
    token = house.member(email)["access_token"]
    house.turn_on_totp(token)
    found = house.get("/mfa", token=token).json["methods"][0]
    assert house.patch(f"/mfa/{found['id']}", {"name": "Old phone"}, token=token).status == 200
    assert house.get("/mfa", token=token).json["methods"][0]["name"] == "Old phone"
    stranger = house.member()["access_token"]
    assert house.patch(f"/mfa/{found['id']}", {"name": "Mine"}, token=stranger).code == "not_found"
    assert house.delete(f"/mfa/{found['id']}", token=stranger).code == "not_found"
    assert house.delete(f"/mfa/{found['id']}", token=token).status == 200
    assert house.login(email).json["status"] == "signed_in"


def test_new_recovery_codes_end_the_old_ones(house, email):
    token = house.member(email)["access_token"]
    app, old = house.turn_on_totp(token)
    new = house.post("/mfa/recovery-codes", {"code": code_of(app)}, token=token).json["recovery_codes"]
    assert not set(old) & set(new)
    assert verify(house, pending(house, email)["mfa_token"], "recovery_code", old[0]).code == "mfa_invalid_code"
    assert verify(house, pending(house, email)["mfa_token"], "recovery_code", new[0]).status == 200


def test_a_trusted_device_is_not_asked_and_is_no_step_up(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    ticket = pending(house, email)["mfa_token"]
    tokens = verify(house, ticket, "totp", code_of(app), trust_device=True).json
    known = {"X-Device-Token": tokens["device_token"]}
    again = house.login(email, headers=known).json
    assert again["status"] == "signed_in"
    assert house.post("/mfa", {}, token=again["access_token"]).code == "reauthentication_required"
    assert house.login(email).json["status"] == "mfa_required"
    change = {"current_password": PASSWORD, "new_password": "quite another password"}
    assert house.post("/change-password", change, token=again["access_token"]).code == "reauthentication_required"
    assert house.post("/change-password", change, token=tokens["access_token"]).status == 200
    assert house.login(email, "quite another password", headers=known).json["status"] == "mfa_required"


@pytest.mark.parametrize("method", ["sms", "passkey", "", "totp"])
def test_a_method_that_is_not_on_is_refused(house, email, method):
    token = house.member(email)["access_token"]
    house.post("/mfa", {"method": "email"}, token=token)
    house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=token)
    answer = verify(house, pending(house, email)["mfa_token"], method, "123456")
    assert (answer.status, answer.code) == (400, "validation_failed")


def test_setup_shows_its_secret_to_nobody_else(house, email):
    token = house.member(email)["access_token"]
    secret = house.post("/mfa", {}, token=token).json["secret"]
    assert secret not in json.dumps(house.get("/mfa", token=token).json)


@pytest.mark.parametrize(("method", "body"), [("PATCH", None), ("PATCH", {"name": 1}), ("DELETE", {"oops": 1})])
def test_an_id_is_looked_for_before_the_body_is_judged(house, method, body):
    token = house.member()["access_token"]
    assert house.request(method, "/mfa/unknown", body, token=token).code == "not_found"


def test_a_sign_in_of_long_ago_is_told_before_id_and_body(house, moved_clock):
    token = house.member()["access_token"]
    moved_clock(400)
    assert house.patch("/mfa/unknown", {"name": 1}, token=token).code == "reauthentication_required"


def test_the_fault_of_a_field_that_may_be_left_out_is_told_once_and_by_its_name(house):
    token = house.member()["access_token"]
    answer = house.post("/mfa", {"name": 7}, token=token)
    assert [one["field"] for one in answer.json["errors"]] == ["name"]
