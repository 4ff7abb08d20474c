"""Threats 15 to 19 against the real server: nothing gets past the second factor, and nothing wears it out."""

from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select, update

from domain import accounts, clock, secrets
from domain.database import reading, transaction
from model import Budget, Factor, RecoveryCode, Session
from resources.access import anyone, asking_client, scraping, whoever_signed_in
from resources.routes import ROUTES
from tests.attacks.acts import OTHER, aged, claims, count, factors_of, live_sessions_of, ticket, user_of, wide
from tests.visitor import PASSWORD, code_of

LIMIT = 5


@pytest.fixture
def owner(server, email):
    """Who has TOTP on and is signed in."""
    tokens = server.member(email)
    app, recovery_codes = server.turn_on_totp(tokens["access_token"])
    return {**tokens, "app": app, "recovery_codes": recovery_codes}


# Threat 15: a code works once.


def test_a_code_that_signed_in_is_used_up_everywhere(server, email, owner):
    code = code_of(owner["app"])
    assert _verify(server, ticket(server, email), code).status == 200
    assert _verify(server, ticket(server, email), code).code == "mfa_invalid_code"
    assert server.post("/reauthenticate", {"method": "totp", "code": code}, token=owner["access_token"]).code == "mfa_invalid_code"
    assert server.delete("/mfa", {"code": code}, token=owner["access_token"]).code == "mfa_invalid_code"
    assert factors_of(email) == 1


def test_a_code_that_turned_the_factor_on_is_used_up(server, email):
    token = server.member(email)["access_token"]
    code = code_of(pyotp.TOTP(server.post("/mfa", {}, token=token).json["secret"]))
    assert server.post("/mfa", {"code": code}, token=token).status == 200
    assert _verify(server, ticket(server, email), code).code == "mfa_invalid_code"


def test_after_a_code_an_older_one_is_dead(server, email, owner):
    assert _verify(server, ticket(server, email), code_of(owner["app"], 1)).status == 200
    assert _verify(server, ticket(server, email), code_of(owner["app"], 0)).code == "mfa_invalid_code"


def test_a_code_of_another_time_is_wrong(server, email, owner):
    for step in (-3, 3):
        assert _verify(server, ticket(server, email), code_of(owner["app"], step)).code == "mfa_invalid_code"


@pytest.mark.parametrize(
    "write",
    [
        wide,
        lambda code: "".join(chr(0x1D7CE + int(one)) for one in code),
        lambda code: code.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")),
        lambda code: code.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")),
        lambda code: f" {code[:3]} {code[3:]} ",
        lambda code: f"{code[:3]}\u00a0{code[3:]}\u3000",
    ],
    ids=["full width", "mathematical bold", "superscript", "subscript", "spaced", "with wide blanks"],
)
def test_a_code_is_the_same_in_every_script(server, email, owner, write):
    code = code_of(owner["app"])
    assert _verify(server, ticket(server, email), write(code)).status == 200
    assert _verify(server, ticket(server, email), code).code == "mfa_invalid_code"
    assert server.post("/reauthenticate", {"method": "totp", "code": write(code)}, token=owner["access_token"]).code == "mfa_invalid_code"


def test_mailed_codes_too_may_be_in_any_script(server, email):
    server.sign_up(email)
    assert server.post("/confirm", {"email": email, "code": f" {wide(server.mailbox.last(email).code)}"}).json == {"status": "confirmed"}
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    assert server.post("/verify-otp", {"otp_token": token, "code": wide(server.mailbox.last(email).code)}).status == 200


@pytest.mark.parametrize("write", [int, float, lambda code: [code], lambda code: {"code": code}, lambda _: True, lambda _: None])
def test_a_code_that_is_no_text_is_malformed(server, email, owner, write):
    answer = _verify(server, ticket(server, email), write("123456"))
    assert (answer.status, answer.code) == (400, "validation_failed")


