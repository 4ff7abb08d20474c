"""Threats 17 and 18 where a second factor is required and none is there: the ticket of such a sign-in opens `POST /mfa`, once."""

import pyotp
import pytest
from sqlalchemy import update

from domain import accounts, clock, secrets
from domain.database import new_id, transaction
from model import Budget, PendingLogin, Session
from resources.access import recently_signed_in_or_enrolling
from resources.routes import ROUTES
from tests.attacks.acts import OTHER, account, claims, count, factors_of, live_sessions_of, user_of
from tests.serving import at_once
from tests.visitor import PASSWORD, code_of, phone

SETTINGS = {
    "REQUIRE_MFA": "all",
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
    "SMS_LIMIT": "1000 per day",
    "MAIL_LIMIT": "1000 per day",
}
LIMIT, TIMES = 5, 24


@pytest.fixture
def owner(server, email):
    """An account without a factor, that needs one."""
    account(email)
    return email


def ticket(server, email, password=PASSWORD):
    answer = server.login(email, password).json
    assert answer["status"] == "mfa_setup_required", answer
    return answer["mfa_token"]


def start(server, mine):
    return pyotp.TOTP(server.post("/mfa", {"mfa_token": mine}).json["secret"])


def prove(server, mine, code, **more):
    return server.post("/mfa", {"mfa_token": mine, "code": code, **more})


def enrol(server, email):
    """The tokens of who has turned TOTP on on the way in, and the app."""
    mine = ticket(server, email)
    app = start(server, mine)
    answer = prove(server, mine, code_of(app, -1))
    assert answer.status == 200, answer.body
    return app, answer.json


def tickets_of_every_kind(server, email):
    """A sign-in that waits for its second factor, one for the proof of its address, one for a factor to be turned on."""
    with_factor, without = f"with.{email}", f"without.{email}"
    account(with_factor)
    account(without)
    app, _ = enrol(server, with_factor)
    waiting = server.login(with_factor).json
    assert waiting["status"] == "mfa_required"
    proving = secrets.token()
    with transaction() as db:
        row = PendingLogin(id=new_id(), ticket_hash=secrets.hashed(proving), stage="email_proven", email=without, amr="social")
        row.identity = {"provider": "google", "issuer": "https://idp.example", "sub": "1", "email": without, "vouched": False, "name": None}
        row.created_at, row.expires_at = clock.now(), clock.now().replace(year=clock.now().year + 1)
        db.add(row)
    return {"second_factor": waiting["mfa_token"], "email_proven": proving, "enrolment": ticket(server, without)}, app


# Threat 17: a ticket opens its own stage and nothing else.


def test_no_ticket_of_any_kind_is_a_bearer_on_any_route_of_the_table(server, email):
    kinds, _ = tickets_of_every_kind(server, email)
    nobody = {one: server.request(row.method, path(one)).status for row in ROUTES for one in row.urls}
    assert nobody
    for kind, mine in kinds.items():
        for row in ROUTES:
            if "bearer" not in {name for some in row.access.security for name in some}:
                continue
            for url in row.urls:
                answer = server.request(row.method, path(url), token=mine)
                if row.access.name == "whoever_signed_in":
                    assert answer.json == {"authenticated": False}
                else:
                    refusal = "invalid_client" if row.access.name == "asking_client" else "token_invalid"
                    assert (answer.status, answer.code) == (401, refusal), (kind, row.method, url)


def test_no_ticket_in_a_body_opens_a_route_that_does_not_name_it(server, email):
    kinds, _ = tickets_of_every_kind(server, email)
    named = {
        ("POST", "/mfa"),
        ("POST", "/send-otp"),
        ("POST", "/verify-otp"),
        ("POST", "/passkeys/sign-in"),
        ("POST", "/passkeys/sign-in/options"),
    }
    for kind, mine in kinds.items():
        for row in ROUTES:
            if row.method == "GET" or (row.method, row.urls[0]) in named:
                continue
            answer = server.request(row.method, path(row.urls[0]), {"mfa_token": mine})
            assert answer.status in (400, 401, 404), (kind, row.method, row.urls[0], answer.body)


