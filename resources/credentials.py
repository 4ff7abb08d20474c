"""From a request to a Caller, and from a session to an answer with tokens, in the body or in cookies.

No credential is read from a query string. A header wins over a cookie. What came as a cookie goes back as a cookie, and
counts for a change only with its CSRF token (double submit, OWASP CSRF cheat sheet).
"""

import hmac
import re
from typing import Any, Literal, NamedTuple

from flask import Response, current_app, g, request
from flask_jwt_extended import get_csrf_token, set_access_cookies, set_refresh_cookies, unset_jwt_cookies

import config
from domain import clock, limits, metrics, revocation, sessions
from domain.caller import Caller, Client
from domain.errors import CsrfFailed, NotFound, TokenInvalid, TokenMissing
from resources import limiter, tokens
from resources.tokens import Kind, Pair

BEARER = re.compile(r"bearer +([\w.~+/=-]+)", re.IGNORECASE | re.ASCII)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Presented(NamedTuple):
    """A token as it came."""

    token: str
    via: Literal["header", "cookie"]


def client() -> Client:
    """Where this request comes from."""
    agent = "".join(character for character in request.headers.get("User-Agent", "") if character.isprintable())
    device = request.headers.get("X-Device-Token") or request.cookies.get(_device_cookie())
    return Client(request.remote_addr, agent[:400] or None, device)


def by_cookie() -> bool:
    """Whether the credential of this request came as a cookie."""
    return bool(g.get("via") == "cookie")


@metrics.token_check
def signed_in(*, note: bool = True) -> Caller:
    """The caller by their access token; `TokenMissing`, `TokenInvalid`, `TokenExpired`, `TokenRevoked`, `SessionExpired`.

    Without `note` it is no activity of the session, and is not counted.
    """
    claims = _claims("access")
    counter = limiter.user_counter(claims["sub"]) if note else None
    found = revocation.look_up(claims["sid"], counter, config.settings.RATE_LIMIT_WINDOW)
    g.requests = found.requests
    sessions.check(claims["sid"], claims["gen"], found.state, note=note)
    return _caller(claims)


def refreshing() -> Caller:
    """The caller by their refresh token, which `sessions.refresh` judges."""
    return _caller(_claims("refresh"))


def leaving(*, cookies: bool = True) -> Caller:
    """The caller of a logout: by an access token, over or not, or a refresh token; by cookie only with `cookies`."""
    presented = _presented("access") or _presented("refresh")
    if presented is None or (presented.via == "cookie" and not cookies):
        raise TokenMissing
    try:
        claims = tokens.verify(presented.token, "access", expired_too=True)
    except TokenInvalid:
        claims = tokens.verify(presented.token, "refresh")
    _check_csrf(presented, claims)
    return _caller(claims)


def scraping() -> None:
    """Prometheus, by METRICS_TOKEN. Without one only development is open: `NotFound`, `TokenMissing`, `TokenInvalid`."""
    token = config.settings.METRICS_TOKEN
    if not token:
        if config.settings.APP_ENV != "development":
            raise NotFound
        return
    scheme, _, given = request.headers.get("Authorization", "").strip(" ").partition(" ")
    if not scheme:
        raise TokenMissing
    right = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogatepass"), token.encode())
    if scheme.lower() != "bearer" or not right:
        raise TokenInvalid


def put(response: Response, pair: Pair, device_token: str | None) -> None:
    """Set the pair, its CSRF tokens and the device's token as cookies."""
    set_access_cookies(response, pair.access, max_age=_seconds_left(pair.access))
    set_refresh_cookies(response, pair.refresh, max_age=_seconds_left(pair.refresh))
    if device_token:
        response.set_cookie(
            _device_cookie(),
            device_token,
            max_age=limits.DEVICE_DAYS * 86400,
            httponly=True,
            secure=config.settings.https,
            samesite="Lax",
            path="/",
        )


def take_away(response: Response) -> None:
    """Clear the cookies of a session; the device stays known."""
    unset_jwt_cookies(response)


def csrf_tokens(pair: Pair) -> dict[str, str]:
    """What a front end on another origin, which can't read the cookies, sends back as X-CSRF-TOKEN."""
    return {"csrf_access_token": get_csrf_token(pair.access), "csrf_refresh_token": get_csrf_token(pair.refresh)}


def _claims(kind: Kind) -> dict[str, Any]:
    presented = _presented(kind)
    if presented is None:
        raise TokenMissing
    claims = tokens.verify(presented.token, kind)
    _check_csrf(presented, claims)
    return claims


def _presented(kind: Kind) -> Presented | None:
    header = request.headers.get("Authorization")
    if header is not None:
        match = BEARER.fullmatch(header.strip(" "))
        if match is None:
            raise TokenInvalid
        g.via = "header"
        return Presented(match[1], "header")
    cookie = request.cookies.get(current_app.config[f"JWT_{kind.upper()}_COOKIE_NAME"])
    if not cookie:
        return None
    g.via = "cookie"
    return Presented(cookie, "cookie")


def _check_csrf(presented: Presented, claims: dict[str, Any]) -> None:
    if presented.via == "header" or request.method in SAFE_METHODS:
        return
    sent, known = request.headers.get("X-CSRF-TOKEN", ""), claims.get("csrf")
    if not isinstance(known, str) or not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), known.encode()):
        raise CsrfFailed


def _caller(claims: dict[str, Any]) -> Caller:
    return Caller(claims["sub"], claims["sid"], claims["gen"], claims.get("auth_time", 0), tuple(claims.get("amr", ())))


def _seconds_left(token: str) -> int:
    return max(0, tokens.expiry(token) - clock.epoch())


def _device_cookie() -> str:
    return ("__Host-" if config.settings.https else "") + "device"
