"""JSON Web Tokens (RFC 7519): made, and verified in one pass where they are as we make them.

A token whose header is byte for byte one of ours is verified here at once. Everything else gets the library's verdict, so
the short way accepts nothing that the library does not. Both end in `_judge`, which asks for every claim we rely on.
"""

import base64
import hashlib
import hmac
import sys
from typing import Any, Literal, NamedTuple

import jwt
import orjson
from flask import Flask
from flask_jwt_extended import JWTManager, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

import config
from domain import clock, limits, secrets
from domain.errors import TokenExpired, TokenInvalid
from domain.sessions import Grant

Kind = Literal["access", "refresh"]
CLAIMS: dict[str, type] = {"iss": str, "aud": str, "sub": str, "sid": str, "jti": str, "type": str, "iat": int, "exp": int, "gen": int}
CLOCK_SKEW_SECONDS = 5  # Between hosts, for `iat` and `nbf`; none for `exp`.

_keys: dict[str, str] = {}  # Key id to key; the first signs.
_headers: dict[str, bytes] = {}  # The encoded header of our tokens to the key that signs below it.


class Pair(NamedTuple):
    """Two tokens, and the seconds until the access token is over."""

    access: str
    refresh: str
    expires_in: int


def register(app: Flask) -> None:
    """Set every option of Flask-JWT-Extended: its defaults check neither issuer nor audience, and leave cookies open."""
    settings = config.settings
    _keys.clear()
    _keys.update({_key_id(key): key for key in config.keys(settings.JWT_SECRET_KEY)})
    _headers.clear()
    _headers.update({jwt.encode({}, key, "HS256", {"kid": kid}).split(".")[0]: key.encode() for kid, key in _keys.items()})
    prefix = "__Host-" if settings.https else ""
    app.config.update(
        JWT_SECRET_KEY=next(iter(_keys.values())),
        JWT_ALGORITHM="HS256",
        JWT_DECODE_ALGORITHMS=["HS256"],
        JWT_ENCODE_ISSUER=settings.JWT_ISSUER,
        JWT_DECODE_ISSUER=settings.JWT_ISSUER,
        JWT_ENCODE_AUDIENCE=settings.JWT_AUDIENCE,
        JWT_DECODE_AUDIENCE=settings.JWT_AUDIENCE,
        JWT_ENCODE_NBF=False,
        JWT_DECODE_LEEWAY=CLOCK_SKEW_SECONDS,
        JWT_TOKEN_LOCATION=["headers", "cookies"],
        JWT_COOKIE_SECURE=settings.https,
        JWT_COOKIE_SAMESITE="Lax",
        JWT_COOKIE_CSRF_PROTECT=True,
        JWT_SESSION_COOKIE=False,
        JWT_ACCESS_COOKIE_NAME=f"{prefix}access_token_cookie",
        JWT_REFRESH_COOKIE_NAME=f"{prefix}refresh_token_cookie",
        JWT_ACCESS_CSRF_COOKIE_NAME=f"{prefix}csrf_access_token",
        JWT_REFRESH_CSRF_COOKIE_NAME=f"{prefix}csrf_refresh_token",
    )
    JWTManager(app).decode_key_loader(lambda header, _payload: _keys.get(str(header.get("kid")), ""))


def mint(grant: Grant) -> Pair:
    """The pair of a session's generation. Its `jti` is the same whenever it is made again; it never outlives its session."""
    session, now = grant.session, clock.epoch()
    end = int(session.expires_at.timestamp()) if session.expires_at else sys.maxsize
    lasts = max(0, min(config.settings.JWT_ACCESS_TOKEN_EXPIRES, end - now))
    more = {"amr": session.amr.split(), "auth_time": int(session.authenticated_at.timestamp()), "roles": {}}
    refresh_end = max(now, min(now + config.settings.JWT_REFRESH_TOKEN_EXPIRES, end))
    return Pair(_signed(grant, "access", now, now + lasts, more), _signed(grant, "refresh", now, refresh_end, {}), lasts)


def _signed(grant: Grant, kind: Kind, now: int, end: int, more: dict[str, Any]) -> str:
    """A token under the first key, as Flask-JWT-Extended would make it, its CSRF claim included."""
    header, key = next(iter(_headers.items()))
    claims = {
        "iss": config.settings.JWT_ISSUER,
        "aud": config.settings.JWT_AUDIENCE,
        "sub": grant.user.id,
        "sid": grant.session.id,
        "gen": grant.generation,
        "jti": secrets.hashed(f"{grant.session.id} {grant.generation} {kind}")[:32],
        "iat": now,
        "exp": end,
        "type": kind,
        "csrf": secrets.token(),
        **more,
    }
    signed = f"{header}.{_encoded(orjson.dumps(claims))}"
    return f"{signed}.{_encoded(hmac.digest(key, signed.encode(), 'sha256'))}"


def verify(token: str, kind: Kind, *, expired_too: bool = False) -> dict[str, Any]:
    """The claims of a token of ours; `TokenExpired` if that is all that is wrong with it, else `TokenInvalid`."""
    if len(token) > limits.HEADER_TOKEN_BYTES:
        raise TokenInvalid
    claims = _at_once(token)
    return _judge(by_library(token) if claims is None else claims, kind, expired_too=expired_too)


def by_library(token: str) -> dict[str, Any]:
    """The claims of a token as Flask-JWT-Extended decodes it, whatever its kind and age; `TokenInvalid`."""
    try:
        decode_token(token, allow_expired=True)
        claims: dict[str, Any] = orjson.loads(_decoded(token.split(".")[1]))
    except (jwt.PyJWTError, JWTExtendedException, ValueError, TypeError, KeyError, RecursionError):
        raise TokenInvalid from None
    return claims


def _at_once(token: str) -> dict[str, Any] | None:
    """The claims of a token whose header and signature are exactly as we write them; None leaves it to the library."""
    signed, _, signature = token.rpartition(".")
    header, _, payload = signed.partition(".")
    key = _headers.get(header)
    if key is None:
        return None
    right = _encoded(hmac.digest(key, signed.encode(), "sha256")).encode()
    if not hmac.compare_digest(right, signature.encode("utf-8", "surrogatepass")):
        return None
    try:
        claims: dict[str, Any] = orjson.loads(_decoded(payload))
    except ValueError:
        return None
    return claims


def _judge(claims: dict[str, Any], kind: Kind, *, expired_too: bool) -> dict[str, Any]:
    """Refuse claims that are missing, of another type, for somebody else, or of another kind of token; then the age."""
    settings = config.settings
    if not isinstance(claims, dict) or any(type(claims.get(name)) is not type_ for name, type_ in CLAIMS.items()):
        raise TokenInvalid
    now = clock.epoch()
    if claims["type"] != kind or claims["iss"] != settings.JWT_ISSUER or claims["aud"] != settings.JWT_AUDIENCE:
        raise TokenInvalid
    not_before = claims.get("nbf", 0)
    if type(not_before) is not int or max(claims["iat"], not_before) > now + CLOCK_SKEW_SECONDS:
        raise TokenInvalid
    if claims["exp"] <= now and not expired_too:
        raise TokenExpired
    return claims


def expiry(token: str) -> int:
    """When a token that was just made is over, in seconds since 1970."""
    return int(orjson.loads(_decoded(token.split(".")[1]))["exp"])


def _key_id(key: str) -> str:
    """Names a key without giving it away."""
    return hashlib.sha256(b"gatehouse key id " + key.encode()).hexdigest()[:16]


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
