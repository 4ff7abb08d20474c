"""Threat 8 against the real server: nothing tells whether an address has an account, nor while the mail server is away.

Five addresses are asked about everything that a stranger may ask: one that nobody has, one with an account, one that is
still to be confirmed, one whose account is disabled, and one whose account has no password (CVE-2024-45231).
"""

import re

import pytest

from domain import accounts, outbox
from domain.database import transaction
from tests.attacks.acts import OTHER, account
from tests.serving import at_once, free_port
from tests.visitor import PASSWORD

SETTINGS = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": free_port(), "MAIL_USE_TLS": False, "MAIL_TIMEOUT": 2}
STATES = ("unknown", "known", "unconfirmed", "disabled", "social only")


@pytest.fixture
def addresses(server, email):
    """An address in each of the five states."""
    found = {state: f"{number}.{email}" for number, state in enumerate(STATES)}
    account(found["known"])
    account(found["disabled"])
    accounts.deactivate(found["disabled"])
    account(found["social only"], None)
    assert server.sign_up(found["unconfirmed"]).status == 201
    return found


@pytest.mark.parametrize("password", ["", "wrong", OTHER], ids=["empty", "short", "long"])
def test_a_wrong_password_tells_nothing(server, addresses, password):
    told = _told(addresses, lambda email: server.login(email, password))
    assert told[0][:2] == (401, "invalid_credentials")


def test_signing_up_tells_nothing(server, addresses):
    assert _told(addresses, lambda email: server.sign_up(email, OTHER))[0][0] == 201


@pytest.mark.parametrize("path", ["/forgot-password", "/api/password/forgot", "/resend-confirmation", "/send-otp"])
def test_asking_for_a_mail_tells_nothing(server, addresses, path):
    assert _told(addresses, lambda email: server.post(path, {"email": email}))[0][0] == 202


def test_asking_while_the_mail_server_is_tried_in_vain_tells_nothing(server, addresses):
    def act(number):
        if number == 0:
            return outbox.deliver(now=True)
        return {_told(addresses, lambda email: server.post("/forgot-password", {"email": email}))[0][0] for _ in range(3)}

    assert at_once(3, act) == [0, {202}, {202}]


def test_a_wrong_code_tells_nothing(server, addresses):
    told = _told(addresses, lambda email: server.post("/confirm", {"email": email, "code": "abcdef"}))
    assert told[0][:2] == (401, "mfa_invalid_code")

    def sign_in(email):
        token = server.post("/send-otp", {"email": email}).json["otp_token"]
        return server.post("/verify-otp", {"otp_token": token, "code": "abcdef"})

    assert _told(addresses, sign_in)[0][:2] == (401, "mfa_invalid_code")


def test_every_address_locks_alike(server, addresses):
    told = [_told(addresses, server_login) for server_login in [lambda email: server.login(email, OTHER)] * 7]
    assert [one[0][:2] for one in told] == [(401, "invalid_credentials")] * 5 + [(429, "too_many_attempts")] * 2


def test_codes_run_out_alike(server, addresses):
    told = [_told(addresses, lambda email: server.post("/confirm", {"email": email, "code": "abcdef"})) for _ in range(6)]
    assert [one[0][:2] for one in told] == [(401, "mfa_invalid_code")] * 5 + [(429, "too_many_attempts")]


def test_signing_up_and_in_with_that_password_tells_nothing(server, addresses):
    mine = "the password that I signed up with"
    _told(addresses, lambda email: server.sign_up(email, mine))
    told = [_told(addresses, lambda email: server.login(email, mine)) for _ in range(6)]
    assert [one[0][:2] for one in told] == [(401, "invalid_credentials")] * 5 + [(429, "too_many_attempts")]


def test_a_taken_username_tells_nothing(server, addresses):
    name = "n" + re.sub(r"\D", "", addresses["known"])[:20]
    with transaction() as db:
        accounts.add(db, f"owner.{addresses['known']}", None, username=name)
    told = _told(addresses, lambda email: server.sign_up(email, OTHER, username=name))
    assert told[0][0] == 201
    assert told[0] == _told(addresses, lambda email: server.sign_up(email, OTHER, username=f"{name}-free"))[0]
    known, unknown = (server.post("/login", {"username": one, "password": OTHER}) for one in (name, f"{name}-free"))
    assert _without_marks(known) == _without_marks(unknown)


def test_a_disabled_account_is_told_only_to_who_knows_its_password(server, addresses):
    assert server.login(addresses["disabled"], OTHER).code == "invalid_credentials"
    answer = server.login(addresses["disabled"], PASSWORD)
    assert (answer.status, answer.code) == (403, "account_disabled")


def _told(addresses, act):
    """What the five answers tell, which must be the same: status, code, body but for random marks, names of the headers."""
    told = [_without_marks(act(email)) for email in addresses.values()]
    assert len(set(told)) == 1, dict(zip(addresses, told, strict=True))
    return told


def _without_marks(answer):
    body = re.sub(r'"(request_id|otp_token)":"[^"]*"', r'"\1":"…"', answer.text)
    return answer.status, answer.code, body, len(answer.body), tuple(sorted(answer.headers))
