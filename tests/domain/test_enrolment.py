"""Turning factors on: several apps, codes by mail and text message, and on the way in."""

import pyotp
import pytest

import config
from domain import accounts
from domain.database import reading
from model import AuditEvent, Factor
from tests.attacks.acts import claims
from tests.visitor import code_of, phone

SMS = pytest.mark.settings(SMS_PROVIDER="console", SMS_COUNTRIES="AT")
ALL = pytest.mark.settings(REQUIRE_MFA="all", SMS_PROVIDER="console", SMS_COUNTRIES="AT")
TOKENS = {"access_token", "refresh_token", "token_type", "expires_in", "session_id", "device_token", "user", "mfa_setup_by"}


def setup_ticket(house, email):
    answer = house.login(email).json
    assert answer["status"] == "mfa_setup_required", answer
    return answer["mfa_token"]


def enrol_totp(house, ticket, **more):
    """Both requests with a ticket: the app, and the answer to its code."""
    app = pyotp.TOTP(house.post("/mfa", {"mfa_token": ticket}).json["secret"])
    return app, house.post("/mfa", {"mfa_token": ticket, "code": code_of(app, -1), **more})


def verify(house, email, method, code):
    ticket = house.login(email).json["mfa_token"]
    return house.post("/verify-otp", {"mfa_token": ticket, "method": method, "code": code})


# Several apps.


def test_codes_of_every_app_are_good_each_with_its_own_last_step(house, email):
    token = house.member(email)["access_token"]
    phone_app, _ = house.turn_on_totp(token)
    setup = house.post("/mfa", {"name": "Tablet"}, token=token).json
    tablet = pyotp.TOTP(setup["secret"])
    proof = house.post("/mfa", {"code": code_of(tablet, -1)}, token=token)
    assert proof.json == {"status": "enabled", "recovery_codes": []}
    assert verify(house, email, "totp", code_of(phone_app)).status == 200
    assert verify(house, email, "totp", code_of(tablet)).status == 200
    assert verify(house, email, "totp", code_of(phone_app)).code == "mfa_invalid_code"
    assert verify(house, email, "totp", code_of(tablet)).code == "mfa_invalid_code"
    assert verify(house, email, "totp", code_of(tablet, 1)).status == 200
    assert verify(house, email, "totp", code_of(phone_app, 1)).status == 200


def test_apps_have_names_and_one_is_removed_alone(house, email):
    token = house.member(email)["access_token"]
    first, codes = house.turn_on_totp(token)
    second = pyotp.TOTP(house.post("/mfa", {"name": "Tablet"}, token=token).json["secret"])
    assert house.post("/mfa", {"code": code_of(second, -1)}, token=token).status == 200
    listed = house.get("/mfa", token=token).json
    assert [one["name"] for one in listed["methods"]] == ["Authenticator app", "Tablet"]
    assert listed["recovery_codes_left"] == 10
    ids = [one["id"] for one in listed["methods"]]
    assert house.patch(f"/mfa/{ids[1]}", {"name": "Old tablet"}, token=token).status == 200
    assert house.delete(f"/mfa/{ids[0]}", token=token).status == 200
    left = house.get("/mfa", token=token).json
    assert ([one["name"] for one in left["methods"]], left["recovery_codes_left"], left["enabled"]) == (["Old tablet"], 10, True)
    assert verify(house, email, "totp", code_of(first)).code == "mfa_invalid_code"
    assert verify(house, email, "totp", code_of(second)).status == 200
    assert verify(house, email, "recovery_code", codes[0]).status == 200


# Text messages.


@SMS
def test_codes_by_text_message_are_a_factor(house, email):
    number, tokens = phone(), house.member(email)
    token = tokens["access_token"]
    assert len(house.turn_on_sms(token, number)) == 10
    (listed,) = house.get("/mfa", token=token).json["methods"]
    assert (listed["type"], listed["name"], listed["last_used_at"]) == ("sms", f"SMS to +43 … {number[-2:]}", None)
    waiting = house.login(email).json
    assert waiting["methods"] == ["sms", "recovery_code"]
    assert house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": "sms"}).json == {"status": "accepted"}
    code = house.telephones.code(number)
    answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "sms", "code": code})
    assert answer.json["status"] == "signed_in"
    assert house.get("/mfa", token=token).json["methods"][0]["last_used_at"] is not None
    assert house.mailbox.last(email).subject == "A second factor was turned on"
    assert "codes by text message" in house.mailbox.last(email).text


