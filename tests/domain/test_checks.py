"""`flask check` tries each part, goes on after a failure, and says no secret."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import config
from domain import cache, checks, database, schema
from tests import databases
from tests.captchas import verifier
from tests.provider import away
from tests.providers import NAMES, OWN, TENANT, everybody, settings_of
from tests.serving import free_port


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "client", None)  # An earlier test's, where tests share a process.
    with databases.connected(tmp_path):
        schema.upgrade()
        yield


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


def found(part):
    """Whether a part is good, and what is said of it."""
    return next((finding.is_good, finding.words) for finding in checks.each() if finding.part == part)


def failed():
    return [finding.part for finding in checks.each() if not finding.is_good]


def test_what_is_not_configured_is_said_and_is_no_failure():
    assert failed() == []
    for part in ("mail", "redis", "google"):
        assert found(part)[1].startswith("not configured")


def test_what_is_weak_in_production_is_said():
    settings(APP_ENV="production")
    assert "BASE_URL is plain http" in found("configuration")[1]


def test_an_old_schema_fails():
    schema.downgrade()
    assert failed() == ["schema"]
    assert "flask migrate up" in found("schema")[1]


def test_a_mail_server_that_is_away_fails():
    port = free_port()
    settings(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    assert failed() == ["mail"]
    assert found("mail")[1] == "connection refused"


def test_a_redis_that_is_away_fails():
    cache.connect(config.load(APP_ENV="testing", REDIS_URL="redis://127.0.0.1:1/0", INSTANCE_DIR=config.settings.INSTANCE_DIR))
    try:
        assert failed() == ["redis"]
    finally:
        cache.client = None


def test_the_rest_is_tried_when_the_database_is_away_and_no_password_is_shown():
    instance = config.settings.INSTANCE_DIR
    database.disconnect()
    uri = "postgresql://gatehouse:hunter2@127.0.0.1:1/none"
    database.connect(config.load(APP_ENV="testing", SQLALCHEMY_DATABASE_URI=uri, INSTANCE_DIR=instance))
    assert failed() == ["database", "schema", "keys"]
    assert "hunter2" not in str(list(checks.each()))


@pytest.mark.parametrize(
    ("page", "finding"),
    [
        ('{"issuer": "i", "authorization_endpoint": "http://a", "token_endpoint": "http://t", "jwks_uri": "http://j"}', (True, "i")),
        ('{"issuer": "i", "authorization_endpoint": "http://a", "token_endpoint": "http://t"}', (False, "discovery lacks jwks_uri")),
        (
            '{"issuer": "i", "authorization_endpoint": "a", "token_endpoint": "file:///t", "jwks_uri": "http://j"}',
            (False, "discovery lacks authorization_endpoint, token_endpoint"),
        ),
        ("<html>", (False, "discovery does not answer (JSONDecodeError)")),
        ("{}", (False, "discovery lacks issuer, authorization_endpoint, token_endpoint, jwks_uri")),
        ("[]", (False, "discovery answers 200, and no JSON object")),
    ],
)
def test_google_is_asked_for_its_discovery(page, finding):
    with provider(page) as url:
        settings(GOOGLE_CLIENT_ID="client", GOOGLE_DISCOVERY_URL=url)
        assert found("google") == finding


def test_a_google_that_is_away_fails():
    settings(GOOGLE_CLIENT_ID="client", GOOGLE_DISCOVERY_URL="http://127.0.0.1:1/discovery")
    assert failed() == ["google"]


def test_who_is_served_and_who_is_asked_is_said():
    assert (found("addresses"), found("captcha")) == ((True, "all are served"), (True, "off"))
    settings(IP_ALLOW="192.0.2.0/24", IP_DENY="192.0.2.7", CAPTCHA="always")
    assert found("addresses") == (True, "only 192.0.2.0/24, but not 192.0.2.7 are served")
    assert found("captcha") == (True, "always, a proof of work")
    with verifier() as running:
        settings(CAPTCHA_VERIFY_URL=running.url, CAPTCHA_SECRET="our-own-secret")
        running.says = (200, b'{"success": false, "error-codes": ["invalid-input-response"]}', {})
        assert found("captcha") == (True, f"always, {running.url}")
        running.says = (200, b'{"success": false, "error-codes": ["invalid-input-secret"]}', {})
        assert found("captcha") == (False, f"{running.url} refuses our request: invalid-input-secret")
    settings(CAPTCHA_VERIFY_URL="http://127.0.0.1:1/")
    assert failed() == ["captcha"]
    assert "our-own-secret" not in str(list(checks.each()))


def test_every_provider_is_a_line():
    parts = [finding.part for finding in checks.each()]
    assert parts[-len(NAMES) :] == NAMES
    with everybody(OWN) as running:
        config.settings = config.load(APP_ENV="testing", INSTANCE_DIR=config.settings.INSTANCE_DIR, **settings_of(running))
        found = {finding.part: (finding.is_good, finding.words) for finding in checks.each()}
        assert {name: found[name] for name in running} == {name: (True, described(one)) for name, one in running.items()}
        with away(running["github"], "emails"), away(running["discord"], "token", 503), away(running["apple"], "openid-configuration"):
            assert failed() == ["apple", "github", "discord"]
    assert failed() == [*NAMES, OWN]


def described(one):
    return one.issuer.replace(TENANT, "{tenantid}")


@contextmanager
def provider(page):
    """A server that answers everything with this page."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/discovery"
        server.shutdown()
