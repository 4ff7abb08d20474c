"""How a service proves itself where it asks: HTTP Basic, `client_id` and `client_secret` in the form (both are the service's id
and its application token), or that token, or one made from it, as a bearer. One way, not two (RFC 6749 2.3).
"""

import base64
import hmac
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from flask import g, request

from domain import app_tokens, opaque_tokens, revocation, sessions
from domain.caller import Caller
from domain.errors import InvalidClient, InvalidRequest, TokenInvalid, Unauthenticated
from resources import credentials, reading, tokens
from resources.credentials import Presented
from resources.shapes import FORM


class Proof(NamedTuple):
    """A service's id, and its application token as its secret."""

    client_id: str
    secret: str


def client() -> Caller:
    """The service that asks; `InvalidClient`, and `InvalidRequest` for two ways at once or a form that can't be read."""
    sent, form = [name for name in credentials.HEADERS if name in request.headers], reading.form()
    if form is None and not sent and request.mimetype == FORM:
        raise InvalidRequest
    form = form or {}
    if len(sent) > 1 or (sent and "client_secret" in form):
        raise InvalidRequest
    try:
        caller = _proven(_basic() or _posted(form))
    except Unauthenticated:
        raise InvalidClient from None
    if not _same(form.get("client_id", caller.service_id), caller.service_id):
        raise InvalidClient
    return caller


def behind(token: str) -> tuple[Caller, dict[str, Any]]:
    """Who stands behind a token that a service has got, and its claims if it is a JWT; `Unauthenticated`, `TooManyAttempts`.

    It is activity of the session. To what client its tokens are bound can't be seen from there.
    """
    if caller := credentials.by_prefix(Presented(token, "header", "Authorization")):
        return caller, {}
    claims = tokens.verify(token, "access", "service")
    if claims["type"] == "service":
        return credentials.of_service(claims), claims
    found = revocation.look_up(claims["sid"], claims["sub"])
    sessions.check(claims["sid"], claims["gen"], found.state)
    return credentials.caller_of(claims)._replace(card=found.card), claims


def _proven(proof: Proof | None) -> Caller:
    if proof is None:
        return _by_header()
    caller = app_tokens.check(proof.secret, credentials.client())
    if not _same(proof.client_id, caller.service_id):
        raise InvalidClient
    return caller


def _by_header() -> Caller:
    """By an application token, or one made from it, in a header; `Unauthenticated`."""
    presented = credentials.required("access")
    if presented.via == "cookie" or presented.prefix == opaque_tokens.KEY:
        raise TokenInvalid
    if presented.prefix:
        return app_tokens.check(presented.token, credentials.client())
    return credentials.of_service(tokens.verify(presented.token, "service"))


def _basic() -> Proof | None:
    """What came by HTTP Basic, both parts encoded as in a form (RFC 6749 2.3.1); None if something else came, or nothing."""
    scheme, _, encoded = request.headers.get("Authorization", "").strip(" ").partition(" ")
    if scheme.lower() != "basic":
        return None
    g.via = "basic"
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(" "), validate=True).decode().partition(":")
    except ValueError:
        raise InvalidClient from None
    if not colon:
        raise InvalidClient
    return Proof(unquote_plus(client_id), unquote_plus(secret))


def _posted(form: dict[str, Any]) -> Proof | None:
    if "client_secret" not in form:
        return None
    if "client_id" not in form:
        raise InvalidClient
    return Proof(form["client_id"], form["client_secret"])


def _same(one: str | None, other: str | None) -> bool:
    return hmac.compare_digest((one or "").encode("utf-8", "surrogatepass"), (other or "").encode())
