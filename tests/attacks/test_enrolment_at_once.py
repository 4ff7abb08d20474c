"""Threat 18, RACE, against the real server: the ticket of a sign-in that asks for a factor gives one session and one factor.

The failure budget is out of the way here, so that every one of the parallel tries is judged.
"""

import pyotp
import pytest

from model import Factor, RecoveryCode
from tests.attacks.acts import account, count, factors_of, live_sessions_of, statuses, user_of
from tests.attacks.test_enrolment import prove, start, ticket
from tests.serving import at_once
from tests.visitor import code_of, phone

SETTINGS = {
    "REQUIRE_MFA": "all",
    "FAILED_ATTEMPTS_LIMIT": 1000,
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
    "SMS_LIMIT": "1000 per day",
    "MAIL_LIMIT": "1000 per day",
}
TIMES = 24


@pytest.fixture
def owner(server, email):
    """An account without a factor, that needs one."""
    account(email)
    return email


def test_many_proofs_of_one_ticket_at_once_give_one_session(server, email, owner):
    mine = ticket(server, email)
    app = start(server, mine)
    code = code_of(app)
    answers = at_once(TIMES, lambda _: prove(server, mine, code))
    assert statuses(answers)[200] == 1
    assert {one.code for one in answers if one.status != 200} <= {"mfa_ticket_expired", "mfa_invalid_code", "too_many_attempts"}
    assert (live_sessions_of(email), factors_of(email)) == (1, 1)
    assert count(RecoveryCode, RecoveryCode.user_id == user_of(email).id) == 10


def test_proofs_of_many_kinds_and_tickets_at_once_give_one_session(server, email, owner):
    tickets, number = [ticket(server, email) for _ in range(4)], phone()
    app = start(server, tickets[0])
    server.post("/mfa", {"mfa_token": tickets[1], "method": "email"})
    server.post("/mfa", {"mfa_token": tickets[2], "method": "sms", "phone": number})
    proofs = [
        {"code": code_of(app)},
        {"method": "email", "code": server.mailbox.last(email).code},
        {"method": "sms", "code": server.telephones.code(number)},
    ]
    answers = at_once(TIMES, lambda n: server.post("/mfa", {"mfa_token": tickets[n % 4], **proofs[n % 3]}))
    assert statuses(answers)[200] == 1
    assert (live_sessions_of(email), factors_of(email)) == (1, 1)


def test_many_starts_at_once_leave_one_secret(server, email, owner):
    mine = ticket(server, email)
    answers = at_once(TIMES, lambda _: server.post("/mfa", {"mfa_token": mine}))
    assert statuses(answers) == {200: TIMES}
    assert count(Factor, Factor.user_id == user_of(email).id) == 1
    answers = [prove(server, mine, code_of(pyotp.TOTP(one.json["secret"]), -1)) for one in answers]
    assert sum(one.status == 200 for one in answers) <= 1
