"""JSON Web Tokens (RFC 7519): made, and verified in one pass where they are as we make them.

A token whose header is byte for byte one of ours is verified here at once. Everything else gets the library's verdict, so
the short way accepts nothing that the library does not. Both end in `_judge`, which asks for every claim we rely on.
"""

import sys
from collections.abc import Iterable, Mapping
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
from resources import signatures
from resources.signatures import decoded, encoded

Kind = Literal["access", "refresh", "service"]
COMMON: dict[str, type] = {"iss": str, "aud": str, "sub": str, "jti": str, "type": str, "iat": int, "exp": int}
OF_SESSIONS = COMMON | {"sid": str, "gen": int}
CLAIMS: Mapping[Kind, dict[str, type]] = {
    "access": OF_SESSIONS,
    "refresh": OF_SESSIONS,
    "service": COMMON | {"tid": str, "scope": str},
}
CLOCK_SKEW_SECONDS = 5  # Between hosts, for `iat` and `nbf`; none for `exp`.
SERVICE_SECONDS = 600  # Life of a token that a service gets for its application token.


class Pair(NamedTuple):
    """Two tokens, and the seconds until the access token is over."""

    access: str
    refresh: str
    expires_in: int


class ServiceToken(NamedTuple):
    """A token for a service, what it may, and the seconds until it is over."""

    token: str
    scope: str
    expires_in: int


def register(app: Flask) -> None:
    """Set every option of Flask-JWT-Extended: its defaults check neither issuer nor audience, and leave cookies open."""
    settings = config.settings
    signatures.load()
    prefix = "__Host-" if settings.https else ""
    app.config.update(
        JWT_SECRET_KEY=config.keys(settings.JWT_SECRET_KEY)[0],
        JWT_ALGORITHM=settings.JWT_ALGORITHM,
        JWT_DECODE_ALGORITHMS=signatures.ALGORITHMS,
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
    JWTManager(app).decode_key_loader(lambda header, _payload: signatures.of_names(header.get("kid"), header.get("alg")))


def mint(grant: Grant, bound: str | None = None, roles: dict[str, list[str]] | None = None) -> Pair:
    """The pair of a session's generation, `bound` to a client. Its `jti` is the same whenever it is made again; it never
    outlives its session. `roles` are for services; without them the claim is left out, and services have to ask.
    """
    session, now = grant.session, clock.epoch()
    end = int(session.expires_at.timestamp()) if session.expires_at else sys.maxsize
    lasts = max(0, min(config.settings.JWT_ACCESS_TOKEN_EXPIRES, end - now))
    both = {"bound": bound} if bound else {}
    more = {"amr": session.amr.split(), "auth_time": int(session.authenticated_at.timestamp()), **both}
    more |= {} if roles is None else {"roles": roles}
    refresh_end = max(now, min(now + config.settings.JWT_REFRESH_TOKEN_EXPIRES, end))
    return Pair(_of_session(grant, "access", now, now + lasts, more), _of_session(grant, "refresh", now, refresh_end, both), lasts)


def mint_service(service_id: str, token_id: str, scopes: Iterable[str], ends: int | None = None) -> ServiceToken:
    """A token for a service that came with its application token `token_id`, which it does not outlive."""
    now = clock.epoch()
    end = min(now + SERVICE_SECONDS, ends or sys.maxsize)
    scope = " ".join(sorted(scopes))
    claims = {"sub": service_id, "client_id": service_id, "tid": token_id, "jti": secrets.token(), "scope": scope}
    return ServiceToken(_signed(claims, "service", now, end), scope, end - now)


def _of_session(grant: Grant, kind: Kind, now: int, end: int, more: dict[str, Any]) -> str:
    """A token as Flask-JWT-Extended would make it, its CSRF claim included."""
    claims = {
        "sub": grant.user.id,
        "sid": grant.session.id,
        "gen": grant.generation,
        "jti": secrets.hashed(f"{grant.session.id} {grant.generation} {kind}")[:32],
        "csrf": secrets.token(),
        **more,
    }
    return _signed(claims, kind, now, end)


def _signed(claims: dict[str, Any], kind: Kind, now: int, end: int) -> str:
    """A token under the key that signs now."""
    key = signatures.signer()
    common = {"iss": config.settings.JWT_ISSUER, "aud": config.settings.JWT_AUDIENCE, "iat": now, "exp": end, "type": kind}
    signed = f"{key.header}.{encoded(orjson.dumps(common | claims))}"
    return f"{signed}.{key.sign(signed)}"


def verify(token: str, *kinds: Kind, expired_too: bool = False) -> dict[str, Any]:
    """The claims of a token of ours of one of these kinds; `TokenExpired` if age is all that is wrong with it, else `TokenInvalid`."""
    if len(token) > limits.HEADER_TOKEN_BYTES:
        raise TokenInvalid
    claims = _at_once(token)
    return _judge(by_library(token) if claims is None else claims, *kinds, expired_too=expired_too)


def by_library(token: str) -> dict[str, Any]:
    """The claims of a token as Flask-JWT-Extended decodes it, whatever its kind and age; `TokenInvalid`."""
    try:
        decode_token(token, allow_expired=True)
        claims: dict[str, Any] = orjson.loads(decoded(token.split(".")[1]))
    except (jwt.PyJWTError, JWTExtendedException, ValueError, TypeError, KeyError, RecursionError):
        raise TokenInvalid from None
    return claims


def _at_once(token: str) -> dict[str, Any] | None:
    """The claims of a token whose header and signature are exactly as we write them; None leaves it to the library."""
    signed, _, signature = token.rpartition(".")
    header, _, payload = signed.partition(".")
    key = signatures.of_header(header)
    if key is None or not key.signed(signed, signature):
        return None
    try:
        claims: dict[str, Any] = orjson.loads(decoded(payload))
    except ValueError:
        return None
    return claims


def _judge(claims: dict[str, Any], *kinds: Kind, expired_too: bool) -> dict[str, Any]:
    """Refuse claims that are missing, of another type, for somebody else, or of another kind of token; then the age."""
    settings = config.settings
    kind = claims.get("type") if isinstance(claims, dict) else None
    if kind not in kinds or any(type(claims.get(name)) is not type_ for name, type_ in CLAIMS[kind].items()):
        raise TokenInvalid
    now = clock.epoch()
    if claims["iss"] != settings.JWT_ISSUER or claims["aud"] != settings.JWT_AUDIENCE:
        raise TokenInvalid
    not_before = claims.get("nbf", 0)
    if type(not_before) is not int or max(claims["iat"], not_before) > now + CLOCK_SKEW_SECONDS:
        raise TokenInvalid
    if claims["exp"] <= now and not expired_too:
        raise TokenExpired
    return claims


def expiry(token: str) -> int:
    """When a token that was just made is over, in seconds since 1970."""
    return int(orjson.loads(decoded(token.split(".")[1]))["exp"])
