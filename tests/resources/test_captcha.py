"""Strangers show that they are people: by a proof of work of our own, or to a verifier of somebody else's."""

import logging
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from sqlalchemy import Engine, event

import config
from domain import expired, metrics
from outbound import siteverify
from tests.captchas import ASKED, solve, solved, verifier
from tests.visitor import PASSWORD

always = pytest.mark.settings(CAPTCHA="always", CAPTCHA_DIFFICULTY=1)
after_failures = pytest.mark.settings(CAPTCHA="after_failures", CAPTCHA_DIFFICULTY=1)
HERE = Path(__file__).resolve().parent.parent
WRONG = {"email": "eve@example.com", "password": "a wrong password"}


def at(address):
    """A request from there."""
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def asks(house, address="203.0.113.1"):
    """Whether a sign-in from there has to answer."""
    return house.post("/login", WRONG, **at(address)).code == "captcha_required"


def fail(house, address="203.0.113.1", times=5):
    for number in range(times):
        failed = house.post("/login", WRONG | {"email": f"{number}.{address.replace(':', '-')}@example.com"}, **at(address))
        assert failed.code == "invalid_credentials"


@pytest.fixture
def statements():
    done = []

    def note(_connection, _cursor, statement, *_):
        done.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield done
    event.remove(Engine, "before_cursor_execute", note)


def test_where_it_is_off_there_is_none_and_nobody_is_asked(house):
    assert (house.get("/captcha").status, house.get("/captcha").code) == (404, "not_found")
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": "anything"}).status == 202


@always
def test_a_puzzle_is_what_the_widget_takes_and_is_kept_by_nobody(house):
    answer = house.get("/captcha")
    assert answer.headers["Cache-Control"] == "no-store"
    parameters = answer.json["parameters"]
    assert set(answer.json) == {"provider", "parameters", "signature"}
    assert set(parameters) == {"algorithm", "cost", "keyLength", "keyPrefix", "nonce", "salt", "expiresAt"}
    assert (parameters["algorithm"], parameters["cost"], parameters["keyPrefix"]) == ("PBKDF2/SHA-256", 1, "00")
    assert house.get("/captcha").json["signature"] != answer.json["signature"]


@always
@pytest.mark.parametrize("path", ASKED)
def test_who_may_be_asked_goes_on_with_an_answer_and_with_none_but_a_right_new_one(house, statements, path):
    body = ASKED[path]
    del statements[:]
    unasked = house.post(path, body)
    assert (unasked.status, unasked.code) == (400, "captcha_required")
    assert house.post(path, body | {"captcha": "x"}).code == "captcha_failed"
    assert statements == []  # Nobody was looked up, and nothing written.
    answer = solved(house)
    gone_on = house.post(path, body | {"captcha": answer})
    assert gone_on.status in (201, 202, 401)
    assert gone_on.code in (None, "invalid_credentials")
    assert house.post(path, body | {"captcha": answer}).code == "captcha_failed"
    assert house.post(path, {"email": "no address"}).code == "validation_failed"


@always
def test_only_strangers_who_make_mails_or_guess_are_asked(house):
    answer = house.post("/signup", {"email": "ann@example.com", "password": PASSWORD, "captcha": solved(house)})
    assert answer.status == 201
    assert house.post(house.mailbox.last("ann@example.com").path).status == 200
    tokens = house.login("ann@example.com", captcha=solved(house)).json
    assert house.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]).status == 200
    code = house.post("/send-otp", {"email": "ann@example.com", "captcha": solved(house)}).json["otp_token"]
    given = {"otp_token": code, "code": house.mailbox.last("ann@example.com").code}
    assert house.post("/verify-otp", given).json["status"] == "signed_in"
    assert house.post("/confirm", {"email": "ann@example.com", "code": "000000"}).code == "mfa_invalid_code"


@always
def test_a_right_answer_lifts_no_budget(house):
    codes = [house.post("/login", WRONG | {"captcha": solved(house)}).code for _ in range(6)]
    assert codes == ["invalid_credentials"] * 5 + ["too_many_attempts"]