@pytest.mark.parametrize("code", ["", "0", "00000", "0000000", "-12345", "1e5000", "0x1234", "+12345", "१२३४५६", "٠١٢٣٤٥", "a" * 65])
def test_what_is_no_code_is_refused(server, email, owner, code):
    answer = _verify(server, ticket(server, email), code)
    assert answer.status in (400, 401)
    assert live_sessions_of(email) == 1


# Threat 16: the guesses are counted, come what may.


def test_a_new_ticket_a_new_sign_in_and_a_new_code_bring_no_new_guesses(server, email, owner):
    for _ in range(LIMIT):
        assert _verify(server, ticket(server, email), "000000").code == "mfa_invalid_code"
    mine = ticket(server, email)
    assert _verify(server, mine, code_of(owner["app"])).code == "too_many_attempts"
    for path in ("/login", "/auth/login"):
        again = server.post(path, {"email": email.upper(), "password": PASSWORD}).json["mfa_token"]
        assert _verify(server, again, code_of(owner["app"])).code == "too_many_attempts"
    assert _verify(server, mine, owner["recovery_codes"][0], "recovery_code").code == "too_many_attempts"


def test_a_mailbox_alone_buys_no_new_guesses(server, email, owner):
    tickets = [_ticket_by_mail(server, email)]
    for number in range(LIMIT - 1):
        assert _verify(server, tickets[-1], "000000").code in ("mfa_invalid_code", "too_many_attempts")
        if number % 2:
            token = server.post("/send-otp", {"email": email}).json["otp_token"]
            answer = server.post("/verify-otp", {"otp_token": token, "code": server.mailbox.last(email).code})
            tickets.append(answer.json.get("mfa_token", tickets[-1]))
    assert _verify(server, tickets[-1], "000000").code == "too_many_attempts"


def test_a_new_sign_in_by_a_trusted_device_buys_no_new_guesses(server, email, owner):
    """Who has stolen the password and such a device may open as many sessions as they like."""
    known = {"X-Device-Token": owner["device_token"]}
    proof = {"mfa_token": ticket(server, email), "method": "totp", "code": code_of(owner["app"]), "trust_device": True}
    assert server.post("/verify-otp", proof, headers=known).status == 200
    for guesses in (3, 2):
        token = server.login(email, headers=known).json["access_token"]
        for _ in range(guesses):
            assert server.post("/reauthenticate", {"method": "totp", "code": "000000"}, token=token).code == "mfa_invalid_code"
    newer = server.login(email, headers=known).json["access_token"]
    right = {"method": "recovery_code", "code": owner["recovery_codes"][0]}
    assert server.post("/reauthenticate", right, token=newer).code == "too_many_attempts"
    _forgive(email)
    assert server.post("/reauthenticate", right, token=newer).status == 200


def test_a_new_mailed_code_brings_no_new_guesses(server, email):
    token = server.member(email)["access_token"]
    _turn_on_mail(server, email, token)
    mine = ticket(server, email)
    for _ in range(LIMIT):
        assert server.post("/send-otp", {"mfa_token": mine, "method": "email"}).status == 202
        assert _verify(server, mine, "abcdef", "email").code == "mfa_invalid_code"
    server.post("/send-otp", {"mfa_token": mine, "method": "email"})
    assert _verify(server, mine, server.mailbox.last(email).code, "email").code == "too_many_attempts"


def test_a_mailed_code_stands_five_wrong_tries(server, email):
    server.join(email)
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    code = server.mailbox.last(email).code
    for _ in range(LIMIT):
        assert server.post("/verify-otp", {"otp_token": token, "code": "abcdef"}).code == "mfa_invalid_code"
    _forgive(email)
    assert server.post("/verify-otp", {"otp_token": token, "code": code}).code == "mfa_invalid_code"


