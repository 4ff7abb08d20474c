"""Passkeys against the real server: an answer counts once, however many bring it at once; and a real browser does what the page says."""

import re
import shutil
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import jwt
import pytest
from playwright.sync_api import sync_playwright

from model import Passkey, SpentChallenge
from tests.attacks.acts import count, live_sessions_of, statuses, ticket, user_of
from tests.authenticator import Authenticator, add_passkey
from tests.serving import at_once, free_port

TIMES = 20
PORT = free_port()
ORIGIN = f"http://localhost:{PORT}"
SETTINGS = {"FRONTEND_URL": ORIGIN, "CORS_ORIGINS": ORIGIN, "FAILED_ATTEMPTS_LIMIT": 1000}
CHROMIUM = next((found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found), None)
PAGE = Path(__file__).parents[2] / "docs" / "passkeys.md"


@pytest.fixture
def key():
    return Authenticator(ORIGIN)


@pytest.fixture
def owner(server, email, key):
    """Who has a passkey and is signed in."""
    tokens = server.member(email)
    add_passkey(server, tokens["access_token"], key)
    return tokens


def give(server, credential, token=None, **more):
    """Twenty at once bring the same answer."""
    return statuses(at_once(TIMES, lambda _: server.post("/passkeys/sign-in", {"credential": credential, **more}, token=token)))


def test_of_one_answer_comes_one_session(server, email, key, owner):
    spent, before = count(SpentChallenge), live_sessions_of(email)
    answer = key.get(server.post("/passkeys/sign-in/options").json)
    assert give(server, answer) == {200: 1, 401: TIMES - 1}
    assert live_sessions_of(email) == before + 1
    assert count(SpentChallenge) == spent + 1


@pytest.mark.parametrize("key", [Authenticator(ORIGIN, counts=False)])
def test_of_one_answer_without_a_counter_comes_one_session_one_second_factor_and_one_step_up(server, email, key, owner):
    assert give(server, key.get(server.post("/passkeys/sign-in/options").json)) == {200: 1, 401: TIMES - 1}
    server.turn_on_totp(owner["access_token"])
    mine = ticket(server, email)
    answer = key.get(server.post("/passkeys/sign-in/options", {"mfa_token": mine}).json)
    assert give(server, answer, mfa_token=mine) == {200: 1, 401: TIMES - 1}
    answer = key.get(server.post("/passkeys/sign-in/options", token=owner["access_token"]).json)
    assert give(server, answer, owner["access_token"]) == {200: 1, 401: TIMES - 1}


def test_of_one_registration_comes_one_passkey(server, email, key):
    token = server.member(email)["access_token"]
    made = {"credential": key.create(server.post("/passkeys/options", {}, token=token).json)}
    assert statuses(at_once(TIMES, lambda _: server.post("/passkeys", made, token=token))) == {201: 1, 400: TIMES - 1}
    assert count(Passkey, Passkey.user_id == user_of(email).id) == 1


def test_a_counter_counts_once_for_answers_to_different_challenges(server, key, owner):
    """A copy answers challenges of its own: of all that show the same number, one is the passkey's."""
    answers = [key.get(server.post("/passkeys/sign-in/options").json, counter=7) for _ in range(TIMES)]
    assert statuses(at_once(TIMES, lambda n: server.post("/passkeys/sign-in", {"credential": answers[n]}))) == {200: 1, 401: TIMES - 1}


class Page(BaseHTTPRequestHandler):
    """A front end of one empty page that has the script of the documentation."""

    def __init__(self, script, *args):
        self.script = script
        super().__init__(*args)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><title>App</title><script>{self.script}</script>".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def page(server):
    """A browser with an authenticator of its own, at a front end with the script of docs/passkeys.md."""
    (script,) = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    front_end = HTTPServer(("127.0.0.1", PORT), partial(Page, f"const API = '{server.base}';\n{script}"))
    Thread(target=front_end.serve_forever, daemon=True).start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        about = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**about, "automaticPresenceSimulation": True}})
        page.goto(ORIGIN)
        yield page
        browser.close()
    front_end.shutdown()
    front_end.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium on this machine.")
def test_a_browser_makes_one_and_signs_in_by_it_in_all_three_ways(server, email, page):
    tokens = server.member(email)
    made = page.evaluate("token => addPasskey(token, 'My browser')", tokens["access_token"])
    assert made["name"] == "My browser"
    assert "InvalidStateError" in page.evaluate("token => addPasskey(token).catch(String)", tokens["access_token"])  # It has one already.

    alone = page.evaluate("() => usePasskey()")
    assert alone["user"]["email"] == email
    assert jwt.decode(alone["access_token"], options={"verify_signature": False})["amr"][1:] == ["user", "mfa"]

    stepped_up = page.evaluate("token => usePasskey({ token })", alone["access_token"])
    assert stepped_up["session_id"] == alone["session_id"]
    assert server.get("/profile", token=alone["access_token"]).code == "token_revoked"

    server.turn_on_totp(stepped_up["access_token"])
    second = page.evaluate("mfa_token => usePasskey({ mfa_token })", ticket(server, email))
    assert jwt.decode(second["access_token"], options={"verify_signature": False})["amr"][0] == "pwd"
    assert "token_missing" in page.evaluate("() => addPasskey().catch(String)")
