"""Threats 10, 11 and 13 against the real server: one failure budget for each account, exact, and no weapon against its owner.

How long the pauses are is in `test_lockout`; that no restart and no empty Redis ends them, in `test_throttling_lasts`.
"""

import time
from collections import Counter

import pytest
from sqlalchemy import update

from domain import accounts, clock, secrets
from domain.database import transaction
from model import Budget
from resources import credentials
from resources.base import operation_of
from resources.routes import ROUTES
from tests.attacks.acts import OTHER, account, claims, mails_of, statuses, ticket, user_of, wide
from tests.serving import at_once
from tests.visitor import PASSWORD, code_of

LIMIT = 5
# What the fields of a body may hold besides the password, and the parts of a path.
FIELDS = {"new_password": OTHER, "name": "a-name", "code": "000000", "method": "email", "email": "new@example.com"}
MADE = {"clientDataJSON": "AA", "attestationObject": "AA"}
FIELDS |= {"credential": {"id": "AA", "rawId": "AA", "type": "public-key", "response": MADE}}
FIELDS |= {"permissions": [], "service_id": "a-service", "is_active": True}
OF_SHAPES = {"PermissionIn": {"name": "notes:read"}}  # Where a name means something else.
PARTS = {"<id>": "an-id", "<provider>": "google"}


def _asking_for_the_password():
    """Every operation of a signed-in user whose body may hold the password, by method, path and shape."""
    for row in ROUTES:
        for shape in operation_of(row).shapes:
            needs_session = row.access.look is credentials.whoever
            field = next((one for one in shape.model_fields if one == "current_password" or (one == "password" and needs_session)), None)
            if field:
                fields = FIELDS | OF_SHAPES.get(shape.__name__, {})
                needed = {name: fields[name] for name, about in shape.model_fields.items() if about.is_required() and name != field}
                path = "/".join(PARTS.get(part, part) for part in row.urls[0].split("/"))
                yield (row.method, row.urls[0], shape.__name__), _asking(row.method, path, needed, field)


def _asking(method, path, body, field):
    return lambda server, token, password: server.request(method, path, {**body, field: password}, token=token)


ASKING_FOR_THE_PASSWORD = dict(_asking_for_the_password())


def test_every_spelling_of_an_account_has_the_same_budget(server, email):
    name = email[:12]
    server.join(email, username=name)
    as_written = email.replace("example", wide("example"))
    guesses = [{"email": email}, {"email": email.upper()}, {"username": name}, {"username": name.upper()}, {"email": as_written}]
    began = time.monotonic()
    for guess in guesses:
        assert server.post("/login", {**guess, "password": OTHER}).code == "invalid_credentials"
    for path in ("/login", "/api/auth/login", "/auth/login"):
        for guess in guesses:
            answer = server.post(path, {**guess, "password": PASSWORD})
            assert (answer.status, answer.code) == (429, "too_many_attempts")
            assert 59 - (time.monotonic() - began) <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("asking", ASKING_FOR_THE_PASSWORD, ids=" ".join)
def test_a_wrong_password_is_counted_wherever_a_session_is_asked_for_it(server, email, asking):
    accounts.create(email, PASSWORD, admin=True)  # Administrators are asked at rows of theirs.
    token = server.login(email).json["access_token"]
    ask, other = ASKING_FOR_THE_PASSWORD[asking], ASKING_FOR_THE_PASSWORD["POST", "/reauthenticate", "ByPassword"]
    for use in [ask] * (LIMIT - 1) + [other]:
        assert use(server, token, OTHER).code == "invalid_credentials"
    for use in (ask, other):
        assert use(server, token, PASSWORD).code == "too_many_attempts"
    assert server.login(email).status == 200


def test_every_operation_that_asks_a_session_for_a_code_has_the_same_budget(server, email):
    token = server.member(email)["access_token"]
    app, _ = server.turn_on_totp(token)
    server.post("/mfa", {}, token=token)
    server.post("/mfa", {"method": "email"}, token=token)
    guesses = [
        ("POST", "/reauthenticate", {"method": "totp"}),
        ("POST", "/reauthenticate", {"method": "recovery_code"}),
        ("DELETE", "/mfa", {}),
        ("POST", "/mfa/recovery-codes", {}),
        ("POST", "/mfa", {}),
        ("POST", "/mfa", {"method": "email"}),
        ("DELETE", "/mfa", {"method": "recovery_code"}),
    ]
    for first in range(0, len(guesses), LIMIT):
        wrong = [server.request(method, path, {**body, "code": "000000"}, token=token) for method, path, body in guesses[first:][:LIMIT]]
        assert {one.code for one in wrong} == {"mfa_invalid_code"}
        for _ in range(LIMIT - len(wrong)):
            server.request("DELETE", "/mfa", {"code": "000000"}, token=token)
        right = [server.request(method, path, {**body, "code": code_of(app)}, token=token).code for method, path, body in guesses]
        assert right == ["too_many_attempts"] * len(guesses)
        accounts.unlock(email)