def test_an_intruders_own_factor_clears_nothing(server, email, owner):
    mine = f"intruder.{email}"
    theirs = server.member(mine)
    _, codes = server.turn_on_totp(theirs["access_token"])
    for number in range(LIMIT):
        assert _verify(server, ticket(server, email), "000000").code == "mfa_invalid_code"
        assert _verify(server, ticket(server, mine), codes[number], "recovery_code").status == 200
    assert _verify(server, ticket(server, email), "000000").code == "too_many_attempts"


def test_somebody_elses_code_is_wrong(server, email, owner):
    mine = f"intruder.{email}"
    app, codes = server.turn_on_totp(server.member(mine)["access_token"])
    assert _verify(server, ticket(server, email), code_of(app)).code == "mfa_invalid_code"
    assert _verify(server, ticket(server, email), codes[0], "recovery_code").code == "mfa_invalid_code"
    assert _verify(server, ticket(server, mine), owner["recovery_codes"][0], "recovery_code").code == "mfa_invalid_code"


# Threat 17: nothing skips the factor.


def test_a_reset_does_not_skip_the_factor(server, email, owner):
    server.post("/forgot-password", {"email": email})
    answer = server.post(server.mailbox.last(email).path, {"password": OTHER})
    assert answer.json == {"status": "password_reset"}
    assert answer.cookies == {}
    assert server.login(email, OTHER).json["status"] == "mfa_required"


def test_a_confirmation_does_not_skip_the_factor(server, email):
    server.sign_up(email)
    first = server.mailbox.last(email).path
    server.sign_up(email, OTHER)
    second = server.mailbox.last(email).path
    assert server.post(first).status == 200
    server.turn_on_totp(server.login(email).json["access_token"])
    for path in (first, second):
        answer = server.post(path)
        assert (set(answer.json) & {"access_token", "session_id"}, answer.cookies) == (set(), {})
    assert server.login(email, OTHER).code == "invalid_credentials"
    assert server.login(email).json["status"] == "mfa_required"


def test_a_mailed_code_does_not_skip_the_factor(server, email, owner):
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    answer = server.post("/verify-otp", {"otp_token": token, "code": server.mailbox.last(email).code})
    assert (answer.json["status"], answer.json["methods"]) == ("mfa_required", ["totp", "recovery_code"])


def test_a_mailed_code_is_no_second_factor_after_a_mailed_first(server, email):
    token = server.member(email)["access_token"]
    codes = _turn_on_mail(server, email, token)
    mine = server.post("/send-otp", {"email": email}).json["otp_token"]
    answer = server.post("/verify-otp", {"otp_token": mine, "code": server.mailbox.last(email).code}).json
    assert answer["methods"] == ["recovery_code"]
    assert server.post("/send-otp", {"mfa_token": answer["mfa_token"], "method": "email"}).code == "validation_failed"
    assert _verify(server, answer["mfa_token"], "123456", "email").code == "validation_failed"
    assert _verify(server, answer["mfa_token"], codes[0], "recovery_code").status == 200


def test_a_mailed_code_is_no_step_up_after_a_mailed_sign_in_on_a_trusted_device(server, email):
    token = server.member(email)["access_token"]
    _turn_on_mail(server, email, token)
    waiting = ticket(server, email)
    server.post("/send-otp", {"mfa_token": waiting, "method": "email"})
    proof = {"mfa_token": waiting, "method": "email", "code": server.mailbox.last(email).code, "trust_device": True}
    device = {"X-Device-Token": server.post("/verify-otp", proof).json["device_token"]}
    mine = server.post("/send-otp", {"email": email}).json["otp_token"]
    answer = server.post("/verify-otp", {"otp_token": mine, "code": server.mailbox.last(email).code}, headers=device).json
    assert (answer["status"], claims(answer["access_token"])["amr"]) == ("signed_in", ["email"])
    refused = server.post("/mfa", {}, token=answer["access_token"])
    assert (refused.code, refused.json["methods"]) == ("reauthentication_required", ["recovery_code"])
    assert server.post("/send-otp", {"method": "email"}, token=answer["access_token"]).code == "validation_failed"
    step_up = server.post("/reauthenticate", {"method": "email", "code": "123456"}, token=answer["access_token"])
    assert (step_up.code, step_up.json["methods"]) == ("reauthentication_required", ["recovery_code"])


