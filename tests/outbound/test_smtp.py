"""The wire to a real SMTP server, with real certificates; and the files where there is no server."""

import email
import email.policy
import socket
import ssl
import stat
import time
from contextlib import contextmanager

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

import config
from outbound import failures, smtp
from tests.serving import free_port

pytestmark = pytest.mark.once

NUMBER = "0123456789abcdef0123456789abcdef"
LINK = "https://auth.example/confirm/tOkEn-9f8e7d6c5b4a"
LETTER = ("jo@example.com", "Confirm your address", f"Open\n\n{LINK}\n\n.\nFrom here on.\n", f'<a href="{LINK}">open</a>')


class Postbox:
    """Keeps what it gets; answers what it is told to."""

    def __init__(self):
        self.got, self.answers, self.sessions = [], {}, []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        for word, answer in self.answers.items():
            if word.encode() in envelope.content:
                if answer == "hang up":
                    server.transport.abort()
                return answer
        self.got.append(envelope)
        self.sessions.append(session)
        return "250 OK"


class Server(Controller):
    """On a port that the system chooses."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def settings(tmp_path):
    def load(**given):
        return config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, **given)

    load()
    return load


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The machine trusts our authority, by SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@contextmanager
def running(postbox, *, certificate=None, implicit=False, **options):
    """A server on a free port; its port."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        if not implicit:
            options |= {"tls_context": context, "require_starttls": True}
    controller = Server(postbox, hostname="127.0.0.1", port=0, ssl_context=context if implicit else None, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def plain(port, **more):
    return {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port, "MAIL_USE_TLS": False, "MAIL_TIMEOUT": 5} | more


def parsed(content):
    return email.message_from_bytes(content, policy=email.policy.default)


def bodies(message):
    return [message.get_body((kind,)).get_content().replace("\r\n", "\n") for kind in ("plain", "html")]


def send_one(*letter):
    with smtp.connection() as send:
        send(NUMBER, *(letter or LETTER))


def test_a_letter_arrives_as_it_was_written(settings):
    postbox = Postbox()
    with running(postbox) as port:
        settings(**plain(port, MAIL_DEFAULT_SENDER="Gatehouse <no-reply@auth.example>"))
        send_one()
    (envelope,) = postbox.got
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@auth.example", ["jo@example.com"])
    message = parsed(envelope.content)
    assert message["Message-ID"] == f"<{NUMBER}@auth.example>"
    assert (message["From"], message["To"]) == ("Gatehouse <no-reply@auth.example>", "jo@example.com")
    assert message["Subject"] == "Confirm your address"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo
    assert bodies(message) == [LETTER[2], LETTER[3]]
    assert LINK.encode() in envelope.content, "readable as it stands"


def test_letters_beyond_ascii_and_with_long_lines_arrive_in_seven_bits(settings):
    postbox = Postbox()
    text, html = "Grüße, 署名\n" + "x" * 3000 + "\n", "<p>Grüße</p>\n"
    with running(postbox) as port:
        settings(**plain(port, MAIL_DEFAULT_SENDER="Pförtner <no-reply@auth.example>"))
        send_one("jo@example.com", "Grüße an 署名", text, html)
    content = postbox.got[0].content
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) < 998
    message = parsed(content)
    assert message["Subject"] == "Grüße an 署名"
    assert bodies(message) == [text, html]


def test_a_run_of_letters_shares_one_connection(settings):
    postbox = Postbox()
    with running(postbox) as port:
        settings(**plain(port))
        with smtp.connection() as send:
            for number in range(3):
                send(str(number), *LETTER)
    assert len(postbox.got) == 3
    assert len({id(session) for session in postbox.sessions}) == 1


def test_starttls_with_sign_in(settings, authority, trusted):
    postbox, seen = Postbox(), []

    def authenticator(server, session, envelope, mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"app password", handled=False)

    options = {"certificate": authority.issue_cert("127.0.0.1"), "authenticator": authenticator, "auth_required": True}
    with running(postbox, **options) as port:
        given = plain(port, MAIL_USE_TLS=True, MAIL_USERNAME="post", MAIL_PASSWORD="app password")
        settings(**given)
        smtp.check()
        send_one()
        assert postbox.sessions[0].ssl
        settings(**given | {"MAIL_PASSWORD": "wrong"})
        with pytest.raises(failures.Down, match=r"^sign-in refused \(535\)$"):
            send_one()
    assert seen[-1] == (b"post", b"wrong")
    assert len(postbox.got) == 1


