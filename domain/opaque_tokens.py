"""Tokens that are no JWT: a prefix that says what it is, 256 random bits in base 62, and a checksum, as GitHub's are made.

By prefix and checksum a scanner finds one that leaked into a repository, by `gh_(app|key)_[0-9A-Za-z]{49}`, and a mistyped one
is refused without a look-up. What is kept is the plain SHA-256 of the whole: nobody guesses 256 random bits, so a slow hash
would only slow every request down (ASVS 6.5.2 asks for one below 112 bits).
"""

import re
import secrets
import string
import zlib
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Executable

import config
from domain import clock
from domain.database import connection
from domain.errors import TokenExpired, TokenInvalid, TokenRevoked
from domain.secrets import hashed

KEY, APP = "gh_key_", "gh_app_"
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH, CHECK_LENGTH = 43, 6  # The digits in base 62 of 256 bits, and of the 32 of a CRC.
SHOWN = 8  # So many characters of its end a list shows; six of them are the checksum.
FORM = re.compile(f"gh_(?:app|key)_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECK_LENGTH}}}", re.ASCII)


class Found(NamedTuple):
    """What stands behind a token: whose it is (a user's id, or a service's), what it may, and whether it still holds."""

    id: str
    holder_id: str
    scopes: list[str]
    holder_is_active: bool
    expires_at: datetime | None
    revoked_at: datetime | None


def make(prefix: str) -> str:
    """A fresh token."""
    body = prefix + _digits(secrets.randbits(256), RANDOM_LENGTH)
    return body + _checksum(body)


def is_formed(prefix: str, token: str) -> bool:
    """Whether it has the form of a token of this kind, and the right checksum."""
    return token.startswith(prefix) and FORM.fullmatch(token) is not None and _checksum(token[:-CHECK_LENGTH]) == token[-CHECK_LENGTH:]


def find(statement: Executable, prefix: str, token: str) -> Any | None:
    """The row of a token by its `hash`, whether it still holds or not; None if there is none. `TokenInvalid` for a wrong form."""
    if len(token) < config.settings.MIN_KEY_LENGTH or not is_formed(prefix, token):
        raise TokenInvalid
    with connection() as db:
        return db.execute(statement, {"hash": hashed(token)}).first()


def judge(found: Found) -> None:
    """Refuse what has run out (`TokenExpired`, whoever else ended it), was revoked, or whose user or service is out (`TokenRevoked`)."""
    if found.expires_at is not None and found.expires_at <= clock.now():
        raise TokenExpired
    if found.revoked_at is not None or not found.holder_is_active:
        raise TokenRevoked


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode()), CHECK_LENGTH)


def _digits(number: int, length: int) -> str:
    """In base 62, the leading zeros too."""
    made = ""
    for _ in range(length):
        number, digit = divmod(number, len(DIGITS))
        made = DIGITS[digit] + made
    return made
