"""From a request to a Caller, and from a session to an answer with tokens, in the body or in cookies.

No credential is read from a query string. A header wins over a cookie; of two headers none is taken. What came as a cookie
goes back as a cookie, and counts for a change only with its CSRF token (double submit, OWASP CSRF cheat sheet).
"""

import hmac
import re
from typing import Any, Literal, NamedTuple

from flask import Response, current_app, g, request
from flask_jwt_extended import get_csrf_token, set_access_cookies, set_refresh_cookies, unset_jwt_cookies

import config
from domain import api_keys, app_tokens, binding, clock, limits, metrics, opaque_tokens, revocation, service_tokens, sessions
from domain.caller import Caller, Client
from domain.errors import CsrfFailed, Forbidden, NotFound, TokenInvalid, TokenMissing
from resources import limiter, tokens
from resources.tokens import Kind, Pair

API_KEY, APP_TOKEN = "X-API-Key", "X-App-Token"
HEADERS = ("Authorization", API_KEY, APP_TOKEN)
BEARER = re.compile(r"bearer +([\w.~+/=-]+)", re.IGNORECASE | re.ASCII)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Presented(NamedTuple):
    """A token as it came; `header` names the one that it came in."""

    token: str
    via: Literal["header", "cookie"]
    header: str | None = None

    @property
    def prefix(self) -> str | None:
        """What says that it is a key or an application token; None for a JWT, which alone may come as a cookie."""
        if self.header is None:
            return None
        if self.header == "Authorization":
            return next((one for one in (opaque_tokens.KEY, opaque_tokens.APP) if self.token.startswith(one)), None)
        return opaque_tokens.KEY if self.header == API_KEY else opaque_tokens.APP


def client() -> Client:
    """Where this request comes from."""
    agent = request.headers.get("User-Agent", "")
    if not agent.isprintable():
        agent = "".join(character for character in agent if character.isprintable())
    device = request.headers.get("X-Device-Token") or request.cookies.get(_device_cookie())
    return Client(request.remote_addr, agent[:400] or None, device)


def bound(session_id: str) -> str | None:
    """What the tokens that this request gets say about its client; None where tokens are bound to nothing."""
    return binding.of(session_id, client()) if binding.is_on() else None


def by_cookie() -> bool:
    """Whether the credential of this request came as a cookie."""
    return bool(g.get("via") == "cookie")


@metrics.token_check
def whoever() -> Caller:
    """The caller by whatever came: an access token, an API key, an application token; `TokenMissing`, `TokenInvalid`,
    `TokenExpired`, `TokenRevoked`, `SessionExpired`, `TooManyAttempts`.

    Which of them a row opens to is said by its rule (`access.Rule.kinds`).
    """
    presented = required("access")
    return by_prefix(presented) or by_jwt(presented)


@metrics.token_check
def signed_in() -> Caller:
    """The caller by an access token and nothing else; a mere look: no activity of the session, and not counted."""
    presented = required("access")
    if presented.prefix:
        raise TokenInvalid
    return _signed_in(presented, tokens.verify(presented.token, "access"), note=False, counted=False)


def by_prefix(presented: Presented) -> Caller | None:
    """The caller by an API key or application token; None for a JWT."""
    if presented.prefix is None:
        return None
    check = api_keys.check if presented.prefix == opaque_tokens.KEY else app_tokens.check
    return check(presented.token, client())


def by_jwt(presented: Presented, *, counted: bool = True, reads: bool | None = None) -> Caller:
    """By an access token, or by the one of a service, which never comes as a cookie."""
    claims = tokens.verify(presented.token, *(("access", "service") if presented.via == "header" else ("access",)))
    if claims["type"] == "service":
        return of_service(claims)
    return _signed_in(presented, claims, counted=counted, reads=reads)


