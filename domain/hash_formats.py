"""The forms that stored password hashes come in, ours and other makers'.

What a hash asks for in time and memory is a stranger's word: a form is served only within the ceilings here, and beyond
them nothing is computed.
"""

import hashlib
import hmac
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import argon2
from flask_bcrypt import Bcrypt
from passlib.hash import pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512, phpass, scrypt

import config

BCRYPT_CEILING = 16  # 2^n rounds: some four seconds.
PBKDF2_CEILING = 3_000_000  # Rounds: a second or two.
PHPASS_CEILING = 16  # 2^n rounds.
SCRYPT_CEILING = 2**22  # n * r * p: a second or two.
ARGON2_CEILING = 10  # Passes.
LANES_CEILING = 16
MEMORY_CEILING = 128 * 1024 * 1024  # Bytes, of argon2 and scrypt.

# RFC 9106, 4 (64 MiB, three passes), in one lane: more threads would not make a guess any dearer.
ARGON2 = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
SCRYPT = scrypt.using(rounds=15, block_size=8, parallelism=3)  # 32 MiB; one of the equal choices of OWASP's cheat sheet.
PHPASS_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

NUMBER = "([0-9]{1,10})"
BASE64 = "(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2,3})?"  # Without its padding.
CRYPT64 = "(?:[A-Za-z0-9./]{4})+(?:[A-Za-z0-9./]{2,3})?"

_bcrypt = Bcrypt()
LIGHT = threading.BoundedSemaphore(16)  # Hashes at once per process; more would only queue for the cores.
HEAVY = threading.BoundedSemaphore(4)  # Of those that take memory: at most four times MEMORY_CEILING.


class Scheme(NamedTuple):
    """A way to make new hashes. All of one cost begin with the same stamp; `filler` ends one that no password is known for."""

    make: Callable[[bytes], str]
    stamp: Callable[[], str]
    filler: str
    places: threading.BoundedSemaphore = HEAVY


class Format(NamedTuple):
    """A form of stored hashes: the groups of its pattern are the costs, `bears` tells whether they are within the ceilings."""

    pattern: str
    bears: Callable[..., bool]
    matches: Callable[[str, bytes], bool]
    places: threading.BoundedSemaphore = LIGHT


def of(stored: str) -> Format | None:
    """The form of a hash that may be served; None if it has none, or asks for too much."""
    for one in FORMATS:
        found = re.fullmatch(one.pattern, stored, re.ASCII)
        if found and one.bears(*found.groups()):
            return one
    return None


def is_known(stored: str) -> bool:
    """Whether it has one of the forms, whatever it asks for."""
    return any(re.fullmatch(one.pattern, stored, re.ASCII) for one in FORMATS)


def _make_bcrypt(secret: bytes) -> str:
    made: bytes = _bcrypt.generate_password_hash(secret, config.settings.BCRYPT_ROUNDS)
    return made.decode()


def _bears_bcrypt(rounds: str) -> bool:
    return 4 <= int(rounds) <= BCRYPT_CEILING


def _is_bcrypt(stored: str, secret: bytes) -> bool:
    """Other makers had bcrypt drop what is beyond 72 bytes; our own secrets are shorter."""
    return bool(_bcrypt.check_password_hash(stored, secret[:72]))


def _bears_argon2(kibibytes: str, passes: str, lanes: str) -> bool:
    m, t, p = int(kibibytes), int(passes), int(lanes)
    return 8 * p <= m <= MEMORY_CEILING // 1024 and 1 <= t <= ARGON2_CEILING and 1 <= p <= LANES_CEILING


def _bears_scrypt(cost: str, block: str, lanes: str) -> bool:
    n, r, p = int(cost), int(block), int(lanes)
    is_sound = n >= 2 and n & (n - 1) == 0 and r >= 1 and 1 <= p <= LANES_CEILING
    return is_sound and 128 * n * r <= MEMORY_CEILING and n * r * p <= SCRYPT_CEILING


def _bears_scrypt_exponent(exponent: str, block: str, lanes: str) -> bool:
    return int(exponent) < 32 and _bears_scrypt(str(2 ** int(exponent)), block, lanes)


def _is_werkzeug_scrypt(stored: str, secret: bytes) -> bool:
    method, salt, digest = stored.split("$")
    n, r, p = (int(cost) for cost in method.split(":")[1:])
    made = hashlib.scrypt(secret, salt=salt.encode(), n=n, r=r, p=p, maxmem=2 * MEMORY_CEILING)
    return hmac.compare_digest(made.hex(), digest)


def _bears_pbkdf2(rounds: str) -> bool:
    return 1 <= int(rounds) <= PBKDF2_CEILING


def _is_werkzeug_pbkdf2(stored: str, secret: bytes) -> bool:
    method, salt, digest = stored.split("$")
    _, name, rounds = method.split(":")
    return hmac.compare_digest(hashlib.pbkdf2_hmac(name, secret, salt.encode(), int(rounds)).hex(), digest)


def _bears_phpass(digit: str) -> bool:
    return 7 <= PHPASS_DIGITS.index(digit) <= PHPASS_CEILING


def _is_by(handler: Any) -> Callable[[str, bytes], bool]:
    """The comparison of one of passlib's handlers."""
    return lambda stored, secret: bool(handler.verify(secret, stored))


SCHEMES = {
    "bcrypt": Scheme(_make_bcrypt, lambda: f"$2b${config.settings.BCRYPT_ROUNDS:02}$", "." * 53, LIGHT),
    "argon2id": Scheme(ARGON2.hash, lambda: "$argon2id$v=19$m=65536,t=3,p=1$", "A" * 22 + "$" + "A" * 43),
    "scrypt": Scheme(SCRYPT.hash, lambda: "$scrypt$ln=15,r=8,p=3$", "A" * 22 + "$" + "A" * 43),
}
FORMATS = (
    Format(r"\$2[aby]\$([0-9]{2})\$[A-Za-z0-9./]{53}", _bears_bcrypt, _is_bcrypt),
    Format(
        rf"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m={NUMBER},t={NUMBER},p={NUMBER}\${BASE64}\${BASE64}", _bears_argon2, ARGON2.verify, HEAVY
    ),
    Format(rf"\$scrypt\$ln=([0-9]{{1,2}}),r={NUMBER},p={NUMBER}\${BASE64}\${BASE64}", _bears_scrypt_exponent, _is_by(scrypt), HEAVY),
    Format(rf"scrypt:{NUMBER}:{NUMBER}:{NUMBER}\$[^$]+\$[0-9a-f]{{128}}", _bears_scrypt, _is_werkzeug_scrypt, HEAVY),
    Format(rf"pbkdf2:(?:sha1|sha224|sha256|sha384|sha512):{NUMBER}\$[^$]+\$[0-9a-f]{{40,128}}", _bears_pbkdf2, _is_werkzeug_pbkdf2),
    Format(rf"\$pbkdf2\${NUMBER}\${CRYPT64}\${CRYPT64}", _bears_pbkdf2, _is_by(pbkdf2_sha1)),
    Format(rf"\$pbkdf2-sha256\${NUMBER}\${CRYPT64}\${CRYPT64}", _bears_pbkdf2, _is_by(pbkdf2_sha256)),
    Format(rf"\$pbkdf2-sha512\${NUMBER}\${CRYPT64}\${CRYPT64}", _bears_pbkdf2, _is_by(pbkdf2_sha512)),
    Format(r"\$[PH]\$([A-Za-z0-9./])[A-Za-z0-9./]{30}", _bears_phpass, _is_by(phpass)),
)
