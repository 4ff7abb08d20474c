"""Text messages to a gateway: any that takes JSON, or one of Twilio's shape; on the console for development.

Certificates are checked, no redirect is followed, and the answer's body is not read: it may repeat the message.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import phonenumbers
import requests
from requests.auth import AuthBase

import config
from outbound import files
from outbound.failures import Down, Hopeless, Later

TWILIO = "https://api.twilio.com"
PASSING = (408, 425, 429)  # The refusals that say "not now" rather than "no".

logger = logging.getLogger(__name__)


class Send(Protocol):
    """Hand over one message. `number` is the message's own for good, so that a gateway may know it again. Raises `Failed`."""

    def __call__(self, number: str, to: str, text: str, /) -> None:
        """Returns once the gateway has taken the message, or the file is safe on the disk."""


@contextmanager
def connection() -> Iterator[Send]:
    """One connection for a run of messages."""
    post = GATEWAYS.get(config.settings.SMS_PROVIDER)
    if post is None:
        yield _write
        return
    with requests.Session() as session:
        session.verify = os.environ.get("SSL_CERT_FILE") or True
        yield lambda number, to, text: _taken(session, post(number, to, text))


def masked(number: str) -> str:
    """A number as it may be shown: its country and its last two digits."""
    return f"+{phonenumbers.parse(number).country_code} … {number[-2:]}"


class _Bearer(AuthBase):
    """A bearer token, or nothing. Without one of its own Requests would look for a password in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request."""
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _as_json(number: str, to: str, text: str) -> dict[str, Any]:
    settings = config.settings
    auth = (settings.SMS_USERNAME, settings.SMS_PASSWORD) if settings.SMS_USERNAME else _Bearer(settings.SMS_PASSWORD)
    message = {"to": to, "text": text, "from": settings.SMS_SENDER}
    return {"url": settings.SMS_URL, "json": message, "auth": auth, "headers": {"Idempotency-Key": number}}


def _as_twilio(_number: str, to: str, text: str) -> dict[str, Any]:
    settings = config.settings
    url = f"{(settings.SMS_URL or TWILIO).rstrip('/')}/2010-04-01/Accounts/{settings.SMS_USERNAME}/Messages.json"
    return {
        "url": url,
        "data": {"To": to, "From": settings.SMS_SENDER, "Body": text},
        "auth": (settings.SMS_USERNAME, settings.SMS_PASSWORD),
    }


GATEWAYS: dict[str, Callable[[str, str, str], dict[str, Any]]] = {"http": _as_json, "twilio": _as_twilio}


def _taken(session: requests.Session, request: dict[str, Any]) -> None:
    """Post a message and judge the answer by its status."""
    try:
        with session.post(**request, timeout=config.settings.SMS_TIMEOUT, allow_redirects=False, stream=True) as answer:
            status = answer.status_code
    except requests.exceptions.SSLError:
        raise Down("no TLS with the gateway, or its certificate is not accepted") from None
    except requests.Timeout:
        raise Down("no answer in time") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise Down(f"no connection ({type(error).__name__})") from None
    if 400 <= status < 500 and status not in PASSING:
        raise Hopeless(f"refused ({status})")
    if not 200 <= status < 300:
        raise Later(f"put off ({status})")


def _write(_number: str, to: str, text: str) -> None:
    """The message as a file, but in production; the log names that it went, never what it says."""
    if config.settings.APP_ENV == "production":
        logger.info("A text message to %s went nowhere: SMS_PROVIDER is %s", masked(to), config.settings.SMS_PROVIDER)
        return
    path = files.store(f"To: {to}\n\n{text}\n".encode(), ".txt")
    logger.info("A text message to %s was written to %s", masked(to), path)