def test_every_operation_that_asks_a_stranger_for_a_code_has_the_same_budget(server, email):
    tokens = server.member(email)
    app, _ = server.turn_on_totp(tokens["access_token"])
    mailed = server.post("/send-otp", {"email": email}).json["otp_token"]
    mine = ticket(server, email)
    guesses = [
        ("/confirm", {"email": email}),
        ("/verify-otp", {"otp_token": mailed}),
        ("/verify-otp", {"mfa_token": mine, "method": "totp"}),
        ("/verify-otp", {"mfa_token": mine, "method": "recovery_code"}),
    ]
    for path, body in [*guesses, guesses[0]]:
        assert server.post(path, {**body, "code": "abcdef"}).code == "mfa_invalid_code"
    for path, body in guesses:
        assert server.post(path, {**body, "code": code_of(app)}).code == "too_many_attempts"
    known = {"X-Device-Token": tokens["device_token"]}
    right = {"mfa_token": mine, "method": "totp", "code": code_of(app)}
    assert server.post("/verify-otp", right, headers=known).json["status"] == "signed_in"


def test_of_two_hundred_guesses_at_once_no_more_are_judged_than_the_limit(server, email):
    account(email)
    answers = at_once(200, lambda number: server.login(email, f"guess number {number} of many"))
    assert Counter(one.code for one in answers) == {"invalid_credentials": LIMIT, "too_many_attempts": 200 - LIMIT}


def test_an_address_that_nobody_has_is_guessed_at_as_little(server, email):
    answers = at_once(60, lambda number: server.login(email.upper() if number % 2 else email, f"guess number {number} of many"))
    assert Counter(one.code for one in answers) == {"invalid_credentials": LIMIT, "too_many_attempts": 60 - LIMIT}


def test_of_many_codes_at_once_no_more_are_judged_than_the_limit(server, email):
    server.turn_on_totp(server.member(email)["access_token"])
    tickets = [ticket(server, email) for _ in range(10)]
    proofs = [{"mfa_token": tickets[number % 10], "method": "totp", "code": f"{number:06}"} for number in range(60)]
    answers = at_once(60, lambda number: server.post("/verify-otp", proofs[number]))
    assert Counter(one.code for one in answers) == {"mfa_invalid_code": LIMIT, "too_many_attempts": 60 - LIMIT}


def test_of_many_confirmation_codes_at_once_no_more_are_judged_than_the_limit(server, email):
    server.sign_up(email)
    answers = at_once(40, lambda number: server.post("/confirm", {"email": email, "code": f"{number:06}"}))
    assert Counter(one.code for one in answers) == {"mfa_invalid_code": LIMIT, "too_many_attempts": 40 - LIMIT}
    assert server.post(server.mailbox.last(email).path).status == 200


def test_of_many_guesses_in_one_session_no_more_are_judged_than_the_limit(server, email):
    token = server.member(email)["access_token"]
    answers = at_once(40, lambda number: server.post("/reauthenticate", {"password": f"guess {number}"}, token=token))
    assert Counter(one.code for one in answers) == {"invalid_credentials": LIMIT, "too_many_attempts": 40 - LIMIT}


def test_an_intruders_own_success_clears_nothing(server, email):
    account(email)
    mine = f"intruder.{email}"
    account(mine)
    known = {"X-Device-Token": server.login(mine).json["device_token"]}
    for _ in range(LIMIT):
        assert server.login(email, OTHER, headers=known).code == "invalid_credentials"
        assert server.login(mine, headers=known).status == 200
        assert server.login(mine).status == 200
    assert server.login(email, OTHER, headers=known).code == "too_many_attempts"


def test_a_device_token_that_is_none_of_theirs_gives_no_budget_of_its_own(server, email):
    account(email)
    mine = f"intruder.{email}"
    account(mine)
    tokens = [server.login(mine).json["device_token"] for _ in range(3)] + [secrets.token(), "", "x" * 5000]
    codes = [server.login(email, OTHER, headers={"X-Device-Token": one}).code for one in tokens]
    assert codes == ["invalid_credentials"] * LIMIT + ["too_many_attempts"]