@always
def test_a_puzzle_is_over_in_time_and_a_used_one_is_refused_until_then(house, moved_clock):
    early, late = solved(house), solved(house)
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": early}).status == 202
    moved_clock(config.settings.CAPTCHA_SECONDS - 30)
    expired.purge()
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": early}).code == "captcha_failed"
    moved_clock(config.settings.CAPTCHA_SECONDS)
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": late}).code == "captcha_failed"


@always
def test_a_puzzle_is_good_under_every_key_of_the_list_and_under_no_other(house, monkeypatch):
    answers = [solved(house), solved(house)]
    newer, older = "n" * 48, config.settings.SECRET_KEY
    for secret_key, answer, status in ((f"{newer},{older}", answers[0], 202), (newer, answers[1], 400)):
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"SECRET_KEY": secret_key}))
        assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": answer}).status == status


@always
@pytest.mark.skipif(
    not (shutil.which("node") and (HERE / "node_modules" / "altcha").exists()),
    reason="needs Node, and `npm install --no-package-lock` in tests/",
)
def test_the_widget_itself_solves_it(house):
    ran = subprocess.run(
        ["node", "captcha_widget.mjs"],
        cwd=HERE,
        input=house.get("/captcha").body,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": ran.stdout.decode()}).status == 202


@pytest.mark.settings(CAPTCHA="always", CAPTCHA_DIFFICULTY=1, RATE_LIMIT_ENABLED=True)
def test_puzzles_are_not_to_be_had_in_store(house):
    assert [house.get("/captcha").status for _ in range(6)] == [200] * 5 + [429]


@after_failures
def test_after_so_many_failures_an_address_is_asked_and_no_other(house, moved_clock):
    moved_clock(0)
    fail(house, times=4)
    assert not asks(house)
    assert asks(house)
    for path, body in ASKED.items():
        assert house.post(path, body, **at("203.0.113.1")).code == "captcha_required"
        assert house.post(path, body, **at("203.0.113.2")).code != "captcha_required"
    assert house.post("/forgot-password", {"email": "eve@example.com", "captcha": solved(house)}, **at("203.0.113.1")).status == 202
    moved_clock(config.settings.LOCKOUT_WINDOW_SECONDS + 1)
    assert not asks(house)


@after_failures
def test_a_network_of_ipv6_is_one_address(house):
    fail(house, "2001:db8::1")
    assert asks(house, "2001:db8::2")
    assert not asks(house, "2001:db8:0:1::1")


@after_failures
def test_wrong_codes_count_and_successes_do_not(house):
    house.join("ann@example.com")
    here = at("203.0.113.1")
    for _ in range(10):
        assert house.login("ann@example.com").status == 200
        assert house.post("/login", {"email": "ann@example.com", "password": PASSWORD}, **here).status == 200
    assert house.post("/confirm", {"email": "ann@example.com", "code": "000000"}, **here).code == "mfa_invalid_code"
    for _ in range(3):
        assert house.post("/verify-otp", {"otp_token": "x", "code": "000000"}, **here).code == "mfa_invalid_code"
    right = {"email": "ann@example.com", "password": PASSWORD}
    assert house.post("/login", right, **here).status == 200  # Their own success clears nothing.
    for _ in range(2):
        assert house.post("/verify-otp", {"otp_token": "x", "code": "000000"}, **here).code == "mfa_invalid_code"  # No field to answer in.
    assert asks(house)
    assert house.post("/login", right | {"captcha": solved(house)}, **here).status == 200
    assert asks(house)


@after_failures
def test_a_known_device_is_asked_like_anybody(house):
    house.join("ann@example.com")
    known = {"X-Device-Token": house.login("ann@example.com").json["device_token"]}
    fail(house)
    mine = {"email": "ann@example.com", "password": PASSWORD}
    assert house.post("/login", mine, headers=known, **at("203.0.113.1")).code == "captcha_required"
    assert house.post("/login", mine | {"captcha": solved(house)}, headers=known, **at("203.0.113.1")).status == 200


@pytest.fixture
def elsewhere(house, monkeypatch):
    """A verifier that is asked from now on."""
    with verifier() as running:
        update = {"CAPTCHA_VERIFY_URL": running.url, "CAPTCHA_SECRET": "our-own-secret", "CAPTCHA_SITE_KEY": "a-site-key"}
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update=update))
        yield running


