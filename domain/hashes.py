"""Password hashes: made anew, verified, and told whether they are of the present kind.

bcrypt sees only 72 bytes, and bcrypt 5 raises beyond; so every scheme is given a fixed-length digest of the whole password,
compared after NFC (NIST SP 800-63B 5.1.1.2), and keyed where PASSWORD_PEPPER is set. A stored hash begins with a label that
says which digest it is of; without a label it is another maker's, of the password itself.
"""

import base64
import hmac
import logging
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from argon2.exceptions import Argon2Error

import config
from domain import hash_formats
from domain.errors import Unavailable
from domain.hash_formats import Format, Scheme

PLAIN = "v1$"  # base64(HMAC-SHA-256("gatehouse password v1", NFC(password))), then the scheme.
PEPPERED = re.compile(r"v2\$([0-9a-f]{8})\$")  # The same under a key of PASSWORD_PEPPER, which is named by a short hash of it.
LONGEST = 255  # Characters, as the column has it.

logger = logging.getLogger(__name__)


def make(password: str) -> str:
    """The hash to store, by PASSWORD_SCHEME. Slow on purpose: never call it inside a transaction. `Unavailable`."""
    scheme, label = _scheme(), _label()
    with _turn(scheme.places):
        return label + scheme.make(_secrets(label, password)[0])


def verify(stored: str, password: str) -> bool:
    """Whether it is the password behind `stored`. As slow as that hash asks for, within the ceilings; `Unavailable`.

    What has no known form, asks for too much, or is under a pepper that is not listed is behind no password.
    """
    label, inner = _parts(stored)
    found = hash_formats.of(inner)
    if found is None:
        return False
    with _turn(found.places):
        return any(_matches(found, inner, secret) for secret in _secrets(label, password))


def is_current(stored: str) -> bool:
    """Whether a new hash would be of the same scheme, cost and pepper."""
    return stored.startswith(_label() + _scheme().stamp())


def nobody() -> str:
    """A hash of the usual cost that no password is known for. Written down, not made: making it would take time once."""
    scheme = _scheme()
    return _label() + scheme.stamp() + scheme.filler


def flaw(stored: str) -> str | None:
    """Why no password can be behind this; None if one can."""
    label, inner = _parts(stored)
    if hash_formats.of(inner) and len(stored) <= LONGEST:
        return None if _secrets(label, "some") else "is under a pepper that PASSWORD_PEPPER does not list"
    return "asks for more or less work than is served" if hash_formats.is_known(inner) else "is of no known form"


def pepper_names() -> list[str]:
    """The names of the peppers in the list, the newest first, as they stand in the hashes."""
    return [_name(pepper) for pepper in config.keys(config.settings.PASSWORD_PEPPER)]


def label_of(pepper_name: str) -> str:
    """What the hashes under a pepper begin with."""
    return f"v2${pepper_name}$"


def _scheme() -> Scheme:
    return hash_formats.SCHEMES[config.settings.PASSWORD_SCHEME]


def _label() -> str:
    """What new hashes begin with."""
    names = pepper_names()
    return label_of(names[0]) if names else PLAIN


def _parts(stored: str) -> tuple[str, str]:
    """The label, empty for another maker's hash, and the hash itself."""
    peppered = PEPPERED.match(stored)
    label = peppered[0] if peppered else PLAIN if stored.startswith(PLAIN) else ""
    return label, stored[len(label) :]


def _secrets(label: str, password: str) -> list[bytes]:
    """What was hashed: a digest, or by another maker the password as it was typed, which may not have been in NFC."""
    normal = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    if label == "":
        typed = password.encode("utf-8", "surrogatepass")
        return list(dict.fromkeys([typed, normal])) if password else []  # Others may have hashed an empty password.
    key = b"gatehouse password v1" if label == PLAIN else _pepper(label)
    return [base64.b64encode(hmac.digest(key, normal, "sha256"))] if key else []


def _pepper(label: str) -> bytes | None:
    """The key of the digest under this label, made of the pepper that the label names; None if that is not listed."""
    for pepper in config.keys(config.settings.PASSWORD_PEPPER):
        if label == label_of(_name(pepper)):
            return hmac.digest(pepper.encode(), b"gatehouse password v2", "sha256")
    _warn(label)
    return None


def _name(pepper: str) -> str:
    return hmac.digest(pepper.encode(), b"gatehouse pepper", "sha256").hex()[:8]


@lru_cache(maxsize=64)
def _warn(label: str) -> None:
    """Once for each pepper and process, not at every sign-in."""
    logger.warning("There are password hashes under a pepper that PASSWORD_PEPPER does not list (%s): they verify for nobody", label)


def _matches(found: Format, inner: str, secret: bytes) -> bool:
    try:
        return found.matches(inner, secret)
    except (ValueError, Argon2Error):  # argon2's word for another password; from the others, a salt that can't be read.
        return False


@contextmanager
def _turn(places: threading.BoundedSemaphore) -> Iterator[None]:
    """One of the places for hashing; `Unavailable` if none gets free, rather than letting all requests wait."""
    if not places.acquire(timeout=10):
        raise Unavailable(retry_after=5)
    try:
        yield
    finally:
        places.release()