def test_tls_from_the_first_byte_wins_over_starttls(settings, authority, trusted):
    postbox = Postbox()
    with running(postbox, certificate=authority.issue_cert("127.0.0.1"), implicit=True) as port:
        settings(**plain(port, MAIL_USE_SSL=True, MAIL_USE_TLS=True))
        send_one()
    assert len(postbox.got) == 1


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("fault", ["unknown authority", "another name"])
def test_a_wrong_certificate_is_refused_and_nothing_is_sent(settings, authority, trusted, implicit, fault):
    wrong = trustme.CA().issue_cert("127.0.0.1") if fault == "unknown authority" else authority.issue_cert("mail.example")
    postbox = Postbox()
    with running(postbox, certificate=wrong, implicit=implicit) as port:
        settings(**plain(port, MAIL_USE_SSL=implicit, MAIL_USE_TLS=not implicit, MAIL_USERNAME="post", MAIL_PASSWORD="secret"))
        with pytest.raises(failures.Down, match="certificate is not accepted"):
            send_one()
    assert postbox.got == []


def test_a_server_without_starttls_gets_nothing(settings):
    postbox = Postbox()
    with running(postbox) as port:
        settings(**plain(port, MAIL_USE_TLS=True))
        with pytest.raises(failures.Down, match="lacks STARTTLS"):
            send_one()
    assert postbox.got == []


def test_a_silent_server_is_left_after_the_time_out(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings(**plain(silent.getsockname()[1], MAIL_TIMEOUT=1))
        began = time.monotonic()
        with pytest.raises(failures.Down, match="no answer in time"):
            send_one()
        assert time.monotonic() - began < 15  # Without the setting it would be 20.


def test_a_server_that_is_away_is_down(settings):
    port = free_port()
    settings(**plain(port))
    for act in (send_one, smtp.check):
        with pytest.raises(failures.Down, match="connection refused"):
            act()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ("550 no such user jo@example.com", failures.Refused, "refused (550)"),
        ("451 greylisted jo@example.com", failures.Later, "put off (451)"),
    ],
)
@pytest.mark.parametrize("at", ["jo@example.com", "Open"])
def test_a_refusal_names_neither_the_address_nor_the_servers_words(settings, answer, kind, words, at):
    postbox = Postbox()
    with running(postbox) as port:
        settings(**plain(port))
        with smtp.connection() as send:
            postbox.answers = {at: answer}
            with pytest.raises(kind) as refusal:
                send(NUMBER, *LETTER)
            assert type(refusal.value) is kind
            assert refusal.value.reason == words
            postbox.answers = {}
            send(NUMBER, *LETTER)
    assert len(postbox.got) == 1


@pytest.mark.parametrize("answer", ["hang up", "421 too many"])
def test_a_lost_connection_is_opened_again_for_the_next_letter(settings, answer):
    postbox = Postbox()
    postbox.answers = {"bad letter": answer}
    with running(postbox) as port:
        settings(**plain(port))
        with smtp.connection() as send:
            with pytest.raises(failures.Later):
                send("1", "jo@example.com", "x", "bad letter", "x")
            send("2", *LETTER)
            for _ in range(2):
                with pytest.raises(failures.Later):
                    send("1", "jo@example.com", "x", "bad letter", "x")
            with pytest.raises(failures.Down):
                send("1", "jo@example.com", "x", "bad letter", "x")
    assert len(postbox.got) == 1


@pytest.mark.parametrize(
    ("to", "subject"), [("jö@example.com", "x"), ("jo@example.com\r\nRCPT TO:<al@example.com>", "x"), ("jo@example.com", "x\r\nBcc: al")]
)
def test_what_can_not_be_a_header_is_refused_and_not_sent(settings, to, subject):
    postbox = Postbox()
    with running(postbox) as port:
        settings(**plain(port))
        with smtp.connection() as send:
            with pytest.raises(failures.Refused):
                send(NUMBER, to, subject, "x", "x")
            send(NUMBER, *LETTER)
    assert len(postbox.got) == 1


def test_without_a_server_letters_are_files_for_the_owner_only(settings, tmp_path, caplog):
    caplog.set_level("INFO")
    send_one()
    send_one()
    first, second = sorted((tmp_path / "outbox").iterdir())
    assert {first.suffix, second.suffix} == {".eml"}
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    message = parsed(first.read_bytes())
    assert (message["To"], message["Message-ID"]) == ("jo@example.com", f"<{NUMBER}@localhost>")
    assert message["Date"].datetime.tzinfo
    assert LINK in first.read_text()
    assert first.name in caplog.text
    assert "confirm" not in caplog.text.lower()


def test_a_header_break_makes_no_file(settings, tmp_path):
    with pytest.raises(failures.Refused):
        send_one("jo@example.com", "x\r\nBcc: al@example.com", "x", "x")
    assert list(tmp_path.glob("outbox/*")) == []


def test_a_folder_that_can_not_be_written_is_down(settings, tmp_path):
    smtp.check()
    assert list((tmp_path / "outbox").iterdir()) == []
    (tmp_path / "outbox").rmdir()
    (tmp_path / "outbox").write_text("in the way")
    for act in (send_one, smtp.check):
        with pytest.raises(failures.Down, match="can't be written"):
            act()


def test_a_debugging_flask_does_not_print_the_conversation(settings, monkeypatch, capfd):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with running(Postbox()) as port:
        settings(**plain(port))
        send_one()
    assert "tOkEn" not in "".join(capfd.readouterr())