@always
def test_a_verifier_is_asked_with_the_secret_the_answer_and_the_address(house, elsewhere):
    assert house.get("/captcha").json == {"provider": "siteverify", "site_key": "a-site-key"}
    sent = {"email": "eve@example.com", "captcha": "an answer & more"}
    assert house.post("/forgot-password", {"email": "eve@example.com"}).code == "captcha_required"
    assert house.post("/forgot-password", sent, **at("203.0.113.1")).status == 202
    assert elsewhere.asked == [{"secret": "our-own-secret", "response": "an answer & more", "remoteip": "203.0.113.1"}]
    assert house.post("/forgot-password", sent).code == "captcha_failed"  # It counts once, even where the verifier says yes again.
    elsewhere.says = (200, b'{"success": false, "error-codes": ["timeout-or-duplicate"]}', {})
    assert house.post("/forgot-password", sent | {"captcha": "another"}).code == "captcha_failed"


@always
@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b'{"success": "true"}', {}),
        (200, b'{"success": 1}', {}),
        (200, b'{"success": null}', {}),
        (200, b"{}", {}),
        (200, b"true", {}),
        (200, b'[{"success": true}]', {}),
        (200, b"", {}),
        (200, b"<html>", {}),
        (200, b"[" * 100_000, {}),
        (200, b'{"success": true, "x": "' + b"x" * 600_000 + b'"}', {}),
        (200, b'{"success": true}', {"Content-Length": "100"}),
        (200, b'{"success": true}', {"Content-Encoding": "gzip"}),
        (200, b'{"success": false, "error-codes": ["invalid-input-secret"]}', {}),
        (307, b'{"success": true}', {"Location": "/siteverify?again"}),
        (404, b'{"success": true}', {}),
        (500, b'{"success": true}', {}),
    ],
    ids=str,
)
def test_what_is_no_verdict_lets_nobody_go_on(house, elsewhere, status, body, headers):
    elsewhere.says = (status, body, headers)
    answer = house.post("/forgot-password", {"email": "eve@example.com", "captcha": "an answer"})
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert len(elsewhere.asked) == 1


@always
def test_a_verifier_that_hangs_or_is_away_lets_nobody_go_on_and_its_secret_is_told_to_no_log(house, elsewhere, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(siteverify, "SECONDS", 0.2)
    elsewhere.hangs.set()
    sent = {"email": "eve@example.com", "captcha": "a-visitors-answer"}
    assert house.post("/forgot-password", sent).status == 503
    monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"CAPTCHA_VERIFY_URL": "http://127.0.0.1:1/"}))
    assert house.post("/forgot-password", sent).status == 503
    assert "The CAPTCHA's verifier" in caplog.text
    assert "our-own-secret" not in caplog.text
    assert "a-visitors-answer" not in caplog.text


@always
def test_a_verifier_proves_itself_by_its_certificate(house, monkeypatch, tmp_path):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with verifier(context) as running:
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"CAPTCHA_VERIFY_URL": running.url}))
        sent = {"email": "eve@example.com", "captcha": "an answer"}
        assert house.post("/forgot-password", sent).status == 503
        assert running.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert house.post("/forgot-password", sent).status == 202


@always
def test_what_came_of_it_is_counted(house):
    before = metrics.text(lambda: 0)
    house.post("/login", WRONG)
    house.post("/login", WRONG | {"captcha": "x"})
    house.post("/login", WRONG | {"captcha": solve(house.get("/captcha").json)})
    after = metrics.text(lambda: 0)
    for result in ("required", "failed", "passed"):
        assert f'gatehouse_captchas_total{{result="{result}"}} 1.0' in after
        assert f'gatehouse_captchas_total{{result="{result}"}}' not in before