def test_every_ticket_is_refused_at_the_other_stages(server, email):
    kinds, app = tickets_of_every_kind(server, email)
    code = code_of(app)
    for kind in ("second_factor", "email_proven"):
        for body in ({}, {"code": code}, {"method": "email"}, {"method": "sms", "phone": phone()}, {"method": "email", "code": code}):
            assert server.post("/mfa", {"mfa_token": kinds[kind], **body}).code == "mfa_ticket_expired", (kind, body)
    for method in ("totp", "email", "sms", "recovery_code"):
        proof = {"mfa_token": kinds["enrolment"], "method": method, "code": code}
        assert server.post("/verify-otp", proof).code == "mfa_ticket_expired"
        assert server.post("/send-otp", {"mfa_token": kinds["enrolment"], "method": method}).code == "mfa_ticket_expired"
    assert server.post("/verify-otp", {"mfa_token": kinds["email_proven"], "method": "totp", "code": code}).code == "validation_failed"
    assert server.post("/verify-otp", {"mfa_token": kinds["second_factor"], "method": "email", "code": code}).code == "validation_failed"
    assert count(Session, Session.user_id == user_of(f"without.{email}").id) == 0


def test_the_ticket_is_taken_at_one_row_only():
    rows = [(row.method, row.urls) for row in ROUTES if row.access is recently_signed_in_or_enrolling]
    assert rows == [("POST", ("/mfa",))]


def test_a_ticket_as_otp_token_link_or_device_is_nothing(server, email, owner):
    mine = ticket(server, email)
    assert server.post("/verify-otp", {"otp_token": mine, "code": "123456"}).code == "mfa_invalid_code"
    assert server.post("/api/password/reset", {"token": mine, "password": OTHER}).code == "link_invalid"
    assert server.post(f"/confirm/{mine}").code == "link_invalid"
    assert server.login(email, headers={"X-Device-Token": mine}).json["status"] == "mfa_setup_required"
    assert server.post("/mfa", {}, cookies={"access_token_cookie": mine}).code == "token_invalid"


def test_no_first_factor_skips_the_requirement(server, email, owner):
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    answer = server.post("/verify-otp", {"otp_token": token, "code": server.mailbox.last(email).code})
    assert answer.json["status"] == "mfa_setup_required"
    server.post("/forgot-password", {"email": email})
    answer = server.post(server.mailbox.last(email).path, {"password": OTHER})
    assert (answer.json, answer.cookies) == ({"status": "password_reset"}, {})
    assert server.login(email, OTHER).json["status"] == "mfa_setup_required"
    assert live_sessions_of(email) == 0


def test_beside_a_ticket_a_session_counts_for_nothing(server, email, owner):
    _, tokens = enrol(server, email)
    other = f"other.{email}"
    account(other)
    mine = ticket(server, other)
    app = pyotp.TOTP(server.post("/mfa", {"mfa_token": mine}, token=tokens["access_token"]).json["secret"])
    answer = server.post("/mfa", {"mfa_token": mine, "code": code_of(app)}, token=tokens["access_token"]).json
    assert (answer["status"], claims(answer["access_token"])["sub"]) == ("enabled", user_of(other).id)
    assert factors_of(email) == 1


# Threat 18: one ticket, one session; and only while there is no factor.


def test_a_ticket_is_spent_by_its_proof(server, email, owner):
    mine = ticket(server, email)
    app = start(server, mine)
    assert prove(server, mine, code_of(app)).status == 200
    for body in ({}, {"code": code_of(app, 1)}, {"method": "email"}):
        assert server.post("/mfa", {"mfa_token": mine, **body}).code == "mfa_ticket_expired"
    assert live_sessions_of(email) == 1