@SMS
def test_a_texted_code_is_a_step_up_and_turns_factors_off(house, email):
    number, token = phone(), house.member(email)["access_token"]
    house.turn_on_sms(token, number)
    assert house.post("/send-otp", {"method": "sms"}, token=token).status == 202
    proof = {"method": "sms", "code": house.telephones.code(number)}
    tokens = house.post("/reauthenticate", proof, token=token).json
    assert house.post("/mfa/recovery-codes", proof, token=tokens["access_token"]).code == "mfa_invalid_code"
    assert house.post("/send-otp", {"method": "sms"}, token=tokens["access_token"]).status == 202
    proof = {"method": "sms", "code": house.telephones.code(number)}
    assert house.delete("/mfa", proof, token=tokens["access_token"]).json == {"status": "disabled"}
    assert house.login(email).json["status"] == "signed_in"


@SMS
def test_the_number_is_stored_encrypted_and_the_profiles_is_none_of_it(house, email):
    number, token = phone(), house.member(email)["access_token"]
    assert house.patch("/profile", {"phone": number}, token=token).status == 200
    assert house.post("/send-otp", {"method": "sms"}, token=token).code == "validation_failed"
    house.turn_on_sms(token, number)
    with reading() as db:
        (row,) = db.query(Factor).all()
    assert number[3:].encode() not in row.secret_encrypted
    assert number[3:-2] not in row.name
    assert number not in str(house.get("/mfa", token=token).json)


@SMS
def test_a_number_counts_once_its_code_has_come_and_a_new_start_replaces_it(house, email):
    wrong, right, token = phone(), phone(), house.member(email)["access_token"]
    assert house.post("/mfa", {"method": "sms", "phone": wrong}, token=token).status == 200
    assert house.get("/mfa", token=token).json["enabled"] is False
    assert house.login(email).json["status"] == "signed_in"
    early = house.telephones.code(wrong)
    assert house.post("/mfa", {"method": "sms", "phone": right}, token=token).status == 200
    assert house.post("/mfa", {"method": "sms", "code": early}, token=token).code == "mfa_invalid_code"
    assert house.post("/mfa", {"method": "sms", "code": house.telephones.code(right)}, token=token).status == 200
    assert house.get("/mfa", token=token).json["methods"][0]["name"].endswith(right[-2:])


@SMS
def test_there_is_one_number(house, email):
    token = house.member(email)["access_token"]
    house.turn_on_sms(token, phone())
    answer = house.post("/mfa", {"method": "sms", "phone": phone()}, token=token)
    assert (answer.code, answer.json["errors"][0]["code"]) == ("validation_failed", "already_on")


@SMS
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"method": "sms"}, "phone"),
        ({"method": "sms", "phone": "nonsense"}, "phone"),
        ({"method": "sms", "phone": None}, "phone"),
        ({"method": "email", "phone": "+436641234567"}, "phone"),
        ({"method": "telepathy"}, "method"),
    ],
)
def test_what_is_wrong_is_told(house, email, body, field):
    answer = house.post("/mfa", body, token=house.member(email)["access_token"])
    assert (answer.status, answer.code, [one["field"] for one in answer.json["errors"]]) == (400, "validation_failed", [field])


@SMS
def test_proving_without_having_started_is_told(house, email):
    token = house.member(email)["access_token"]
    for method in ("sms", "email"):
        assert house.post("/mfa", {"method": method, "code": "123456"}, token=token).code == "mfa_not_started"


@SMS
def test_all_kinds_together_are_listed_in_one_order(house, email):
    token = house.member(email)["access_token"]
    house.turn_on_sms(token, phone())
    house.post("/mfa", {"method": "email"}, token=token)
    house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=token)
    house.turn_on_totp(token)
    assert house.login(email).json["methods"] == ["totp", "email", "sms", "recovery_code"]


# On the way in.


@ALL
def test_a_proof_on_the_way_in_turns_the_factor_on_and_signs_in(house, email):
    house.join(email)
    app, answer = enrol_totp(house, setup_ticket(house, email), name="Phone")
    assert answer.code == "validation_failed", "a name goes with the start"
    app, answer = enrol_totp(house, setup_ticket(house, email))
    assert answer.status == 200
    assert set(answer.json) == TOKENS | {"status", "recovery_codes"}
    assert (answer.json["status"], len(answer.json["recovery_codes"])) == ("enabled", 10)
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json["access_token"]
    assert house.get("/mfa", token=token).json["enabled"] is True
    assert house.patch("/mfa/" + house.get("/mfa", token=token).json["methods"][0]["id"], {"name": "x"}, token=token).status == 200
    assert house.login(email).json["status"] == "mfa_required"
    assert verify(house, email, "totp", code_of(app)).status == 200