def test_while_strangers_are_out_the_owner_is_not(server, email):
    tokens = server.member(email)
    known = {"X-Device-Token": tokens["device_token"]}
    _shut_out(server, email)
    assert server.login(email).code == "too_many_attempts"
    assert server.login(email, headers=known).status == 200
    assert server.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]).status == 200
    for _ in range(LIMIT):
        assert server.login(email, OTHER, headers=known).code == "invalid_credentials"
    assert server.login(email, headers=known).code == "too_many_attempts"
    assert server.post("/refresh", token=tokens["refresh_token"]).status == 200


def test_a_reset_lets_the_owner_in_again(server, email):
    account(email)
    _shut_out(server, email)
    server.post("/forgot-password", {"email": email})
    assert server.post(server.mailbox.last(email).path, {"password": OTHER}).status == 200
    assert server.login(email, OTHER).status == 200


def test_strangers_who_keep_asking_for_resets_do_not_keep_the_owner_from_one(server, email):
    account(email)
    for _ in range(12):  # More than MAIL_LIMIT.
        assert server.post("/forgot-password", {"email": email}).status == 202
    assert mails_of(email, "queued") == 10
    link = server.mailbox.last(email).path
    assert server.post("/forgot-password", {"email": email}).status == 202
    assert server.post(link, {"password": OTHER}).status == 200


def test_strangers_who_fill_a_mailbox_do_not_keep_the_owner_from_their_codes(server, email):
    tokens = server.member(email)
    server.post("/mfa", {"method": "email"}, token=tokens["access_token"])
    proof = {"method": "email", "code": server.mailbox.last(email).code}
    assert server.post("/mfa", proof, token=tokens["access_token"]).json["status"] == "enabled"
    for _ in range(12):
        server.post("/send-otp", {"email": email})
    mine = {"mfa_token": ticket(server, email), "method": "email"}
    assert server.post("/send-otp", mine).status == 202
    assert server.post("/verify-otp", {**mine, "code": server.mailbox.last(email).code}).json["status"] == "signed_in"


def test_after_a_hundred_in_a_row_only_a_reset_or_the_operator_helps(server, email):
    known = {"X-Device-Token": server.member(email)["device_token"]}
    for _ in range(100 // LIMIT):
        _shut_out(server, email)
        _let_time_pass(email)
    assert server.login(email).code == "too_many_attempts"
    assert server.login(email, headers=known).status == 200
    assert server.login(email).code == "too_many_attempts"
    accounts.unlock(email)
    assert server.login(email).status == 200


def test_passwords_and_codes_are_counted_apart(server, email):
    server.turn_on_totp(server.member(email)["access_token"])
    mine = ticket(server, email)
    _shut_out(server, email)
    for _ in range(LIMIT):
        assert server.post("/verify-otp", {"mfa_token": mine, "method": "totp", "code": "000000"}).code == "mfa_invalid_code"
    assert server.post("/verify-otp", {"mfa_token": mine, "method": "totp", "code": "000000"}).code == "too_many_attempts"


def test_codes_and_passwords_are_counted_apart(server, email):
    server.turn_on_totp(server.member(email)["access_token"])
    mine = ticket(server, email)
    for _ in range(LIMIT):
        assert server.post("/verify-otp", {"mfa_token": mine, "method": "totp", "code": "000000"}).code == "mfa_invalid_code"
    assert server.login(email).json["status"] == "mfa_required"


def test_a_refused_right_password_tells_nothing(server, email):
    account(email)
    _shut_out(server, email)
    right, wrong = server.login(email), server.login(email, OTHER)
    assert right.json | {"request_id": ""} == wrong.json | {"request_id": ""}
    assert statuses([right, wrong]) == {429: 2}


def test_a_refresh_and_a_step_up_leave_the_sessions_count_as_it_is(server, email):
    tokens = server.member(email)
    for _ in range(LIMIT - 1):
        server.post("/reauthenticate", {"password": OTHER}, token=tokens["access_token"])
    newer = server.post("/refresh", token=tokens["refresh_token"]).json
    assert claims(newer["access_token"])["sid"] == claims(tokens["access_token"])["sid"]
    assert server.post("/reauthenticate", {"password": OTHER}, token=newer["access_token"]).code == "invalid_credentials"
    assert server.post("/reauthenticate", {"password": OTHER}, token=newer["access_token"]).code == "too_many_attempts"


def _shut_out(server, email):
    for _ in range(LIMIT):
        assert server.login(email, OTHER).code == "invalid_credentials"


def _let_time_pass(email):
    """As if the pause were over."""
    name = secrets.hashed(accounts.budget_name(user_of(email), email))
    with transaction() as db:
        db.execute(update(Budget).where(Budget.account == name).values(blocked_until_epoch=clock.epoch()))
