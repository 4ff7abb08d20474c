"""Text messages over a real wire: what a gateway gets, and what its answers mean."""

import base64
import json
import os
import ssl
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
import trustme

import config
from outbound import failures, sms
from tests.serving import free_port

pytestmark = pytest.mark.once

TO, TEXT = "+436641234567", "123456 is your code. Größe €"


class Gateway(ThreadingHTTPServer):
    """A gateway on loopback: it keeps what it gets and answers as it is told."""

    def __init__(self):
        self.got, self.status, self.may_answer = [], 201, threading.Event()
        self.may_answer.set()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gateway.got.append((self.path, dict(self.headers), body))
                gateway.may_answer.wait()
                self.send_response(gateway.status)
                if 300 <= gateway.status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        pass


@pytest.fixture
def gateway():
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.may_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(tmp_path, gateway, monkeypatch):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)

    def load(**given):
        given = {"APP_ENV": "testing", "SMS_PROVIDER": "http", "SMS_URL": f"{gateway.url}/send", "SMS_TIMEOUT": 2} | given
        return config.load(INSTANCE_DIR=tmp_path, **given)

    load()
    return load


def send(number="the-first", to=TO, text=TEXT):
    with sms.connection() as post:
        post(number, to, text)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_gateway_gets_json_with_a_bearer(gateway, settings):
    settings(SMS_PASSWORD="a-token", SMS_SENDER="House")
    send()
    ((path, headers, body),) = gateway.got
    assert path == "/send"
    assert json.loads(body) == {"to": TO, "text": TEXT, "from": "House"}
    assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", "Bearer a-token")


def test_one_message_keeps_its_number(gateway, settings):
    for number in ("a", "a", "b"):
        send(number)
    assert [headers["Idempotency-Key"] for _, headers, _ in gateway.got] == ["a", "a", "b"]


def test_a_gateway_gets_json_with_basic_authentication(gateway, settings):
    settings(SMS_USERNAME="me", SMS_PASSWORD="secret")
    send()
    assert gateway.got[0][1]["Authorization"] == basic("me", "secret")


def test_without_a_password_no_other_one_is_looked_for(gateway, settings, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login root password another\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    send()
    settings(SMS_PASSWORD="a-token")
    send()
    assert [headers.get("Authorization") for _, headers, _ in gateway.got] == [None, "Bearer a-token"]


def test_a_gateway_of_twilios_shape_gets_a_form(gateway, settings):
    settings(SMS_PROVIDER="twilio", SMS_URL=gateway.url, SMS_USERNAME="AC123", SMS_PASSWORD="secret", SMS_SENDER="+15005550006")
    send()
    ((path, headers, body),) = gateway.got
    assert path == "/2010-04-01/Accounts/AC123/Messages.json"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode()) == {"To": [TO], "From": ["+15005550006"], "Body": [TEXT]}
    assert headers["Authorization"] == basic("AC123", "secret")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_for_good(gateway, settings, status):
    gateway.status = status
    with pytest.raises(failures.Hopeless, match=rf"^refused \({status}\)$"):
        send()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 408, 425, 429, 500, 502, 503])
def test_other_answers_put_a_message_off_and_no_redirect_is_followed(gateway, settings, status):
    gateway.status = status
    with pytest.raises(failures.Later, match=rf"^put off \({status}\)$"):
        send()
    assert [path for path, _, _ in gateway.got] == ["/send"]


def test_a_slow_gateway_is_not_waited_for(gateway, settings):
    settings(SMS_TIMEOUT=1)
    gateway.may_answer.clear()  # Until the test is over.
    with pytest.raises(failures.Down, match=r"^no answer in time$"):
        send()


def test_a_gateway_that_is_not_there_is_down(settings):
    port = free_port()
    settings(SMS_URL=f"http://127.0.0.1:{port}/")
    with pytest.raises(failures.Down, match=r"^no connection \(ConnectionError\)$"):
        send()


@pytest.fixture
def authority(gateway):
    """Gives the gateway a certificate of an authority that nobody knows yet."""
    made = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("localhost").configure_cert(context)
    gateway.socket = context.wrap_socket(gateway.socket, server_side=True)
    return made


def test_a_certificate_of_nobody_knows_whom_is_refused(gateway, settings, authority):
    settings(SMS_URL=f"https://localhost:{gateway.server_port}/send")
    with pytest.raises(failures.Down, match="certificate"):
        send()
    assert gateway.got == []


def test_a_certificate_for_another_name_is_refused(gateway, settings, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    settings(SMS_URL=f"https://127.0.0.1:{gateway.server_port}/send")
    with pytest.raises(failures.Down, match="certificate"):
        send()
    assert gateway.got == []


def test_an_authority_of_ssl_cert_file_is_trusted(gateway, settings, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    settings(SMS_URL=f"https://localhost:{gateway.server_port}/send")
    send()
    assert len(gateway.got) == 1


def test_no_failure_tells_the_number_the_text_or_the_password(gateway, settings):
    settings(SMS_USERNAME="me", SMS_PASSWORD="secret")
    gateway.status = 422
    with pytest.raises(failures.Hopeless) as refused:
        send()
    assert not {TO, TEXT, "secret"} & set(refused.value.reason.split())


def test_on_the_console_a_message_becomes_a_file_and_the_log_names_neither_number_nor_text(settings, tmp_path, caplog):
    caplog.set_level("INFO")
    settings(SMS_PROVIDER="console")
    send()
    (path,) = (tmp_path / "outbox").iterdir()
    assert path.read_text() == f"To: {TO}\n\n{TEXT}\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert f"A text message to +43 … 67 was written to {path}" in caplog.text
    assert TO not in caplog.text
    assert "123456" not in caplog.text


def test_in_production_the_console_keeps_no_file(settings, tmp_path, caplog):
    caplog.set_level("INFO")
    settings(SMS_PROVIDER="console")
    config.settings = config.settings.model_copy(update={"APP_ENV": "production"})
    send()
    assert not (tmp_path / "outbox").exists()
    assert "+43 … 67 went nowhere" in caplog.text
    assert "123456" not in caplog.text


def test_a_folder_that_can_not_be_written_is_down(settings, tmp_path):
    settings(SMS_PROVIDER="console")
    (tmp_path / "outbox").write_text("in the way")
    with pytest.raises(failures.Down, match="can't be written"):
        send()


@pytest.mark.parametrize(("number", "shown"), [(TO, "+43 … 67"), ("+14155550123", "+1 … 23"), ("+358401234567", "+358 … 67")])
def test_a_number_is_shown_by_its_country_and_its_end(number, shown):
    assert sms.masked(number) == shown