def _signed_in(
    presented: Presented, claims: dict[str, Any], *, note: bool = True, counted: bool = True, reads: bool | None = None
) -> Caller:
    """By the claims of an access token; `note`: it is activity, `counted`: it is a request of the user's."""
    _check_carriage(presented, claims, reads=reads)
    counter = limiter.user_counter(claims["sub"]) if counted else None
    found = revocation.look_up(claims["sid"], claims["sub"], counter, config.settings.RATE_LIMIT_WINDOW)
    g.requests = found.requests
    sessions.check(claims["sid"], claims["gen"], found.state, note=note)
    return caller_of(claims)._replace(card=found.card)


def of_service(claims: dict[str, Any]) -> Caller:
    """The service by the claims of a token that was made from its application token; `TokenExpired`, `TokenRevoked`."""
    return service_tokens.check(claims["tid"], claims["sub"], claims["scope"].split(), client())


def refreshing() -> Caller:
    """The caller by their refresh token, which `rotation.refresh` judges."""
    presented = required("refresh")
    _refuse_prefixed(presented)
    claims = tokens.verify(presented.token, "refresh")
    _check_carriage(presented, claims)
    return caller_of(claims)


def leaving(*, cookies: bool = True) -> Caller:
    """The caller of a logout: by an access token, over or not, or a refresh token; by cookie only with `cookies`."""
    presented = _presented("access") or _presented("refresh")
    if presented is None or (presented.via == "cookie" and not cookies):
        raise TokenMissing
    _refuse_prefixed(presented)
    try:
        claims = tokens.verify(presented.token, "access", expired_too=True)
    except TokenInvalid:
        claims = tokens.verify(presented.token, "refresh")
    _check_csrf(presented, claims)
    return caller_of(claims)


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


def _refuse_prefixed(presented: Presented) -> None:
    """A key or application token where only a session's own tokens do: 401 for a bad one, 403 for a good one."""
    if by_prefix(presented):
        raise Forbidden


def _check_carriage(presented: Presented, claims: dict[str, Any], *, reads: bool | None = None) -> None:
    """Refuse a token that came as a cookie without what goes with it, or from another client than it is bound to."""
    _check_csrf(presented, claims, reads=reads)
    if binding.is_on():
        binding.check(claims.get("bound"), claims["sub"], claims["sid"], client())


def required(kind: Kind) -> Presented:
    """What came as a credential; `TokenMissing`, and `TokenInvalid` for two."""
    presented = _presented(kind)
    if presented is None:
        raise TokenMissing
    return presented


def _presented(kind: Kind) -> Presented | None:
    sent = [name for name in HEADERS if name in request.headers]
    if len(sent) > 1:
        raise TokenInvalid
    if sent:
        g.via = "header"
        return _by_header(sent[0], request.headers[sent[0]].strip(" "))
    token = cookie(kind)
    if not token:
        return None
    g.via = "cookie"
    return Presented(token, "cookie")


def cookie(kind: Kind) -> str | None:
    """The token of this kind that came as a cookie, as it came."""
    return request.cookies.get(current_app.config[f"JWT_{kind.upper()}_COOKIE_NAME"])


def _by_header(name: str, value: str) -> Presented:
    if name != "Authorization":
        return Presented(value, "header", name)
    match = BEARER.fullmatch(value)
    if match is None:
        raise TokenInvalid
    return Presented(match[1], "header", name)


def _check_csrf(presented: Presented, claims: dict[str, Any], *, reads: bool | None = None) -> None:
    """`reads` is whether nothing is changed, where the method of this request does not say so."""
    if presented.via == "header" or (request.method in SAFE_METHODS if reads is None else reads):
        return
    sent, known = request.headers.get("X-CSRF-TOKEN", ""), claims.get("csrf")
    if not isinstance(known, str) or not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), known.encode()):
        raise CsrfFailed


def caller_of(claims: dict[str, Any]) -> Caller:
    """The caller by the claims of a session's token."""
    return Caller(claims["sub"], claims["sid"], claims["gen"], claims.get("auth_time", 0), tuple(claims.get("amr", ())), client())


def _seconds_left(token: str) -> int:
    return max(0, tokens.expiry(token) - clock.epoch())


def _device_cookie() -> str:
    return ("__Host-" if config.settings.https else "") + "device"
