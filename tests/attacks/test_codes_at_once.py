"""Threats 15, 18 and 19, RACE, against the real server: a code, a ticket and a set of recovery codes are worth one success.

The failure budget is out of the way here, so that every one of the parallel tries is judged.
"""

from collections import Counter

import pyotp
import pytest
from sqlalchemy import select, update

from domain import secrets, tickets
from domain.database import reading, transaction
from model import Code, RecoveryCode
from tests.attacks.acts import count, factors_of, live_sessions_of, statuses, ticket, user_of
from tests.serving import at_once
from tests.visitor import code_of, phone

SETTINGS = {
    "FAILED_ATTEMPTS_LIMIT": 1000,
    "MAX_SESSIONS_PER_USER": 100,
    "MAIL_LIMIT": "1000 per hour",
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
}
TIMES = 24


@pytest.fixture
def owner(server, email):
    """Who has TOTP on, is signed in, and has all recovery codes left."""
    tokens = server.member(email)
    app, recovery_codes = server.turn_on_totp(tokens["access_token"])
    return {"token": tokens["access_token"], "app": app, "recovery_codes": recovery_codes}


def test_one_code_at_many_sign_ins_gives_one_session(server, email, owner):
    waiting = [ticket(server, email) for _ in range(TIMES)]
    proof = {"method": "totp", "code": code_of(owner["app"])}
    answers = at_once(TIMES, lambda number: server.post("/verify-otp", {**proof, "mfa_token": waiting[number]}))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == 2


def test_one_code_at_many_step_ups_is_taken_once(server, email, owner):
    proof = {"method": "totp", "code": code_of(owner["app"])}
    answers = at_once(TIMES, lambda _: server.post("/reauthenticate", proof, token=owner["token"]))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}


def test_one_code_at_many_switches_turns_off_once(server, email, owner):
    code = code_of(owner["app"])
    answers = at_once(TIMES, lambda _: server.delete("/mfa", {"code": code}, token=owner["token"]))
    assert statuses(answers)[200] == 1
    assert factors_of(email) == 0
    notices = [one for one in server.mailbox.of(email) if "turned off" in one.subject]
    assert len(notices) == 1


