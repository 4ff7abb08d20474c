"""Passkeys through HTTP: made, listed, named, removed; sign-in by one alone, as the second factor and as step-up."""

import cbor2
import jwt
import pytest
from sqlalchemy import func, select, update
from webauthn.helpers import bytes_to_base64url

from domain import limits, mfa
from domain.database import reading, transaction
from model import AuditEvent, Passkey, SpentChallenge, User
from tests.authenticator import BACKED_UP, EDDSA, ELIGIBLE, ES256, PRESENT, RS256, Authenticator, add_passkey, sign_in
from tests.visitor import code_of

ORIGIN = "https://app.example.com"


@pytest.fixture
def key():
    return Authenticator(ORIGIN)


@pytest.fixture
def ann(house):
    return house.member("ann@example.com")


def claims(answer):
    return jwt.decode(answer.json["access_token"], options={"verify_signature": False})


def is_me(house, answer, email="ann@example.com"):
    assert answer.status == 200, answer.body
    return house.get("/profile", token=answer.json["access_token"]).json["email"] == email


def change_user(**values):
    with transaction() as db:
        db.execute(update(User).values(**values))


def count(table, *which):
    with reading() as db:
        return db.scalar(select(func.count()).select_from(table).where(*which))


def test_the_options_to_make_one_are_those_of_the_standard(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    options = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    assert options["rp"]["id"] == "app.example.com"
    assert options["user"]["name"] == "ann@example.com"
    assert [one["alg"] for one in options["pubKeyCredParams"]] == [ES256, EDDSA, RS256]
    assert options["excludeCredentials"] == [{"id": key.id, "type": "public-key", "transports": ["hybrid", "internal"]}]
    assert options["attestation"] == "none"
    assert options["authenticatorSelection"]["residentKey"] == options["authenticatorSelection"]["userVerification"] == "preferred"
    request = house.post("/passkeys/sign-in/options").json
    assert (request["rpId"], request["allowCredentials"], request["userVerification"]) == ("app.example.com", [], "required")
    assert request["challenge"] != options["challenge"]


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
def test_it_signs_in_alone_and_counts_as_two_factors(house, ann, algorithm):
    key = Authenticator(ORIGIN, algorithm=algorithm)
    made = add_passkey(house, ann["access_token"], key, name="My laptop")
    answer = sign_in(house, key)
    assert is_me(house, answer)
    assert claims(answer)["amr"] == ["hwk", "user", "mfa"]
    shown = house.get("/passkeys", token=answer.json["access_token"]).json["passkeys"]
    assert [(one["id"], one["name"], one["backed_up"]) for one in shown] == [(made["id"], "My laptop", False)]
    assert (made["last_used_at"], shown[0]["last_used_at"] is None) == (None, False)
    assert house.get("/mfa", token=answer.json["access_token"]).json["enabled"] is False


def test_a_synchronised_one_without_a_counter_signs_in_again_and_again(house, ann):
    key = Authenticator(ORIGIN, counts=False, eligible=True)
    add_passkey(house, ann["access_token"], key)
    assert claims(sign_in(house, key))["amr"] == ["swk", "user", "mfa"]
    assert is_me(house, sign_in(house, key, kept=ELIGIBLE))
    assert house.get("/passkeys", token=ann["access_token"]).json["passkeys"][0]["backed_up"] is False


def test_tokens_come_as_cookies_where_asked(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    options = house.post("/passkeys/sign-in/options").json
    answer = house.post("/passkeys/sign-in", {"credential": key.get(options), "cookies": True})
    assert "access_token" not in answer.json
    assert house.get("/profile", cookies=answer.cookies).json["email"] == "ann@example.com"


REGISTRATIONS = {
    "another origin": {"origin": "https://evil.example.com"},
    "our own address, above the domain": {"origin": "https://example.com"},
    "plain http": {"origin": "http://app.example.com"},
    "another domain": {"rp_id": "example.com"},
    "another ceremony": {"type": "webauthn.get"},
    "a frame of another site": {"crossOrigin": True},
    "a challenge that is not ours": {"challenge": "AAAA" * 18},
    "nobody there": {"flags": 0},
    "backed up, though that can't be": {"kept": BACKED_UP},
}


@pytest.mark.parametrize("lies", REGISTRATIONS.values(), ids=REGISTRATIONS)
def test_what_was_made_for_something_else_is_not_kept(house, ann, key, lies):
    options = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    answer = house.post("/passkeys", {"credential": key.create(options, **lies)}, token=ann["access_token"])
    assert (answer.status, answer.code, answer.json["errors"][0]["field"]) == (400, "validation_failed", "credential")
    assert count(Passkey) == count(SpentChallenge) == 0


def test_a_registration_is_for_the_session_that_asked_and_once(house, ann, key):
    other = house.member("bob@example.com")
    options = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    made = {"credential": key.create(options)}
    assert house.post("/passkeys", made, token=other["access_token"]).status == 400
    assert house.post("/passkeys", made, token=ann["access_token"]).status == 201
    assert house.post("/passkeys", made, token=ann["access_token"]).json["errors"][0]["code"] == "used"
    theirs = house.post("/passkeys/options", {}, token=other["access_token"]).json
    again = house.post("/passkeys", {"credential": key.create(theirs)}, token=other["access_token"])
    assert again.json["errors"][0]["code"] == "taken"


@pytest.mark.parametrize("made", [{"fmt": "none"}, [[]] * 9, "x", {"fmt": "none", "attStmt": {}, "authData": b"short"}, {1: 2}])
def test_bytes_that_are_no_attestation_are_refused(house, ann, key, made):
    options = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    credential = key.create(options)
    credential["response"]["attestationObject"] = bytes_to_base64url(cbor2.dumps(made))
    assert house.post("/passkeys", {"credential": credential}, token=ann["access_token"]).code == "validation_failed"


SHOWS = {
    "another origin": {"origin": "https://evil.example.com"},
    "another domain": {"rp_id": "example.com"},
    "another ceremony": {"type": "webauthn.create"},
    "a frame of another site": {"crossOrigin": True},
    "a challenge that is not ours": {"challenge": "AAAA" * 18},
    "nobody there": {"flags": 0},
    "nobody verified": {"flags": PRESENT},
    "another user": {"user_handle": b"f" * 32},
    "no user": {"user_handle": None},
    "copied since": {"kept": ELIGIBLE},
}


@pytest.mark.parametrize("lies", SHOWS.values(), ids=SHOWS)
def test_what_was_shown_for_something_else_opens_nothing(house, ann, key, lies):
    add_passkey(house, ann["access_token"], key)
    assert (sign_in(house, key, **lies).status, sign_in(house, key, **lies).code) == (401, "invalid_credentials")
    assert sign_in(house, Authenticator(ORIGIN)).code == "invalid_credentials"  # One that nobody has registered.
    assert is_me(house, sign_in(house, key))


def test_an_answer_counts_once_and_for_what_was_asked(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    shown = {"credential": key.get(house.post("/passkeys/sign-in/options").json)}
    assert house.post("/passkeys/sign-in", shown, token=ann["access_token"]).code == "invalid_credentials"  # Not for a step-up.
    assert house.post("/passkeys/sign-in", shown).status == 200
    assert house.post("/passkeys/sign-in", shown).code == "invalid_credentials"
    made = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    assert house.post("/passkeys/sign-in", {"credential": key.get(made)}).code == "invalid_credentials"
    step_up = house.post("/passkeys/sign-in/options", token=ann["access_token"]).json
    assert house.post("/passkeys/sign-in", {"credential": key.get(step_up)}).code == "invalid_credentials"


def test_a_challenge_is_over_after_ten_minutes(house, ann, key, moved_clock):
    add_passkey(house, ann["access_token"], key)
    shown = {"credential": key.get(house.post("/passkeys/sign-in/options").json)}
    moved_clock(limits.CEREMONY_SECONDS)
    assert house.post("/passkeys/sign-in", shown).code == "invalid_credentials"


@pytest.mark.parametrize("counter", [0, 5])
def test_a_counter_that_does_not_go_on_is_refused_and_told(house, ann, key, counter):
    key.counter = 4
    add_passkey(house, ann["access_token"], key)
    assert sign_in(house, key, counter=5).status == 200
    assert sign_in(house, key, counter=counter).code == "invalid_credentials"
    assert count(AuditEvent, AuditEvent.action == "passkey.cloned") == 1
    assert sign_in(house, key, counter=6).status == 200


def test_wrong_ones_come_out_of_a_budget_apart_from_passwords(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    assert [sign_in(house, key, origin="https://x.example").code for _ in range(6)] == ["invalid_credentials"] * 5 + ["too_many_attempts"]
    assert sign_in(house, key).code == "too_many_attempts"
    assert house.login("ann@example.com").status == 200


def test_who_may_not_sign_in_may_not_by_a_passkey_either(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    change_user(status="inactive")
    assert sign_in(house, key).code == "account_disabled"
    assert sign_in(house, key, flags=PRESENT).code in ("invalid_credentials", "account_disabled")


def test_it_is_the_second_factor_where_one_is_on(house, ann, key):
    house.turn_on_totp(ann["access_token"])
    pending = house.login("ann@example.com").json
    assert pending["methods"] == ["totp", "recovery_code"]
    refused = house.post("/passkeys/sign-in/options", {"mfa_token": pending["mfa_token"]})
    assert (refused.status, refused.code) == (400, "validation_failed")
    add_passkey(house, ann["access_token"], key)
    pending = house.login("ann@example.com").json
    assert pending["methods"] == ["totp", "passkey", "recovery_code"]
    options = house.post("/passkeys/sign-in/options", {"mfa_token": pending["mfa_token"]}).json
    assert ([one["id"] for one in options["allowCredentials"]], options["userVerification"]) == ([key.id], "preferred")
    answer = sign_in(house, key, mfa_token=pending["mfa_token"], flags=PRESENT, user_handle=None)
    assert is_me(house, answer)
    assert claims(answer)["amr"] == ["pwd", "hwk", "mfa"]
    assert house.post("/passkeys/sign-in/options", {"mfa_token": pending["mfa_token"]}).code == "mfa_ticket_expired"
    assert house.post("/verify-otp", {"mfa_token": "x", "method": "passkey", "code": "1"}).status == 401
    assert house.post("/reauthenticate", {"method": "passkey", "code": "1"}, token=answer.json["access_token"]).status == 401


def test_a_wrong_one_is_no_second_factor(house, ann, key):
    house.turn_on_totp(ann["access_token"])
    add_passkey(house, ann["access_token"], key)
    bob, theirs = house.member("bob@example.com"), Authenticator(ORIGIN)
    house.turn_on_totp(bob["access_token"])
    add_passkey(house, bob["access_token"], theirs)
    tickets = [house.login(f"{name}@example.com").json["mfa_token"] for name in ("ann", "bob")]
    assert sign_in(house, theirs, mfa_token=tickets[0]).code == "mfa_invalid_code"
    for_bob = key.get(house.post("/passkeys/sign-in/options", {"mfa_token": tickets[1]}).json)
    assert house.post("/passkeys/sign-in", {"credential": for_bob, "mfa_token": tickets[0]}).code == "mfa_invalid_code"
    alone = key.get(house.post("/passkeys/sign-in/options").json)
    assert house.post("/passkeys/sign-in", {"credential": alone, "mfa_token": tickets[0]}).code == "mfa_invalid_code"
    assert house.post("/passkeys/sign-in", {"credential": alone, "mfa_token": "unknown"}).code == "mfa_ticket_expired"
    assert is_me(house, sign_in(house, key, mfa_token=tickets[0]))


def test_without_user_verification_another_factor_follows(house, ann, key):
    app, _ = house.turn_on_totp(ann["access_token"])
    add_passkey(house, ann["access_token"], key)
    pending = sign_in(house, key, flags=PRESENT).json
    assert (pending["status"], pending["methods"]) == ("mfa_required", ["totp", "recovery_code"])
    assert house.post("/passkeys/sign-in/options", {"mfa_token": pending["mfa_token"]}).code == "validation_failed"
    answer = house.post("/verify-otp", {"mfa_token": pending["mfa_token"], "method": "totp", "code": code_of(app), "trust_device": True})
    assert claims(answer)["amr"] == ["hwk", "otp", "mfa"]
    options = house.post("/passkeys/sign-in/options").json  # A trusted device stands for a factor, but not beside a bare key.
    device = {"X-Device-Token": answer.json["device_token"]}
    assert house.post("/passkeys/sign-in", {"credential": key.get(options, flags=PRESENT)}, headers=device).json["status"] == "mfa_required"


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=1)
def test_with_user_verification_it_meets_a_required_second_factor(house, ann, key, moved_clock):
    add_passkey(house, ann["access_token"], key)
    moved_clock(2 * 86400)
    assert is_me(house, sign_in(house, key))


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=1)
def test_where_a_factor_is_required_a_password_beside_a_passkey_turns_none_on(house, ann, key, moved_clock):
    add_passkey(house, ann["access_token"], key)
    moved_clock(2 * 86400)
    pending = house.login("ann@example.com").json
    assert (pending["status"], pending["methods"]) == ("mfa_required", ["passkey"])
    ticket = {"mfa_token": pending["mfa_token"]}
    assert house.post("/mfa", ticket).code == "mfa_ticket_expired"
    assert house.post("/verify-otp", {**ticket, "method": "totp", "code": "123456"}).code == "validation_failed"
    options = house.post("/passkeys/sign-in/options", ticket).json
    answer = house.post("/passkeys/sign-in", {**ticket, "credential": key.get(options, flags=PRESENT)})
    assert claims(answer)["amr"] == ["pwd", "hwk", "mfa"]


def test_it_proves_again_who_is_signed_in(house, ann, key, moved_clock):
    add_passkey(house, ann["access_token"], key)
    moved_clock(301)
    token = ann["access_token"]
    assert house.post("/passkeys/options", {}, token=token).code == "reauthentication_required"
    assert house.post("/passkeys/sign-in/options", token=token).json["userVerification"] == "required"
    assert sign_in(house, key, token=token, flags=PRESENT).code == "invalid_credentials"
    answer = sign_in(house, key, token=token)
    assert answer.json["session_id"] == ann["session_id"]
    assert claims(answer)["amr"] == ["pwd", "hwk", "user", "mfa"]
    assert house.get("/profile", token=token).code == "token_revoked"
    assert house.post("/passkeys/options", {}, token=answer.json["access_token"]).status == 200


def test_somebody_elses_passkey_is_no_step_up(house, ann, key):
    bob = house.member("bob@example.com")
    add_passkey(house, bob["access_token"], key)
    refused = house.post("/passkeys/sign-in/options", token=ann["access_token"])
    assert (refused.status, refused.code, refused.json["methods"]) == (401, "reauthentication_required", ["password"])
    add_passkey(house, ann["access_token"], Authenticator(ORIGIN))
    assert sign_in(house, key, token=ann["access_token"]).code == "invalid_credentials"


def test_adding_and_removing_ends_what_ran_and_is_told(house, ann, key):
    other = house.login("ann@example.com").json
    made = add_passkey(house, ann["access_token"], key)
    assert house.mailbox.last("ann@example.com").subject == "A passkey was added"
    assert house.get("/profile", token=other["access_token"]).code == "token_revoked"
    other = sign_in(house, key).json
    assert house.patch(f"/passkeys/{made['id']}", {"name": "Old"}, token=ann["access_token"]).json == {"status": "renamed"}
    assert house.delete(f"/passkeys/{made['id']}", token=ann["access_token"]).json == {"status": "removed"}
    assert house.mailbox.last("ann@example.com").subject == "A passkey was removed"
    assert house.get("/profile", token=other["access_token"]).code == "token_revoked"
    assert sign_in(house, key).code == "invalid_credentials"
    assert house.get("/passkeys", token=ann["access_token"]).json == {"passkeys": []}


def test_somebody_elses_is_not_there(house, ann, key):
    made = add_passkey(house, ann["access_token"], key)
    bob = house.member("bob@example.com")["access_token"]
    assert house.patch(f"/passkeys/{made['id']}", {"name": "Mine"}, token=bob).status == 404
    assert house.delete(f"/passkeys/{made['id']}", token=bob).status == 404
    assert house.get("/passkeys", token=bob).json == {"passkeys": []}


def test_the_last_way_in_stays(house, ann, key):
    made = add_passkey(house, ann["access_token"], key)
    change_user(password_hash=None)
    assert house.delete(f"/passkeys/{made['id']}", token=ann["access_token"]).code == "last_way_in"
    second = add_passkey(house, ann["access_token"], Authenticator(ORIGIN))
    assert house.delete(f"/passkeys/{made['id']}", token=ann["access_token"]).status == 200
    assert house.delete(f"/passkeys/{second['id']}", token=ann["access_token"]).code == "last_way_in"


def test_there_are_at_most_so_many(house, ann, key, monkeypatch):
    monkeypatch.setattr(limits, "PASSKEYS", 2)
    for _ in range(2):
        add_passkey(house, ann["access_token"], Authenticator(ORIGIN))
    options = house.post("/passkeys/options", {}, token=ann["access_token"]).json
    answer = house.post("/passkeys", {"credential": key.create(options)}, token=ann["access_token"])
    assert (answer.status, answer.code) == (409, "too_many_passkeys")


def test_who_says_it_was_not_them_loses_no_old_one_and_no_new_one_stays(house, ann, key, moved_clock):
    add_passkey(house, ann["access_token"], key)
    moved_clock(limits.REMEDY_SECONDS + 60)
    token, thief = house.login("ann@example.com").json["access_token"], Authenticator(ORIGIN)
    add_passkey(house, token, thief)
    assert house.post(house.mailbox.last("ann@example.com").path).status == 200
    assert sign_in(house, thief).code == "invalid_credentials"
    assert is_me(house, sign_in(house, key))


def test_a_reset_of_lost_factors_removes_them(house, ann, key):
    add_passkey(house, ann["access_token"], key)
    mfa.reset("ann@example.com")
    assert sign_in(house, key).code == "invalid_credentials"
