"""The keys below our tokens, by the header that names them: one of JWT_SECRET_KEY (HMAC), or a key pair (`domain/signing.py`).

A key goes with one algorithm. So a public key is never taken for an HMAC secret, whatever a header says (RFC 8725 3.1).
"""

import base64
import hashlib
import hmac
from typing import Any, NamedTuple

import jwt
import orjson

import config
from domain import signing
from domain.errors import TokenInvalid

HMAC = "HS256"
ALGORITHMS = [HMAC, *signing.CURVES]


class Key(NamedTuple):
    """A key as tokens use it: `header` is the encoded header of every token below which it signs."""

    kid: str
    algorithm: str
    header: str
    secret: Any
    public: Any

    def sign(self, text: str) -> str:
        """The signature of a text, encoded."""
        if self.algorithm == HMAC:
            return encoded(hmac.digest(self.secret, text.encode(), "sha256"))
        return encoded(jwt.get_algorithm_by_name(self.algorithm).sign(text.encode(), self.secret))

    def signed(self, text: str, signature: str) -> bool:
        """Whether this key made this signature, written as we write it, of this text."""
        if self.algorithm == HMAC:
            return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", "surrogatepass"))
        try:
            raw = decoded(signature)
        except ValueError:
            return False
        return encoded(raw) == signature and jwt.get_algorithm_by_name(self.algorithm).verify(text.encode(), self.public, raw)


_secrets: dict[str, Key] = {}  # The keys of JWT_SECRET_KEY by their headers; the first signs.
_pairs: tuple[tuple[signing.KeyPair, ...], dict[str, Key]] = ((), {})  # What `signing` knew, and its keys by their headers.


def load() -> None:
    """Take the keys of the settings in force."""
    _secrets.clear()
    for value in config.keys(config.settings.JWT_SECRET_KEY):
        key = _key(_name(value), HMAC, value.encode(), value.encode())
        _secrets[key.header] = key


def signer() -> Key:
    """The key that signs now."""
    if not signing.is_on():
        return next(iter(_secrets.values()))
    pair = signing.current()
    return _key(pair.kid, pair.algorithm, pair.private, pair.public)


def of_header(header: str) -> Key | None:
    """The key of a token whose encoded header is byte for byte one of ours."""
    global _pairs
    if header in _secrets:
        return _secrets[header]
    known, keys = signing.known(), _pairs[1]
    if known is not _pairs[0]:
        made = (_key(pair.kid, pair.algorithm, pair.private, pair.public) for pair in known)
        keys = {key.header: key for key in made}
        _pairs = (known, keys)
    key = keys.get(header)
    return key if key and signing.find(key.kid) else None


def of_names(kid: Any, algorithm: Any) -> Any:
    """What verifies a token whose header names this key and this algorithm; `TokenInvalid` if the two don't belong together."""
    for key in _secrets.values():
        if (key.kid, key.algorithm) == (kid, algorithm):
            return key.public
    pair = signing.find(kid) if algorithm in signing.CURVES and isinstance(kid, str) else None
    if pair is None or pair.algorithm != algorithm:
        raise TokenInvalid
    return pair.public


def encoded(value: bytes) -> str:
    """As a part of a token (RFC 7515)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    """The bytes of a part of a token; ValueError."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _key(kid: str, algorithm: str, secret: Any, public: Any) -> Key:
    return Key(kid, algorithm, encoded(orjson.dumps({"alg": algorithm, "kid": kid, "typ": "JWT"})), secret, public)


def _name(secret: str) -> str:
    """Names a key without giving it away."""
    return hashlib.sha256(b"gatehouse key id " + secret.encode()).hexdigest()[:16]
