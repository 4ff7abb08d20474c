"""Letters to an SMTP server by Flask-Mail, or to `.eml` files in INSTANCE_DIR/outbox where no server is set.

Flask-Mail neither checks the server's certificate nor has a time-out; here both are done, and nothing is ever sent
in the clear after a failed STARTTLS.
"""

import logging
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.charset import QP, Charset
from email.mime.text import MIMEText
from email.utils import parseaddr
from typing import Protocol
from urllib.parse import urlsplit

from flask import Flask
from flask_mail import BadHeaderError, Connection, Mail, Message

import config
from outbound import files
from outbound.failures import Down, Failed, Later, Refused

LOSSES_IN_A_ROW = 3  # One letter may make a server hang up; three say that it is the server.
LINE_OCTETS = 990  # RFC 5321 4.5.3.1.6 allows 998 and the line's end.

logger = logging.getLogger(__name__)


class Send(Protocol):
    """Hand over one letter. `number` is the letter's own for good: it makes the Message-ID. Raises `Failed`."""

    def __call__(self, number: str, to: str, subject: str, text: str, html: str) -> None:
        """Returns once the server has taken the letter, or the file is safe on the disk."""


@contextmanager
def connection() -> Iterator[Send]:
    """One connection for a run of letters, opened by the first and closed at the end; after a loss it is opened again."""
    if not config.settings.MAIL_SERVER:
        yield _write
        return
    wire = _Wire(_app())
    try:
        yield wire.post
    finally:
        wire.leave()


def check() -> None:
    """Connect, sign in and leave without a letter; or see that the folder can be written. Raises `Down`."""
    if not config.settings.MAIL_SERVER:
        files.store(b"", ".eml", keep=False)
        return
    wire = _Wire(_app())
    wire.open()
    wire.leave()


class _Message(Message):
    """Flask-Mail's message; 7 bit and readable as it stands where that is possible, else quoted-printable."""

    def _mimetext(self, text: str | None, subtype: str = "plain") -> MIMEText:
        body = text or ""
        charset = Charset("utf-8")  # Flask-Mail has told the standard library to leave such bodies as they are.
        if not body.isascii() or max(map(len, body.splitlines()), default=0) > LINE_OCTETS:
            charset.body_encoding = QP
        return MIMEText(body, subtype, charset)  # type: ignore[arg-type]


class _Wire(Connection):
    """Flask-Mail's connection with a time-out and an authenticated server, and with a memory for losses."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app.extensions["mail"])
        self.app = app
        self.losses = 0

    def configure_host(self) -> smtplib.SMTP:
        """Connect, start TLS and sign in; or raise, with nothing left open. It never prints the conversation (FLASK_DEBUG)."""
        context = ssl.create_default_context()  # Honours SSL_CERT_FILE and SSL_CERT_DIR.
        server, port, timeout = self.mail.server, self.mail.port, config.settings.MAIL_TIMEOUT
        if self.mail.use_ssl:
            host: smtplib.SMTP = smtplib.SMTP_SSL(server, port, _host(), timeout=timeout, context=context)
        else:
            host = smtplib.SMTP(server, port, _host(), timeout=timeout)
        try:
            if self.mail.use_tls:
                host.starttls(context=context)
            if self.mail.username and self.mail.password:
                host.login(self.mail.username, self.mail.password)
        except BaseException:
            host.close()
            raise
        return host

    def open(self) -> None:
        """Connect, or raise `Down`."""
        try:
            self.host = self.configure_host()
        except (OSError, ValueError) as error:
            raise Down(_words(error)) from None

    def post(self, number: str, to: str, subject: str, text: str, html: str) -> None:
        """See `Send`."""
        if self.host is None:
            self.open()
        try:
            with self.app.app_context():
                self.send(_message(number, to, subject, text, html))
        except (OSError, ValueError, BadHeaderError) as error:
            raise self._judged(error) from None
        self.losses = 0

    def leave(self) -> None:
        """Say good-bye, if anybody listens."""
        if self.host is not None:
            with suppress(OSError):
                self.host.quit()
            self.host.close()

    def _judged(self, error: Exception) -> Failed:
        """What the failure of one letter means; smtplib has closed its socket where the connection was lost."""
        if self.host is not None and self.host.sock is not None:
            self.losses = 0
            return _verdict(error)
        self.host = None
        self.losses += 1
        return Down(_words(error)) if self.losses >= LOSSES_IN_A_ROW else Later(_words(error))


def _app() -> Flask:
    """A private application that holds Flask-Mail's configuration and serves nothing."""
    settings = config.settings
    app = Flask("outbound", static_folder=None)
    app.config.from_mapping(
        MAIL_SERVER=settings.MAIL_SERVER,
        MAIL_PORT=settings.MAIL_PORT,
        MAIL_USE_SSL=settings.MAIL_USE_SSL,
        MAIL_USE_TLS=settings.MAIL_USE_TLS and not settings.MAIL_USE_SSL,
        MAIL_USERNAME=settings.MAIL_USERNAME,
        MAIL_PASSWORD=settings.MAIL_PASSWORD,
    )
    Mail(app)
    return app


