"""The words of the API document that stand in no code: how credentials come, what a problem looks like, headers."""

from typing import Any

Schema = dict[str, Any]
PROBLEM, HTML = "application/problem+json", "text/html"
LICENSE = {"name": "MIT", "identifier": "MIT"}

INTRODUCTION = """Sign-up, sign-in, second factors and sessions.

Every refusal is `application/problem+json` (RFC 9457) with a stable `code`. Ids are opaque strings, times are UTC (RFC 3339),
durations are seconds. A trailing slash makes no difference. A request may name itself by `X-Request-ID` (8 to 64 of
`A-Za-z0-9._-`). Where the server asks for https, plain http gets 308 for GET and 403 `https_required` for the rest. More fields
may be added to answers; a request with an unknown field is refused."""

PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "description": "Why a request was refused.",
    "required": ["type", "title", "status", "code", "request_id"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; what a program looks at."},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong with which field.",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
        "methods": {"type": "array", "items": {"type": "string"}, "description": "With what one can prove oneself again."},
        "request_id": {"type": "string"},
    },
}

OAUTH_ERROR_SCHEMA: Schema = {
    "type": "object",
    "description": "Why a request was refused, as RFC 6749 5.2 has it.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}

HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"description": "The name of this request in the log.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds until it may be tried again.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "RFC 6750, and for step-up RFC 9470.", "required": True, "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "To an API key: its owner's requests in a window.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "To an API key: how many are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "To an API key: when the next window begins, in Unix seconds.", "schema": {"type": "integer"}},
    "Location": {"description": "Where to go on.", "required": True, "schema": {"type": "string"}},
}
HEADERS_BY_STATUS = {302: "Location", 303: "Location", 401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


def credentials(prefix: str) -> dict[str, Schema]:
    """The ways to carry a credential; `prefix` is what the names of cookies begin with."""
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."},
        "refresh": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A refresh token."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": f"{prefix}access_token_cookie", "description": "An access token."},
        "refreshCookie": {"type": "apiKey", "in": "cookie", "name": f"{prefix}refresh_token_cookie", "description": "A refresh token."},
        "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-TOKEN", "description": "Goes with a cookie that changes something."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key; it may come as a bearer as well."},
        "appToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-App-Token",
            "description": "An application token; it may come as a bearer as well.",
        },
        "client": {"type": "http", "scheme": "basic", "description": "A service's id and application token; or both in the form."},
        "metrics": {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN."},
    }