def test_a_refresh_does_not_stand_for_the_factor(server, email, owner):
    device = {"X-Device-Token": _verify(server, ticket(server, email), code_of(owner["app"]), trust_device=True).json["device_token"]}
    tokens = server.login(email, headers=device).json
    newer = server.post("/refresh", token=tokens["refresh_token"]).json
    assert claims(newer["access_token"])["amr"] == ["pwd"]
    assert server.post("/mfa", {}, token=newer["access_token"]).code == "reauthentication_required"


def test_the_ticket_of_a_sign_in_opens_no_route_of_the_table(server, email, owner):
    mine = ticket(server, email)
    for row in ROUTES:
        if row.access in (anyone, whoever_signed_in, scraping):
            continue
        for url in row.urls:
            answer = server.request(row.method, _filled(url), token=mine)
            refusal = "invalid_client" if row.access is asking_client else "token_invalid"
            assert (answer.status, answer.code) == (401, refusal), (row.method, url)
    assert server.get("/auth/status", token=mine).json == {"authenticated": False}


def test_the_ticket_of_a_sign_in_is_no_other_token(server, email, owner):
    mine = ticket(server, email)
    assert server.post("/verify-otp", {"otp_token": mine, "code": code_of(owner["app"])}).code == "mfa_invalid_code"
    assert server.post("/api/password/reset", {"token": mine, "password": OTHER}).code == "link_invalid"
    assert server.post(f"/reset-password/{mine}", {"password": OTHER}).code == "link_invalid"
    assert server.post(f"/confirm/{mine}").code == "link_invalid"
    assert server.post("/mfa", {"mfa_token": mine}).status == 401
    assert server.login(email, headers={"X-Device-Token": mine}).json["status"] == "mfa_required"


def test_a_ticket_is_spent_by_its_sign_in(server, email, owner):
    mine = ticket(server, email)
    assert _verify(server, mine, owner["recovery_codes"][0], "recovery_code").status == 200
    assert _verify(server, mine, owner["recovery_codes"][1], "recovery_code").code == "mfa_ticket_expired"
    assert _verify(server, mine + "x", owner["recovery_codes"][1], "recovery_code").code == "mfa_ticket_expired"


def test_a_ticket_of_a_disabled_account_is_dead(server, email, owner):
    mine = ticket(server, email)
    accounts.deactivate(email)
    assert _verify(server, mine, code_of(owner["app"])).code == "mfa_ticket_expired"


def test_a_trusted_device_stands_for_the_factor_of_its_own_user_only(server, email, owner):
    mine = f"intruder.{email}"
    app, _ = server.turn_on_totp(server.member(mine)["access_token"])
    device = {"X-Device-Token": _verify(server, ticket(server, mine), code_of(app), trust_device=True).json["device_token"]}
    assert server.login(mine, headers=device).json["status"] == "signed_in"
    assert server.login(email, headers=device).json["status"] == "mfa_required"


# Threat 18: changing factors asks for a recent sign-in with one.