@ALL
def test_the_session_tells_both_proofs(house, email):
    house.join(email)
    _, answer = enrol_totp(house, setup_ticket(house, email))
    told = claims(answer.json["access_token"])
    assert told["amr"] == ["pwd", "otp", "mfa"]


@ALL
def test_cookies_work_there_too(house, email):
    house.join(email)
    _, answer = enrol_totp(house, setup_ticket(house, email), cookies=True)
    assert set(answer.json) == (TOKENS - {"access_token", "refresh_token", "device_token"}) | {
        "status",
        "recovery_codes",
        "csrf_access_token",
        "csrf_refresh_token",
    }
    assert house.get("/mfa", cookies=answer.cookies).json["enabled"] is True


@ALL
def test_texted_codes_may_be_turned_on_on_the_way_in(house, email):
    house.join(email)
    ticket, number = setup_ticket(house, email), phone()
    assert house.post("/mfa", {"mfa_token": ticket, "method": "sms", "phone": number}).json == {"status": "code_sent"}
    proof = {"mfa_token": ticket, "method": "sms", "code": house.telephones.code(number)}
    assert house.post("/mfa", proof).json["status"] == "enabled"


@ALL
def test_mailed_codes_may_be_turned_on_but_not_after_a_mailed_code(house, email):
    house.join(email)
    token = house.post("/send-otp", {"email": email}).json["otp_token"]
    by_mail = house.post("/verify-otp", {"otp_token": token, "code": house.mailbox.last(email).code}).json["mfa_token"]
    for more in ({}, {"code": "123456"}):
        answer = house.post("/mfa", {"mfa_token": by_mail, "method": "email", **more})
        assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", "method")
    ticket = setup_ticket(house, email)
    assert house.post("/mfa", {"mfa_token": ticket, "method": "email"}).json == {"status": "code_sent"}
    proof = {"mfa_token": ticket, "method": "email", "code": house.mailbox.last(email).code}
    assert house.post("/mfa", proof).json["status"] == "enabled"


@ALL
def test_a_wrong_code_leaves_the_ticket_good(house, email):
    house.join(email)
    ticket = setup_ticket(house, email)
    app = pyotp.TOTP(house.post("/mfa", {"mfa_token": ticket}).json["secret"])
    assert house.post("/mfa", {"mfa_token": ticket, "code": "000000"}).code == "mfa_invalid_code"
    assert house.post("/mfa", {"mfa_token": ticket, "code": code_of(app)}).status == 200


@ALL
def test_a_ticket_ends(house, email, moved_clock):
    house.join(email)
    ticket = setup_ticket(house, email)
    moved_clock(301)
    assert house.post("/mfa", {"mfa_token": ticket}).code == "mfa_ticket_expired"


@ALL
def test_without_a_ticket_or_with_a_wrong_one_nobody_is_let_in(house, email):
    assert house.post("/mfa", {}).code == "token_missing"
    assert house.post("/mfa", {"code": "123456"}).code == "token_missing"
    assert house.post("/mfa", {"mfa_token": "x"}).code == "mfa_ticket_expired"
    assert house.post("/mfa", {"mfa_token": "x", "code": "123456"}).code == "mfa_ticket_expired"
    for wrong in (None, 1, True, [], {}, ""):
        assert house.post("/mfa", {"mfa_token": wrong}).code == "validation_failed"


@ALL
def test_a_new_device_is_known_after_it(house, email):
    house.join(email)
    _, answer = enrol_totp(house, setup_ticket(house, email))
    assert answer.json["device_token"]


@ALL
def test_a_deactivated_account_comes_no_further(house, email):
    house.join(email)
    ticket = setup_ticket(house, email)
    app = pyotp.TOTP(house.post("/mfa", {"mfa_token": ticket}).json["secret"])
    accounts.deactivate(email)
    assert house.post("/mfa", {"mfa_token": ticket, "code": code_of(app)}).code == "mfa_ticket_expired"


@ALL
def test_what_happened_is_in_the_trail(house, email):
    house.join(email)
    enrol_totp(house, setup_ticket(house, email))
    with reading() as db:
        events = [(one.action, one.result) for one in db.query(AuditEvent).order_by(AuditEvent.at, AuditEvent.id)]
    assert events.count(("sign_in", "mfa_setup_required")) == 1
    assert events.count(("factor.on", "success")) == 1
    assert events.count(("sign_in", "success")) == 1


def test_an_old_session_is_not_recent_enough(house, email, moved_clock):
    token = house.member(email)["access_token"]
    moved_clock(config.settings.RECENT_SIGN_IN_SECONDS + 5)
    assert house.post("/mfa", {}, token=token).code == "reauthentication_required"
