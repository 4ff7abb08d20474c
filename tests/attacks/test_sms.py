"""Threats 15 and 16 for texted codes, and the bill that a stranger could make ("SMS pumping"), against the real server."""

from sqlalchemy import func, select, update

from domain import accounts, clock, outbox, secrets
from domain.database import reading, transaction
from model import Budget, Code, Mail, MailCount
from tests.attacks.acts import count, factors_of, statuses, ticket, user_of, wide
from tests.serving import at_once
from tests.visitor import phone

SETTINGS = {
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
    "SMS_LIMIT": "5 per 50 years",
    "MAX_SESSIONS_PER_USER": 100,
    "TRUSTED_PROXIES": 1,
}
LIMIT, TIMES = 5, 24
_next = iter(range(1, 60_000))


def elsewhere():
    """A client address that no other request of these tests has, so that only the cap under test is met."""
    number = next(_next)
    return {"X-Forwarded-For": f"10.77.{number // 250}.{number % 250 + 1}"}


def start(server, token, number):
    return server.post("/mfa", {"method": "sms", "phone": number}, token=token, headers=elsewhere())


def send(server, body, **more):
    return server.post("/send-otp", {**body, "method": "sms"}, headers=elsewhere(), **more)


def verify(server, mfa_token, code, method="sms"):
    return server.post("/verify-otp", {"mfa_token": mfa_token, "method": method, "code": code})


def member(server, email):
    """Who has texted codes on: number, access token, recovery codes."""
    number, token = phone(), server.member(email)["access_token"]
    return number, token, turn_on(server, token, number)


def turn_on(server, token, number):
    assert start(server, token, number).status == 200
    answer = server.post("/mfa", {"method": "sms", "code": server.telephones.code(number)}, token=token)
    assert answer.status == 200, answer.body
    return answer.json["recovery_codes"]


def texts_to(number):
    return count(Mail, Mail.to == number)


# The bill.


def test_at_once_a_number_gets_no_more_than_its_cap(server):
    number, tokens = phone(), [server.member()["access_token"] for _ in range(6)]
    answers = at_once(TIMES, lambda n: start(server, tokens[n % 6], number))
    assert statuses(answers) == {200: LIMIT, 429: TIMES - LIMIT}
    assert {one.code for one in answers if one.status == 429} == {"rate_limited"}
    assert all(int(one.headers["Retry-After"]) > 0 for one in answers if one.status == 429)
    assert texts_to(number) == LIMIT


def test_at_once_an_account_causes_no_more_than_its_cap(server, email):
    token = server.member(email)["access_token"]
    numbers = [phone() for _ in range(TIMES)]
    assert statuses(at_once(TIMES, lambda n: start(server, token, numbers[n]))) == {200: LIMIT, 429: TIMES - LIMIT}
    assert sum(map(texts_to, numbers)) == LIMIT


def test_at_once_an_address_causes_no_more_than_its_cap(server):
    tokens, numbers, home = [server.member()["access_token"] for _ in range(TIMES)], [phone() for _ in range(TIMES)], elsewhere()
    answers = at_once(TIMES, lambda n: server.post("/mfa", {"method": "sms", "phone": numbers[n]}, token=tokens[n], headers=home))
    assert statuses(answers) == {200: LIMIT, 429: TIMES - LIMIT}
    assert sum(map(texts_to, numbers)) == LIMIT


def test_at_once_no_more_leave_in_a_day_than_are_allowed_all_in_all(server):
    tokens, numbers = [server.member()["access_token"] for _ in range(TIMES)], [phone() for _ in range(TIMES)]
    key = all_in_all()
    with transaction() as db:
        had = db.scalar(select(MailCount.count).where(MailCount.key == key)) or 0
        db.execute(update(MailCount).where(MailCount.key == key).values(count=997))
    try:
        answers = at_once(TIMES, lambda n: start(server, tokens[n], numbers[n]))
    finally:
        with transaction() as db:
            db.execute(update(MailCount).where(MailCount.key == key).values(count=had + 3))
    assert statuses(answers) == {200: 3, 429: TIMES - 3}
    assert sum(map(texts_to, numbers)) == 3