def test_one_code_at_a_sign_in_a_step_up_and_for_new_recovery_codes_is_taken_once(server, email, owner):
    code, waiting = code_of(owner["app"]), [ticket(server, email) for _ in range(8)]

    def act(number):
        if number % 3 == 0:
            return server.post("/reauthenticate", {"method": "totp", "code": code}, token=owner["token"])
        if number % 3 == 1:
            return server.post("/mfa/recovery-codes", {"code": code}, token=owner["token"])
        return server.post("/verify-otp", {"mfa_token": waiting[number // 3], "method": "totp", "code": code})

    assert statuses(at_once(TIMES, act))[200] == 1


def test_many_proofs_of_a_new_factor_turn_it_on_once(server, email):
    token = server.member(email)["access_token"]
    app = pyotp.TOTP(server.post("/mfa", {}, token=token).json["secret"])
    code = code_of(app)
    answers = at_once(TIMES, lambda _: server.post("/mfa", {"code": code}, token=token))
    assert statuses(answers)[200] == 1
    assert factors_of(email) == 1
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 10


def test_many_codes_for_one_ticket_give_one_session(server, email, owner):
    proof = {"mfa_token": ticket(server, email), "method": "recovery_code"}
    codes = owner["recovery_codes"] * 2
    answers = at_once(20, lambda number: server.post("/verify-otp", {**proof, "code": codes[number]}))
    assert statuses(answers) == {200: 1, 401: 19}
    assert live_sessions_of(email) == 2
    assert server.get("/mfa", token=owner["token"]).json["recovery_codes_left"] == 9


def test_a_recovery_code_for_many_tickets_gives_one_session(server, email, owner):
    waiting = [ticket(server, email) for _ in range(TIMES)]
    proof = {"method": "recovery_code", "code": owner["recovery_codes"][0]}
    answers = at_once(TIMES, lambda number: server.post("/verify-otp", {**proof, "mfa_token": waiting[number]}))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == 2


def test_new_sets_of_recovery_codes_made_at_once_leave_one_set(server, email, owner):
    codes = owner["recovery_codes"]
    answers = at_once(
        10, lambda number: server.post("/mfa/recovery-codes", {"method": "recovery_code", "code": codes[number]}, token=owner["token"])
    )
    made = [code for one in answers if one.status == 200 for code in one.json["recovery_codes"]]
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 10
    tokens = [ticket(server, email) for _ in made]
    proofs = [
        {"mfa_token": mine, "method": "recovery_code", "code": code}
        for mine, code in zip(tokens + [ticket(server, email) for _ in codes], made + codes, strict=True)
    ]
    assert Counter(server.post("/verify-otp", proof).status for proof in proofs)[200] == 10


def test_a_mailed_code_for_one_ticket_gives_one_session(server, email):
    token = server.member(email)["access_token"]
    _turn_on_mail(server, email, token)
    mine = {"mfa_token": ticket(server, email), "method": "email"}
    assert server.post("/send-otp", mine).status == 202
    code = server.mailbox.last(email).code
    answers = at_once(TIMES, lambda _: server.post("/verify-otp", {**mine, "code": code}))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == 2


def test_a_texted_code_for_one_ticket_gives_one_session(server, email):
    number = phone()
    server.turn_on_sms(server.member(email)["access_token"], number)
    mine = {"mfa_token": ticket(server, email), "method": "sms"}
    assert server.post("/send-otp", mine).status == 202
    code = server.telephones.code(number)
    answers = at_once(TIMES, lambda _: server.post("/verify-otp", {**mine, "code": code}))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == 2


def test_a_mailed_code_to_sign_in_with_gives_one_session(server, email):
    server.join(email)
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    proof = {"otp_token": token, "code": server.mailbox.last(email).code}
    answers = at_once(TIMES, lambda _: server.post("/verify-otp", proof))
    assert statuses(answers) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == 1


def test_of_many_codes_asked_for_at_once_one_is_good(server, email):
    token = server.member(email)["access_token"]
    _turn_on_mail(server, email, token)
    mine = {"mfa_token": ticket(server, email), "method": "email"}
    assert statuses(at_once(TIMES, lambda _: server.post("/send-otp", mine))) == {202: TIMES}
    mailed = {one.code for one in server.mailbox.of(email) if "finish signing in" in one.subject}
    with reading() as db:
        made = select(Code).where(Code.email == email, Code.purpose == tickets.SECOND_FACTOR, Code.used_at.is_(None))
        newest = db.scalars(made.order_by(Code.created_at.desc())).first()
    good = {code for code in mailed if secrets.matches(newest.code_hash, "code", code)}
    for code in [*list(mailed - good)[:4], *good]:
        assert server.post("/verify-otp", {**mine, "code": code}).status == (200 if code in good else 401)
    assert len(good) == 1


def test_of_many_codes_that_are_somehow_open_at_once_a_guess_meets_the_newest_only(server, email):
    server.join(email)
    token = secrets.token()
    with transaction() as db:
        subject = secrets.hashed(token)
        codes = [tickets.make_code(db, tickets.SIGN_IN, subject, email, user_of(email).id) for _ in range(5)]
        db.execute(update(Code).where(Code.subject == subject).values(used_at=None))
    verdicts = [server.post("/verify-otp", {"otp_token": token, "code": code}).status for code in codes]
    assert verdicts == [401] * 4 + [200]


def test_turning_a_factor_off_and_signing_in_at_once_ends_in_one_of_both_orders(server, email, owner):
    waiting = [ticket(server, email) for _ in range(10)]

    def act(number):
        if number == 5:
            return server.delete("/mfa", {"code": code_of(owner["app"])}, token=owner["token"])
        proof = {"mfa_token": waiting[number], "method": "recovery_code", "code": owner["recovery_codes"][number]}
        return server.post("/verify-otp", proof)

    answers = at_once(10, act)
    assert set(statuses(answers)) <= {200, 400, 401}
    assert answers[5].status == 200
    assert live_sessions_of(email) == 1
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 0


def _turn_on_mail(server, email, token):
    server.post("/mfa", {"method": "email"}, token=token)
    answer = server.post("/mfa", {"method": "email", "code": server.mailbox.last(email).code}, token=token)
    assert answer.status == 200, answer.body


def test_a_reset_amid_requests_for_another_holds_up_nobody(server, email):
    """They meet at the count of mails and at the links of the address: in one order, or the database ends one of them."""
    for number in range(8):
        address = f"{number}.{email}"
        server.sign_up(address)
        server.post("/forgot-password", {"email": address})
        path = server.mailbox.last(address).path
        server.sign_up(address)  # Its mail is still to leave, and the reset takes it back.
        requests = [(path, {"password": "quite another password"}), *[("/forgot-password", {"email": address})] * 19]
        assert 503 not in statuses(at_once(20, lambda one, sent=requests: server.post(*sent[one])))
