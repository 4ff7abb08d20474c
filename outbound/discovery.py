"""What an OpenID provider says about itself: its description and its keys (OpenID Connect Discovery 1.0, RFC 7517).

Nothing here waits for long, follows a redirect, or reads without end; a description is kept for some minutes, a failure never.
"""

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from requests.adapters import HTTPAdapter

ANSWER_SECONDS = 5  # For one answer: its first byte, and each after it.
VISIT_SECONDS = 12  # For everything that one visit asks of a provider.
LONGEST_ANSWER = 512 * 1024
CACHE_SECONDS = 300  # How long a provider's description and keys are taken as they were.
KEY_TYPES = ("RSA", "EC", "OKP")  # Those whose secret half only the provider has.
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")

T = TypeVar("T")
_cache: dict[str, tuple[float, Any]] = {}


class Failed(Exception):
    """What came from a provider can't be used. The words are ours, and hold no secret."""


class Away(Failed):
    """A provider does not answer, answers 5xx, or describes itself in a way that can't be used."""


class Wire(HTTPAdapter):
    """The connections of one visit: nothing is waited for longer than the visit has left, or read beyond LONGEST_ANSWER."""

    def __init__(self, seconds: float) -> None:
        super().__init__(max_retries=0)
        self._ends = time.monotonic() + seconds

    def send(self, request: requests.PreparedRequest, *_: Any, **more: Any) -> requests.Response:
        """Send a request and read its whole answer."""
        more |= {"timeout": min(ANSWER_SECONDS, max(0.1, self._ends - time.monotonic())), "stream": True}
        response = super().send(request, **more)
        body = b""
        while part := _next(response):
            body += part
            if len(body) > LONGEST_ANSWER or time.monotonic() > self._ends:
                response.close()
                raise requests.Timeout
        response._content = body
        return response


def over_wire(session: requests.Session, seconds: float | None = None) -> requests.Session:
    """This session, for one visit of so many seconds, else VISIT_SECONDS. Certificates are checked, by SSL_CERT_FILE where that is set."""
    wire = Wire(seconds or VISIT_SECONDS)
    session.mount("https://", wire)
    session.mount("http://", wire)
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    return session


def fetch(url: str) -> dict[str, Any]:
    """The description at this address, asked anew; `Away` if it can't be had or lacks what a sign-in needs."""
    with over_wire(requests.Session()) as session:
        found = document(session, url, "discovery")
    lacking = [] if _is_issuer(found.get("issuer")) else ["issuer"]
    lacking += [name for name in ENDPOINTS if not _is_endpoint(found.get(name), url)]
    if lacking:
        raise Away(f"discovery lacks {', '.join(lacking)}")
    return found


def describe(url: str) -> dict[str, Any]:
    """The same, as it was within CACHE_SECONDS."""
    return _cached(url, lambda: fetch(url))


def keys(about: dict[str, Any], *, anew: bool = False) -> list[Key]:
    """The public keys of the provider that is described so; those that can't be read are left out. `Away` if none is left."""
    url: str = about["jwks_uri"]
    if anew:
        _cache.pop(url, None)
    return _cached(url, lambda: _fetch_keys(url))


def document(session: requests.Session, url: str, name: str) -> dict[str, Any]:
    """The JSON object at an address of a provider; `Away`, which calls it by its name, if there is none."""
    try:
        answer = session.get(url, allow_redirects=False)
        found = answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise Away(f"{name} does not answer ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise Away(f"{name} answers {answer.status_code}, and no JSON object")
    return found


def forget() -> None:
    """Ask every provider anew for its description and its keys."""
    _cache.clear()


def _next(response: requests.Response) -> bytes:
    """What has come by now. Requests' own ways of reading wait for a whole part, which may drip in for hours."""
    try:
        part: bytes = response.raw.read1(16 * 1024, decode_content=True)
    except Exception as error:  # What breaks below Requests has names of its own.
        raise requests.ConnectionError(type(error).__name__) from None
    return part


def _is_issuer(name: Any) -> bool:
    """Whether it can be stored, and is compared alike by every database."""
    return _is_visible(name) and len(name) <= 255


def _is_visible(text: Any) -> bool:
    """Whether it is of visible ASCII, as an address is: it goes into headers."""
    return isinstance(text, str) and text != "" and all("!" <= character <= "~" for character in text)


def _is_endpoint(url: Any, described_at: str) -> bool:
    """Whether it is an address of the web, and not by plain http where the description came by https."""
    try:
        scheme = urlsplit(url).scheme if _is_visible(url) and urlsplit(url).hostname else ""
    except ValueError:
        return False
    return scheme == "https" or (scheme == "http" and described_at.startswith("http://"))


def _fetch_keys(url: str) -> list[Key]:
    with over_wire(requests.Session()) as session:
        listed = document(session, url, "jwks").get("keys")
    found = [key for key in map(_key, listed if isinstance(listed, list) else []) if key is not None]
    if not found:
        raise Away("the provider's keys can't be read")
    return found


def _key(data: Any) -> Key | None:
    """A public key; None for what is none, or is not understood (RFC 7517, 5)."""
    if not isinstance(data, dict) or data.get("kty") not in KEY_TYPES:
        return None
    try:
        return JWKRegistry.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _cached(url: str, ask: Callable[[], T]) -> T:
    until, kept = _cache.get(url, (0.0, None))
    if time.monotonic() < until:
        return kept  # type: ignore[no-any-return]
    fresh = ask()
    _cache[url] = (time.monotonic() + CACHE_SECONDS, fresh)
    return fresh