def all_in_all():
    """The key of today's count; there has been a message today."""
    return secrets.hashed(f"texts, 1000 per 86400 s, {clock.epoch() // 86400}")


def test_a_message_that_is_refused_counts_nowhere(server, email):
    token = server.member(email)["access_token"]
    for number in ("+41791234567", "+43900123456", "+4312345678", "nonsense"):
        assert start(server, token, number).code == "validation_failed"
    assert count(Mail, Mail.channel == "sms", Mail.to.in_(["+41791234567", "+43900123456", "+4312345678"])) == 0
    number = phone()
    assert [start(server, token, number).status for _ in range(LIMIT + 1)] == [200] * LIMIT + [429]


def test_many_spellings_of_a_number_are_one_number(server):
    number, tokens = phone(), [server.member()["access_token"] for _ in range(2)]
    spaced = f"{number[:3]} (0) {number[3:6]}/{number[6:]}"
    spellings = [number, spaced, wide("+") + number[1:], f"tel:{number}", f" {number} ", number]
    assert [start(server, tokens[n % 2], one).status for n, one in enumerate(spellings)] == [200] * LIMIT + [429]
    assert texts_to(number) == LIMIT


def test_asking_for_codes_to_sign_in_meets_the_same_caps(server, email):
    number, token, _ = member(server, email)
    mine = {"mfa_token": ticket(server, email)}
    assert [send(server, mine).status for _ in range(2)] == [202, 202]
    assert [send(server, {}, token=token).status for _ in range(2)] == [202, 202]
    for refused in (send(server, mine), send(server, {}, token=token), send(server, {"mfa_token": ticket(server, email)})):
        assert (refused.code, int(refused.headers["Retry-After"]) > 0) == ("rate_limited", True)
    assert texts_to(number) == LIMIT


def test_a_stranger_causes_no_message(server, email):
    number, _, _ = member(server, email)
    before = texts_to(number)
    for body in (
        {"email": email, "method": "sms"},
        {"method": "sms"},
        {"mfa_token": "x", "method": "sms"},
        {"phone": number, "method": "sms"},
    ):
        assert server.post("/send-otp", body).status in (400, 401)
    assert server.post("/mfa", {"method": "sms", "phone": number}).code == "token_missing"
    assert server.post("/mfa", {"method": "sms", "phone": number, "mfa_token": ticket(server, email)}).code == "mfa_ticket_expired"
    assert texts_to(number) == before


# Threat 15: a code works once, for the request that asked for it.


def test_a_texted_code_is_good_for_its_ticket_alone_and_once(server, email):
    number, token, _ = member(server, email)
    mine, other = ticket(server, email), ticket(server, email)
    assert send(server, {"mfa_token": mine}).status == 202
    code = server.telephones.code(number)
    assert verify(server, other, code).code == "mfa_invalid_code"
    assert server.post("/reauthenticate", {"method": "sms", "code": code}, token=token).code == "mfa_invalid_code"
    assert server.delete("/mfa", {"method": "sms", "code": code}, token=token).code == "mfa_invalid_code"
    assert verify(server, mine, wide(code)).status == 200
    assert verify(server, mine, code).code == "mfa_ticket_expired"
    assert server.post("/reauthenticate", {"method": "sms", "code": code}, token=token).code == "mfa_invalid_code"
    assert factors_of(email) == 1


def test_a_new_code_ends_the_one_before(server, email):
    number, _, _ = member(server, email)
    mine = ticket(server, email)
    send(server, {"mfa_token": mine})
    first = server.telephones.code(number)
    send(server, {"mfa_token": mine})
    second = server.telephones.code(number)
    if first != second:
        assert verify(server, mine, first).code == "mfa_invalid_code"
    assert verify(server, mine, second).status == 200


def test_what_came_by_one_way_does_not_answer_for_another(server, email):
    number, token, _ = member(server, email)
    server.post("/mfa", {"method": "email"}, token=token)
    server.post("/mfa", {"method": "email", "code": server.mailbox.last(email).code}, token=token)
    mine = ticket(server, email)
    send(server, {"mfa_token": mine})
    texted = server.telephones.code(number)
    assert server.post("/send-otp", {"mfa_token": mine, "method": "email"}).status == 202
    mailed = server.mailbox.last(email).code
    assert mailed != texted
    assert verify(server, mine, mailed, "sms").code == "mfa_invalid_code"
    assert verify(server, mine, texted, "email").code == "mfa_invalid_code"
    assert verify(server, mine, texted, "totp").code == "validation_failed"
    assert verify(server, mine, texted, "sms").status == 200


