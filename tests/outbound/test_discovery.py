"""What providers say about themselves: asked seldom, never waited for long, and not believed in everything."""

import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest
import trustme

from outbound import discovery
from outbound.discovery import Away
from tests.provider import MISSING, Provider, away, new_key
from tests.serving import free_port

pytestmark = pytest.mark.once


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider
    discovery.forget()


def url_of(google):
    return google.settings["GOOGLE_DISCOVERY_URL"]


@pytest.fixture
def raw():
    """A server of few words: what it sends is up to the test. Its address, and what to send with pauses."""
    said = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve():
            while not over.is_set():
                try:
                    wire, _ = listener.accept()
                except TimeoutError:
                    continue
                with wire:
                    try:
                        wire.recv(4096)
                        for part in said:
                            if over.wait(0.3):
                                return
                            wire.sendall(part)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", said
        over.set()
        thread.join()


def test_a_description_is_kept_for_a_while_and_then_asked_anew(google, monkeypatch):
    assert [discovery.describe(url_of(google))["issuer"] for _ in range(3)] == [google.issuer] * 3
    assert google.times("openid-configuration") == 1
    monkeypatch.setattr(discovery, "CACHE_SECONDS", 0)
    discovery.forget()
    assert [discovery.describe(url_of(google))["issuer"] for _ in range(3)] == [google.issuer] * 3
    assert google.times("openid-configuration") == 4


def test_a_failure_is_not_kept(google):
    with away(google, "openid-configuration"), pytest.raises(Away):
        discovery.describe(url_of(google))
    assert discovery.describe(url_of(google))["issuer"] == google.issuer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, {}),
        (403, {}),
        (200, b""),
        (200, b"<html>"),
        (200, []),
        (200, None),
        (200, b"[" * 100_000),
        (200, b'{"issuer": ' + b" " * 600_000),
        (302, b"/elsewhere"),
    ],
    ids=range(10),
)
def test_what_is_no_description_is_none(google, status, body):
    with away(google, "openid-configuration", status, body), pytest.raises(Away):
        discovery.fetch(url_of(google))
    assert google.times("elsewhere") == 0


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": MISSING},
        {"issuer": ""},
        {"issuer": None},
        {"issuer": ["https://a"]},
        {"issuer": "https://a\u0000"},
        {"issuer": "x" * 256},
        {"authorization_endpoint": MISSING},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://a\r\nSet-Cookie: b"},
        {"token_endpoint": "/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": "http://[::1/token"},
        {"jwks_uri": 1},
        {"jwks_uri": "gopher://a/keys"},
        {"jwks_uri": "http:///keys"},
    ],
    ids=str,
)
def test_a_description_without_what_is_needed_is_none(google, described):
    google.described = described
    with pytest.raises(Away, match=f"lacks {next(iter(described))}"):
        discovery.fetch(url_of(google))


def test_a_description_that_came_by_https_leads_to_https_only():
    described_at = "https://accounts.example.com/.well-known/openid-configuration"
    assert discovery._is_endpoint("https://accounts.example.com/token", described_at)
    assert not discovery._is_endpoint("http://accounts.example.com/token", described_at)


def test_keys_are_kept_until_they_are_asked_anew(google):
    about = discovery.fetch(url_of(google))
    assert [len(discovery.keys(about)) for _ in range(3)] == [1, 1, 1]
    google.keys.append(new_key())
    assert (len(discovery.keys(about)), len(discovery.keys(about, anew=True)), google.times("keys")) == (1, 2, 2)


def test_keys_that_can_not_be_read_and_shared_secrets_are_left_out(google):
    good = google.keys[0].as_dict(private=False)
    google.published = [1, None, {}, {"kty": "new"}, {"kty": "RSA", "n": "", "e": ""}, {"kty": "oct", "k": "AAAA"}, good]
    assert [key.kid for key in discovery.keys(discovery.fetch(url_of(google)))] == [google.keys[0].kid]
    google.published = google.published[:-1]
    with pytest.raises(Away):
        discovery.keys(discovery.fetch(url_of(google)), anew=True)


def test_nobody_there_is_away():
    port = free_port()
    with pytest.raises(Away, match="ConnectionError"):
        discovery.fetch(f"http://127.0.0.1:{port}/")


def test_silence_is_not_waited_for(raw, monkeypatch):
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 0.5)
    url, said = raw
    said += [b""] * 100
    began = time.monotonic()
    with pytest.raises(Away, match="Timeout"):
        discovery.fetch(url)
    assert time.monotonic() - began < 15  # The silence lasts 30.


def test_an_answer_that_drips_is_cut_off(raw, monkeypatch):
    monkeypatch.setattr(discovery, "VISIT_SECONDS", 1)
    url, said = raw
    said += [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b" "] * 100]
    began = time.monotonic()
    with pytest.raises(Away):
        discovery.fetch(url)
    assert time.monotonic() - began < 15  # The whole of it takes 30.


def test_a_certificate_of_nobody_knows_whom_is_refused(monkeypatch):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands():
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as wire:
                wire.recv(1000)

        thread = threading.Thread(target=shake_hands)
        thread.start()
        with pytest.raises(Away, match="SSLError"):
            discovery.fetch(f"https://localhost:{listener.getsockname()[1]}/.well-known/openid-configuration")
        thread.join()
