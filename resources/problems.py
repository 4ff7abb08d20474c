"""Refusals and failures as application/problem+json (RFC 9457), or where services ask as RFC 6749 5.2 has them. The only place
with error statuses.
"""

import logging
import re
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

import config
from domain import errors, metrics
from domain.errors import Refused
from resources import page

STATUS: dict[type[Refused], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
FRAME_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    431: "too_large",
}
# What RFC 6749 5.2 calls a request that can't be read; every other code is told as it is.
INVALID_REQUESTS = ("validation_failed", "malformed_request", "malformed_json", "unsupported_media_type", "too_large")
UNTELLABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")  # In a description of an error, by the same page.
REALM = 'Bearer realm="gatehouse"'


class MalformedJson(errors.Invalid):
    """The body is not JSON."""


class UnsupportedMediaType(errors.Invalid):
    """The body is not of a media type that this operation takes."""


STATUS[UnsupportedMediaType] = 415


def register(app: Flask) -> None:
    """Answer every error of this app with a problem document."""
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _framework)
    app.register_error_handler(Exception, _unexpected)


def status_of(refusal: type[Refused]) -> int:
    """The HTTP status of a kind of refusal."""
    return next(STATUS[kind] for kind in refusal.__mro__ if kind in STATUS)


def codes() -> dict[int, list[str]]:
    """Every code of the domain by its status, for the API document."""
    found: dict[int, list[str]] = {}
    kinds = [kind for base in tuple(STATUS) for kind in (base, *base.__subclasses__()) if kind.__subclasses__() == []]
    for kind in sorted(set(kinds), key=lambda one: one.code):
        found.setdefault(status_of(kind), []).append(kind.code)
    return found


def named_by_oauth(code: str, status: int) -> tuple[str, int]:
    """A code and a status as they are told where services ask."""
    if code not in INVALID_REQUESTS:
        return code, status
    return errors.InvalidRequest.code, 400 if status == 415 else status


def _refused(refusal: Refused) -> Response:
    metrics.refusal(refusal)
    g.code = refusal.code  # For the log.
    more: dict[str, Any] = {}
    if refusal.detail:
        more["detail"] = refusal.detail
    if refusal.errors:
        more["errors"] = [fault._asdict() for fault in refusal.errors]
    if refusal.methods is not None:
        more["methods"] = list(refusal.methods)
    response = _problem(status_of(type(refusal)), refusal.code, refusal.title(), more)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = _challenge(refusal)
    return response


def _challenge(refusal: Refused) -> str:
    """What RFC 6750 and, for step-up, RFC 9470 want the client to be told."""
    if isinstance(refusal, errors.ReauthenticationRequired):
        return 'Bearer error="insufficient_user_authentication", max_age=' + str(config.settings.RECENT_SIGN_IN_SECONDS)
    if isinstance(refusal, errors.InvalidClient) and g.get("via") != "header":
        return 'Basic realm="gatehouse"'
    if isinstance(refusal, errors.TokenMissing):
        return REALM
    tokens = (errors.InvalidClient, errors.TokenInvalid, errors.TokenExpired, errors.TokenRevoked, errors.SessionExpired)
    return f'{REALM}, error="invalid_token"' if isinstance(refusal, tokens) else REALM


def _framework(error: HTTPException) -> Response:
    status = error.code or 500
    if status in (301, 302, 307, 308):
        return error.get_response()  # type: ignore[return-value]
    code = FRAME_CODES.get(status, "malformed_request" if status < 500 else "internal_error")
    response = _problem(status, code, HTTPStatus(status).phrase, {})
    if status == 405 and (allowed := error.get_headers()):
        response.headers["Allow"] = dict(allowed).get("Allow", "")
    return response


def _unexpected(error: Exception) -> Response:
    logging.getLogger("gatehouse").error("request %s failed", g.get("request_id"), exc_info=error)
    return _problem(500, "internal_error", "Something went wrong on our side.", {})


def _problem(status: int, code: str, title: str, more: dict[str, Any]) -> Response:
    document = {"type": "about:blank", "title": title, "status": status, "code": code, **more, "request_id": g.get("request_id")}
    if g.get("by_oauth"):
        return _by_oauth(document)
    if g.get("page") and "text/html" in request.headers.get("Accept", ""):
        return page.render("refusal", {"problem": {"detail": None, "errors": [], **document}}, status)
    return Response(orjson.dumps(document), status, mimetype="application/problem+json")


def _by_oauth(document: dict[str, Any]) -> Response:
    """The same in the form that clients of RFC 6749, RFC 7009 and RFC 7662 read."""
    code, status = named_by_oauth(document["code"], document["status"])
    faults = " ".join(f"{fault['field']}: {fault['message']}." for fault in document.get("errors", ()))
    told = faults or document.get("detail") or document["title"]
    response = Response(orjson.dumps({"error": code, "error_description": UNTELLABLE.sub("", told)}), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
