"""Make, hash, compare, encrypt: the only place where secrets are handled as bytes.

Tokens have 256 random bits, so a plain SHA-256 keeps them (ASVS 6.5.2 asks for more only below 112 bits); six-digit
codes are kept under HMAC-SHA-256 with a key derived from SECRET_KEY, so that a stolen table does not give them away.
"""

import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

import config


def token() -> str:
    """A fresh URL-safe token of 256 bits."""
    return secrets.token_urlsafe(32)


def hashed(value: str) -> str:
    """The SHA-256 of a token, in hex, as it is stored and looked up."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def code() -> str:
    """Six random digits (NIST SP 800-63B 5.1.3.2)."""
    return f"{secrets.randbelow(1_000_000):06d}"


def recovery_code() -> str:
    """24 characters of Crockford's base 32 in six groups: 120 bits, so that a fast hash keeps them (ASVS 6.5.2 wants a slow one
    below 112), and easy to write down.
    """
    letters = "".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(24))
    return "-".join(letters[start : start + 4] for start in range(0, 24, 4))


def keyed_hashes(purpose: str, value: str) -> list[str]:
    """HMAC-SHA-256 of a short secret, in hex: the first, under the newest SECRET_KEY, is the one to store; a stored one
    may be any of them. `purpose` keeps the uses apart.
    """
    return [_keyed(key, purpose, value) for key in config.keys(config.settings.SECRET_KEY)]


def matches(stored: str, purpose: str, value: str) -> bool:
    """Whether `stored` is the keyed hash of `value` under any of the SECRET_KEYs, compared in constant time."""
    verdicts = [hmac.compare_digest(stored, made) for made in keyed_hashes(purpose, value)]
    return any(verdicts)


def names() -> list[str]:
    """Short names of the SECRET_KEYs, the newest first, which give none of them away."""
    return [one[:16] for one in keyed_hashes("key name", "")]


def encrypt(value: str) -> bytes:
    """Fernet under the newest FERNET_KEY."""
    return _fernet().encrypt(value.encode())


def decrypt(value: bytes) -> str:
    """The text that `encrypt` was given, under any of the FERNET_KEYs; `InvalidToken` if it is none of theirs."""
    return _fernet().decrypt(value).decode()


def opened(value: bytes) -> str | None:
    """The same where a key may have been lost: None if it is under none of them."""
    try:
        return decrypt(value)
    except InvalidToken:
        return None


def is_newest(value: bytes) -> bool:
    """Whether it is under the newest FERNET_KEY."""
    try:
        Fernet(config.keys(config.settings.FERNET_KEY)[0]).decrypt(value)
    except InvalidToken:
        return False
    return True


def rotate(value: bytes) -> bytes | None:
    """The same secret under the newest FERNET_KEY; None where it is not under any of them."""
    try:
        return _fernet().rotate(value)
    except InvalidToken:
        return None


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in config.keys(config.settings.FERNET_KEY)])


def _keyed(key: str, purpose: str, value: str) -> str:
    derived = hmac.digest(key.encode(), f"gatehouse {purpose}".encode(), "sha256")
    return hmac.digest(derived, value.encode("utf-8", "surrogatepass"), "sha256").hex()