def test_with_a_factor_on_no_ticket_of_before_opens_anything(server, email, owner):
    mine, later = ticket(server, email), ticket(server, email)
    app = start(server, later)
    enrol(server, email)
    for body in ({}, {"code": code_of(app)}, {"method": "email"}, {"method": "sms", "phone": phone()}):
        for one in (mine, later):
            assert server.post("/mfa", {"mfa_token": one, **body}).code == "mfa_ticket_expired"
    assert factors_of(email) == 1


def test_with_a_factor_on_even_a_ticket_that_is_somehow_open_opens_nothing(server, email, owner):
    mine = ticket(server, email)
    enrol(server, email)
    with transaction() as db:
        db.execute(update(PendingLogin).where(PendingLogin.ticket_hash == secrets.hashed(mine)).values(used_at=None))
    for body in ({}, {"code": "123456"}, {"method": "email"}):
        assert server.post("/mfa", {"mfa_token": mine, **body}).code == "mfa_ticket_expired"


def test_a_disabled_account_and_a_changed_password_end_the_ticket(server, email, owner):
    mine = ticket(server, email)
    app = start(server, mine)
    server.post("/forgot-password", {"email": email})
    assert server.post(server.mailbox.last(email).path, {"password": OTHER}).status == 200
    assert prove(server, mine, code_of(app)).code == "mfa_ticket_expired"
    mine = ticket(server, email, OTHER)
    accounts.deactivate(email)
    assert prove(server, mine, code_of(app)).code == "mfa_ticket_expired"
    with transaction() as db:
        db.execute(update(PendingLogin).where(PendingLogin.ticket_hash == secrets.hashed(mine)).values(used_at=None))
    assert prove(server, mine, code_of(app)).code == "mfa_ticket_expired"
    assert (live_sessions_of(email), factors_of(email)) == (0, 0)


def test_codes_for_one_beginning_do_not_prove_another(server, email, owner):
    mine, other = ticket(server, email), f"other.{email}"
    account(other)
    theirs = ticket(server, other)
    for one in (mine, theirs):
        assert server.post("/mfa", {"mfa_token": one, "method": "email"}).status == 200
    code = server.mailbox.last(other).code
    assert server.post("/mfa", {"mfa_token": mine, "method": "email", "code": code}).code == "mfa_invalid_code"
    app = start(server, theirs)
    start(server, mine)
    assert prove(server, mine, code_of(app)).code == "mfa_invalid_code"
    assert server.post("/mfa", {"mfa_token": theirs, "method": "email", "code": code}).status == 200


# Threat 16: no door for guesses.


def test_guesses_on_the_way_in_come_out_of_one_budget(server, email, owner):
    first = ticket(server, email)
    app = start(server, first)
    for _ in range(LIMIT):
        assert prove(server, ticket(server, email), "000000").code == "mfa_invalid_code"
    assert prove(server, first, code_of(app)).code == "too_many_attempts"
    assert prove(server, ticket(server, email), code_of(app)).code == "too_many_attempts"
    assert server.post("/mfa", {"mfa_token": ticket(server, email), "method": "email"}).status == 200
    proof = {"mfa_token": first, "method": "email", "code": server.mailbox.last(email).code}
    assert server.post("/mfa", proof).code == "too_many_attempts"


def test_at_once_no_more_guesses_are_judged_than_the_limit(server, email, owner):
    mine = ticket(server, email)
    start(server, mine)
    answers = at_once(TIMES, lambda n: prove(server, mine, f"{n:06d}"))
    assert sum(one.code == "mfa_invalid_code" for one in answers) <= LIMIT
    name = secrets.hashed(accounts.budget_name(user_of(email), email))
    assert count(Budget, Budget.account == name, Budget.in_a_row <= LIMIT) >= 1


def path(url):
    return "/".join("some-value" if part.startswith("<") else part for part in url.split("/"))
