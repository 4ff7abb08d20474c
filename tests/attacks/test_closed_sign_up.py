"""Threats 1 and 8 where SIGN_UP lets only the invited in: nothing makes an account, and no answer tells who has one."""

import pytest

from domain import password_reset, sign_up
from domain.caller import Client
from domain.database import new_id
from model import User
from tests.attacks.acts import OTHER, an_admin, count, while_open
from tests.attacks.strangers import FLOWS, STATES, everybody, told
from tests.provider import Provider, come_back, exchange, sign_in
from tests.visitor import PASSWORD

SETTINGS: dict[str, object] = {"SIGN_UP": "invited"}
CLOSED = (403, "sign_up_closed")


@pytest.fixture(scope="module", autouse=True)
def provider():
    """Google, for the server of this module, which is started after it."""
    with Provider() as running:
        SETTINGS.update(running.settings)
        yield running


@pytest.fixture
def google(provider, email):
    provider.says = {"sub": new_id(), "email": email}
    return provider


def attempt(email):
    """A sign-up that was begun while it was open."""
    with while_open():
        sign_up.begin(email, OTHER, Client())


@pytest.fixture
def open_to_attempts(monkeypatch):
    """People of every state, and among the unconfirmed one with an attempt of before."""
    monkeypatch.setitem(STATES, "unconfirmed", lambda _, who: attempt(who.email))


def answer(one):
    return one.status, one.code


@pytest.mark.usefixtures("open_to_attempts")
def test_one_flow_after_the_other_tells_nothing(server, email):
    whos = everybody(server, email)
    for name, flow in FLOWS.items():
        if name != "login by username":
            expected = CLOSED if name in ("signup", "signup with a username", "signup with a bad password") else (flow.status, flow.code)
            if name == "signup and login":
                continue  # It begins with a sign-up that goes well.
            assert told(whos, lambda who: flow.act(server, who)) == expected, name  # noqa: B023
    assert count(User, User.email == whos["unknown"].email) == count(User, User.email == whos["unconfirmed"].email) == 0


def test_an_attempt_of_before_makes_no_account_whatever_is_done_with_it(server, email):
    attempt(email)
    letter = server.mailbox.last(email)
    assert answer(server.post(letter.path)) == CLOSED
    assert answer(server.post("/confirm", {"email": email, "code": letter.code})) == CLOSED
    assert answer(server.post("/confirm", {"email": email, "code": "abcdef"})) == (401, "mfa_invalid_code")
    assert answer(server.login(email, OTHER)) == (401, "invalid_credentials")
    for path in ("/forgot-password", "/resend-confirmation", "/send-otp"):
        assert server.post(path, {"email": email}).status == 202
    assert len(server.mailbox.of(email)) == 1
    assert count(User, User.email == email) == 0


def test_a_reset_of_before_makes_no_account(server, email):
    attempt(email)
    with while_open():
        password_reset.forget(email, Client())
    link = server.mailbox.last(email).path
    assert answer(server.post(link, {"password": PASSWORD})) == CLOSED
    assert count(User, User.email == email) == 0


def test_a_provider_makes_no_account_though_it_vouches(server, google, email):
    assert answer(sign_in(server, google)) == CLOSED
    given, _ = come_back(server, google)
    assert given == {"error": "failed"}
    assert count(User, User.email == email) == 0


def test_a_proven_address_makes_no_account_and_before_the_proof_nobody_can_tell(server, google, email):
    google.says["email_verified"] = False
    waiting = sign_in(server, google).json
    assert waiting["status"] == "confirmation_required"
    proof = {"mfa_token": waiting["mfa_token"], "method": "email", "code": server.mailbox.last(email).code}
    assert answer(server.post("/verify-otp", proof)) == CLOSED
    assert count(User, User.email == email) == 0


def test_who_was_invited_comes_in(server, google, email):
    admin = an_admin(server)["access_token"]
    for number in range(3):
        assert server.post("/api/admin/users", {"email": f"{number}.{email}"}, token=admin).status == 201
    assert server.post(server.mailbox.last(f"0.{email}").path, {"password": PASSWORD}).status == 200
    assert server.login(f"0.{email}").status == 200
    asked = server.post("/send-otp", {"email": f"1.{email}"}).json["otp_token"]
    code = server.mailbox.last(f"1.{email}").code
    assert server.post("/verify-otp", {"otp_token": asked, "code": code}).status == 200
    google.says["email"] = f"2.{email}"
    given, verifier = come_back(server, google)
    assert exchange(server, given["code"], verifier).json["user"]["email_confirmed"] is True
