"""Passwords: what is acceptable, and how they are kept.

A password is compared after NFC (NIST SP 800-63B 5.1.1.2). bcrypt sees only 72 bytes, and bcrypt 5 raises beyond, so it
is given a fixed-length digest of the whole password; the stored hash says so by its prefix, for the day that changes.
"""

import base64
import hmac
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from flask_bcrypt import Bcrypt

import config
from domain import limits
from domain.errors import Fault, Unavailable, WeakPassword

PREFIX = "v1$"  # base64(HMAC-SHA-256("gatehouse password v1", NFC(password))), then bcrypt.
_bcrypt = Bcrypt()
_hashing = threading.BoundedSemaphore(16)  # Hashes at once per process; more would only queue for the cores.


def check(password: str) -> None:
    """Refuse a password that is too short or too long (`WeakPassword`, with the reasons). Lengths are in code points."""
    length = len(unicodedata.normalize("NFC", password))
    shortest, longest = config.settings.PASSWORD_MIN_LENGTH, limits.PASSWORD_MAX_LENGTH
    if length < shortest:
        raise WeakPassword(errors=[Fault("password", "too_short", f"Use at least {shortest} characters; a few words are fine.")])
    if length > longest:
        raise WeakPassword(errors=[Fault("password", "too_long", f"Use at most {longest} characters.")])


def hash(password: str) -> str:
    """The hash to store. Slow on purpose (BCRYPT_ROUNDS): never call it inside a transaction."""
    with _turn():
        made: bytes = _bcrypt.generate_password_hash(_digest(password), config.settings.BCRYPT_ROUNDS)
    return PREFIX + made.decode()


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password behind `stored`; without one, the same work for nothing, so that time tells nothing."""
    known = stored is not None and stored.startswith(PREFIX)
    against = stored if stored is not None and known else _nobody(config.settings.BCRYPT_ROUNDS)
    with _turn():
        right = bool(_bcrypt.check_password_hash(against.removeprefix(PREFIX), _digest(password)))
    return right and known


def _nobody(rounds: int) -> str:
    """A hash of the usual cost that no password is known for. Written down, not made: making it would take time once."""
    return f"{PREFIX}$2b${rounds:02}${'.' * 53}"


def _digest(password: str) -> bytes:
    normal = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(b"gatehouse password v1", normal, "sha256"))


@contextmanager
def _turn() -> Iterator[None]:
    """One of the places for hashing; `Unavailable` if none gets free, rather than letting all requests wait."""
    if not _hashing.acquire(timeout=10):
        raise Unavailable(retry_after=5)
    try:
        yield
    finally:
        _hashing.release()
