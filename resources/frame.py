"""What every request and every answer has, whatever it is about: an address that is served, an id, security headers, https
where it is forced.
"""

import re
import secrets
from typing import cast
from urllib.parse import quote

from flask import Flask, Response, g, redirect, request

import config
from domain import networks
from domain.errors import Forbidden, HttpsRequired

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
PATH = "/:@!$&'()*+,;=~"  # What may stand in a path as it is, besides letters and digits (RFC 3986 3.3).
OPEN_TO_ALL = ("/healthz", "/readyz", "/metrics")  # To every address, and over plain http.
ELSEWHERE = "This server is not open to your address."
POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
}


def register(app: Flask) -> None:
    """Frame every request of this app."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> "Response | None":
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    if request.path.rstrip("/") in OPEN_TO_ALL:
        return None
    if not networks.admits(request.remote_addr):
        raise Forbidden(ELSEWHERE)
    if not config.settings.FORCE_HTTPS or request.is_secure:
        return None
    if request.method not in ("GET", "HEAD"):
        raise HttpsRequired
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    return cast("Response", redirect(config.settings.BASE_URL + quote(request.path, safe=PATH) + query, 308))


def _finish(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers.add("Vary", "Origin")  # Always: a cache must not give one origin what was answered to another, or to none.
    if config.settings.FORCE_HTTPS and request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return response