def test_a_code_to_enrol_is_no_code_to_sign_in_with_and_the_other_way_round(server, email):
    number, _, _ = member(server, email)
    stranger, other = server.member()["access_token"], phone()
    start(server, stranger, other)
    mine = ticket(server, email)
    send(server, {"mfa_token": mine})
    assert verify(server, mine, server.telephones.code(other)).code == "mfa_invalid_code"
    assert server.post("/mfa", {"method": "sms", "code": server.telephones.code(number)}, token=stranger).code == "mfa_invalid_code"


def test_of_many_codes_asked_for_at_once_one_is_good(server, email):
    number, _, _ = member(server, email)
    mine = ticket(server, email)
    answers = at_once(TIMES, lambda _: send(server, {"mfa_token": mine}))
    assert statuses(answers) == {202: LIMIT - 1, 429: TIMES - LIMIT + 1}
    texted = {one[:6] for one in server.telephones.of(number)[1:]}
    with reading() as db:
        newest = db.scalars(
            select(Code).where(Code.user_id == user_of(email).id, Code.used_at.is_(None)).order_by(Code.created_at.desc())
        ).first()
    good = {code for code in texted if secrets.matches(newest.code_hash, "code", code)}
    assert len(good) == 1
    for code in [*sorted(texted - good), *good]:
        assert verify(server, mine, code).status == (200 if code in good else 401)


# Threat 16: the guesses are counted, come what may.


def test_new_codes_and_new_tickets_bring_no_new_guesses(server, email):
    number, _, recovery_codes = member(server, email)
    for turn in range(LIMIT):
        mine = ticket(server, email)
        if turn < LIMIT - 2:
            assert send(server, {"mfa_token": mine}).status == 202
        assert verify(server, mine, "abcdef").code == "mfa_invalid_code"
    mine = ticket(server, email)
    assert send(server, {"mfa_token": mine}).status == 202
    assert verify(server, mine, server.telephones.code(number)).code == "too_many_attempts"
    assert verify(server, mine, recovery_codes[0], "recovery_code").code == "too_many_attempts"


def test_a_texted_code_stands_five_wrong_tries(server, email):
    number, _, _ = member(server, email)
    mine = ticket(server, email)
    send(server, {"mfa_token": mine})
    for _ in range(LIMIT):
        assert verify(server, mine, "abcdef").code == "mfa_invalid_code"
    name = secrets.hashed(accounts.budget_name(user_of(email), email))
    with transaction() as db:
        db.execute(update(Budget).where(Budget.account == name).values(blocked_until_epoch=clock.epoch(), failures=0))
    assert verify(server, mine, server.telephones.code(number)).code == "mfa_invalid_code"


def test_at_once_no_more_guesses_are_judged_than_the_limit(server, email):
    member(server, email)
    mine = ticket(server, email)
    send(server, {"mfa_token": mine})
    answers = at_once(TIMES, lambda n: verify(server, mine, f"{n:06d}"))
    assert sum(one.code == "mfa_invalid_code" for one in answers) <= LIMIT
    with reading() as db:
        tries = db.scalar(select(func.max(Code.tries)).where(Code.user_id == user_of(email).id, Code.purpose == "second_factor"))
    assert tries <= LIMIT


# Nothing readable stays.


def test_no_number_and_no_code_stays_readable_in_a_row_that_outlives_it(server, email):
    number, _, _ = member(server, email)
    code = server.telephones.code(number)
    assert outbox.deliver(outbox.SMS, now=True) == 0
    with reading() as db:
        rows = db.scalars(select(Mail).where(Mail.to == number)).all()
        hashes = db.scalars(select(Code.code_hash).where(Code.user_id == user_of(email).id)).all()
    assert {(row.state, row.values_encrypted) for row in rows} == {("sent", None)}
    assert code not in hashes