def test_every_change_of_factors_asks_for_a_recent_sign_in(server, email, owner):
    old, factor = aged(owner["access_token"]), server.get("/mfa", token=owner["access_token"]).json["methods"][0]["id"]
    code = code_of(owner["app"])
    changes = [
        ("POST", "/mfa", {}),
        ("POST", "/mfa", {"name": "Mine"}),
        ("POST", "/mfa", {"code": code}),
        ("POST", "/mfa", {"method": "email"}),
        ("POST", "/mfa", {"method": "email", "code": code}),
        ("POST", "/mfa", {"current_password": PASSWORD}),
        ("PATCH", f"/mfa/{factor}", {"name": "Mine"}),
        ("DELETE", f"/mfa/{factor}", {}),
        ("DELETE", f"/mfa/{factor}", {"current_password": PASSWORD}),
        ("DELETE", "/mfa", {"code": code}),
        ("DELETE", "/mfa", {"code": code, "current_password": PASSWORD}),
        ("POST", "/mfa/recovery-codes", {"code": code}),
    ]
    for method, path, body in changes:
        answer = server.request(method, path, body, token=old)
        assert (answer.status, answer.code) == (401, "reauthentication_required"), (method, path, body)
        assert answer.json["methods"] == ["totp", "recovery_code"]
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_user_authentication", max_age=300'
    assert server.get("/mfa", token=old).json["methods"][0]["name"] == "Authenticator app"
    assert server.post("/reauthenticate", {"method": "totp", "code": code}, token=old).status == 200  # The code is still unspent.


def test_without_a_factor_an_old_sign_in_needs_the_password(server, email):
    old = aged(server.member(email)["access_token"])
    assert server.post("/mfa", {}, token=old).json["methods"] == ["password"]
    assert server.post("/mfa", {"current_password": OTHER}, token=old).code == "invalid_credentials"
    assert server.post("/mfa", {"current_password": PASSWORD}, token=old).json["status"] == "setup"


def test_turning_all_off_and_new_recovery_codes_ask_for_a_code(server, email, owner):
    for method, path in (("DELETE", "/mfa"), ("POST", "/mfa/recovery-codes")):
        for body in ({}, {"current_password": PASSWORD}):
            answer = server.request(method, path, body, token=owner["access_token"])
            assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", "code")
        assert server.request(method, path, {"code": "000000"}, token=owner["access_token"]).code == "mfa_invalid_code"
    assert factors_of(email) == 1
    assert server.get("/mfa", token=owner["access_token"]).json["recovery_codes_left"] == 10


def test_a_factor_that_was_not_proven_does_not_count(server, email):
    token = server.member(email)["access_token"]
    assert server.post("/mfa", {}, token=token).json["status"] == "setup"
    assert server.login(email).json["status"] == "signed_in"
    assert server.get("/mfa", token=token).json == {"enabled": False, "methods": [], "recovery_codes_left": 0}


def test_a_half_made_second_app_does_not_replace_the_first(server, email, owner):
    import_of_another = server.post("/mfa", {}, token=owner["access_token"]).json["secret"]
    assert _verify(server, ticket(server, email), type(owner["app"])(import_of_another).now()).code == "mfa_invalid_code"
    assert _verify(server, ticket(server, email), code_of(owner["app"])).status == 200


def test_turning_a_factor_on_ends_the_other_sessions_and_tickets(server, email, owner):
    other = _verify(server, ticket(server, email), code_of(owner["app"])).json
    waiting = ticket(server, email)
    _turn_on_mail(server, email, owner["access_token"])
    assert server.get("/mfa", token=other["access_token"]).code == "token_revoked"
    assert server.post("/refresh", token=other["refresh_token"]).code == "token_revoked"
    assert _verify(server, waiting, code_of(owner["app"], 1)).code == "mfa_ticket_expired"


def test_a_refresh_renews_no_auth_time(server, email, owner):
    earlier = clock.now() - timedelta(minutes=10)
    with transaction() as db:
        db.execute(update(Session).where(Session.id == owner["session_id"]).values(authenticated_at=earlier))
    newer = server.post("/refresh", token=owner["refresh_token"]).json["access_token"]
    assert claims(newer)["auth_time"] == int(earlier.timestamp())