def _message(number: str, to: str, subject: str, text: str, html: str) -> Message:
    """The letter as Flask-Mail has it. Auto-Submitted keeps autoresponders quiet (RFC 3834 5)."""
    sender = config.settings.MAIL_DEFAULT_SENDER
    message = _Message(subject, [to], text, html, sender=sender, extra_headers={"Auto-Submitted": "auto-generated"})
    message.msgId = f"<{number}@{_host()}>"
    if message.has_bad_headers():
        raise BadHeaderError
    return message


def _host() -> str:
    """The name that this machine goes by in mail: the sender's domain, else that of BASE_URL."""
    domain = parseaddr(config.settings.MAIL_DEFAULT_SENDER)[1].rpartition("@")[2]
    return domain if domain and domain.isascii() else urlsplit(config.settings.BASE_URL).hostname or "localhost"


def _verdict(error: Exception) -> Failed:
    """A connection that still stands has answered: only a 5xx to the recipient or the letter is for good (RFC 5321 4.2.1)."""
    code = _code(error)
    if isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
        is_final = code >= 500 and not isinstance(error, smtplib.SMTPSenderRefused)  # The sender is ours to set right.
        return Refused(f"refused ({code})") if is_final else Later(f"put off ({code})")
    return Refused("it can't be written as mail")


def _code(error: Exception) -> int:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return max((code for code, _ in error.recipients.values()), default=0)
    return error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else 0


def _words(error: Exception) -> str:
    """Why there is no connection, in words of our own."""
    cause = error.__context__ if isinstance(error, smtplib.SMTPServerDisconnected) and error.__context__ else error
    meanings: tuple[tuple[type[BaseException], str], ...] = (
        (ssl.SSLCertVerificationError, "the server's certificate is not accepted"),
        (ssl.SSLError, "no TLS with the server"),
        (TimeoutError, "no answer in time"),
        (socket.gaierror, "the server's name is not known"),
        (ConnectionRefusedError, "connection refused"),
        (smtplib.SMTPAuthenticationError, f"sign-in refused ({_code(error)})"),
        (smtplib.SMTPNotSupportedError, "the server lacks STARTTLS or AUTH"),
        (smtplib.SMTPResponseException, f"the server answered {_code(error)}"),
    )
    return next((words for kind, words in meanings if isinstance(cause, kind)), "connection lost")


def _write(number: str, to: str, subject: str, text: str, html: str) -> None:
    """The letter as a file that only the owner may read. The log names the file, never what is in it."""
    try:
        with _app().app_context():
            content = _message(number, to, subject, text, html).as_bytes()
    except (ValueError, BadHeaderError):
        raise Refused("it can't be written as mail") from None
    path = files.store(content, ".eml")
    logger.info("A mail was written to %s", path)