def test_a_code_for_a_step_up_is_good_for_the_session_that_asked(server, email):
    token = server.member(email)["access_token"]
    codes = _turn_on_mail(server, email, token)
    other = _verify(server, ticket(server, email), codes[0], "recovery_code").json["access_token"]
    assert server.post("/send-otp", {"method": "email"}, token=token).status == 202
    proof = {"method": "email", "code": server.mailbox.last(email).code}
    assert server.post("/reauthenticate", proof, token=other).code == "mfa_invalid_code"
    assert _verify(server, ticket(server, email), proof["code"], "email").code == "mfa_invalid_code"
    assert server.delete("/mfa", {**proof}, token=other).code == "mfa_invalid_code"
    assert server.post("/reauthenticate", proof, token=token).status == 200


def test_with_a_factor_on_the_password_is_no_step_up(server, email, owner):
    answer = server.post("/reauthenticate", {"password": PASSWORD}, token=owner["access_token"])
    assert (answer.code, answer.json["methods"]) == ("reauthentication_required", ["totp", "recovery_code"])


# Threat 19: recovery codes and secrets, as they are kept.


def test_recovery_codes_and_secrets_are_not_stored_as_they_are(server, email):
    token = server.member(email)["access_token"]
    secret = server.post("/mfa", {}, token=token).json["secret"]
    with reading() as db:
        factor = db.scalars(select(Factor).where(Factor.user_id == user_of(email).id)).one()
    assert secret.encode() not in factor.secret_encrypted
    _, codes = server.turn_on_totp(token)
    with reading() as db:
        stored = list(db.scalars(select(RecoveryCode.code_hash).where(RecoveryCode.user_id == user_of(email).id)))
    assert len(set(stored)) == len(set(codes)) == 10
    assert not {code.replace("-", "") for code in codes} & set(stored)
    assert {len(one) for one in stored} == {64}


def test_a_recovery_code_works_once_and_however_it_is_typed(server, email, owner):
    typed = owner["recovery_codes"][0].replace("-", " ").upper()
    assert _verify(server, ticket(server, email), typed, "recovery_code").status == 200
    for again in (typed, owner["recovery_codes"][0], owner["recovery_codes"][0].replace("-", "")):
        assert _verify(server, ticket(server, email), again, "recovery_code").code == "mfa_invalid_code"


def test_a_new_set_kills_the_old_one(server, email, owner):
    new = server.post("/mfa/recovery-codes", {"code": code_of(owner["app"])}, token=owner["access_token"]).json["recovery_codes"]
    for code in owner["recovery_codes"][:LIMIT]:
        assert _verify(server, ticket(server, email), code, "recovery_code").code == "mfa_invalid_code"
    _forgive(email)
    assert _verify(server, ticket(server, email), new[0], "recovery_code").status == 200
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 10


def test_with_the_last_factor_the_recovery_codes_go(server, email, owner):
    assert server.delete("/mfa", {"code": code_of(owner["app"])}, token=owner["access_token"]).status == 200
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 0
    assert server.login(email).json["status"] == "signed_in"


def _verify(server, mfa_token, code, method="totp", **more):
    return server.post("/verify-otp", {"mfa_token": mfa_token, "method": method, "code": code, **more})


def _ticket_by_mail(server, email):
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    return server.post("/verify-otp", {"otp_token": token, "code": server.mailbox.last(email).code}).json["mfa_token"]


def _turn_on_mail(server, email, token):
    server.post("/mfa", {"method": "email"}, token=token)
    answer = server.post("/mfa", {"method": "email", "code": server.mailbox.last(email).code}, token=token)
    assert answer.status == 200, answer.body
    return answer.json["recovery_codes"]


def _forgive(email):
    """As if the pause were over."""
    name = secrets.hashed(accounts.budget_name(user_of(email), email))
    with transaction() as db:
        db.execute(update(Budget).where(Budget.account == name).values(blocked_until_epoch=clock.epoch(), failures=0))


def _filled(url):
    return "/".join("some-value" if part.startswith("<") else part for part in url.split("/"))
