"""Threat 39, the half about origins: exact ones from the list, never `null`, and no cache may mix them up."""

import pytest

LISTED = ("https://app.example.com", "http://localhost:3000", "http://[::1]:3000")
SETTINGS = {"CORS_ORIGINS": ", ".join(LISTED)}
UNLISTED = (
    "null",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://evilapp.example.com",
    "https://evil.app.example.com",
    "https://example.com",
    "https://app-example.com",
    "https://appxexample.com",
    "https://app.example.com:443",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "https://app.example.com%60.evil.example",
    "https://app.example.com@evil.example",
    "https://app.example.com, https://evil.example",
    "https://app.example.com https://evil.example",
    "http://app.example.com",
    "http://localhost",
    "http://localhost:30001",
    "http://localhost:3001",
    "http://[::1]:30000",
    "http://1:3000",
    "http://:3000",
    "https://app.example.com\u00df",
    "*",
    "file://",
    "",
)
ASKED = (
    ("GET", "/healthz", 200),
    ("GET", "/password-policy", 200),
    ("GET", "/mfa", 401),
    ("POST", "/login", 400),
    ("PUT", "/login", 405),
    ("GET", "/nowhere", 404),
    ("GET", "/confirm/something", 200),
)
READABLE = {"Retry-After", "WWW-Authenticate", "X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
SENDABLE = {"Authorization", "Content-Type", "X-API-Key", "X-App-Token", "X-CSRF-TOKEN", "X-Device-Token"}


def words(answer, name):
    """The values of a header that holds a list."""
    return {word.strip() for word in answer.headers.get(name, "").split(",")} - {""}


def granted(answer):
    """The headers that let a browser's script in."""
    return {name for name in dict(answer.headers) if name.lower().startswith("access-control-")}


def preflight(server, path, origin, method="POST", headers="content-type"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return server.request("OPTIONS", path, headers=asked)


@pytest.mark.parametrize("origin", LISTED)
@pytest.mark.parametrize(("method", "path", "status"), ASKED)
def test_a_listed_origin_may_read_every_answer(server, origin, method, path, status):
    answer = server.request(method, path, headers={"Origin": origin})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert words(answer, "Access-Control-Expose-Headers") == READABLE
    assert "Origin" in words(answer, "Vary")


@pytest.mark.parametrize(("method", "path", "status"), ASKED)
def test_no_other_origin_may_read_anything(server, method, path, status):
    for origin in UNLISTED:
        answer = server.request(method, path, headers={"Origin": origin})
        assert answer.status == status
        assert granted(answer) == set(), origin
        assert "Origin" in words(answer, "Vary"), origin


@pytest.mark.parametrize(("method", "path", "status"), ASKED)
def test_without_an_origin_nothing_is_granted_and_caches_are_told(server, method, path, status):
    answer = server.request(method, path)
    assert granted(answer) == set()
    assert "Origin" in words(answer, "Vary")


def test_a_preflight_of_a_listed_origin_names_what_may_be_sent(server):
    for method, path in (("POST", "/login"), ("DELETE", "/mfa"), ("PATCH", "/mfa/something")):
        answer = preflight(server, path, LISTED[0], method, ", ".join(sorted(SENDABLE)))
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == LISTED[0]
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert method in words(answer, "Access-Control-Allow-Methods")
        assert words(answer, "Access-Control-Allow-Headers") == SENDABLE
        assert "*" not in "".join(answer.headers.values()).replace("*/*", "")
        assert "Origin" in words(answer, "Vary")


def test_a_preflight_grants_no_header_that_is_not_named(server):
    answer = preflight(server, "/login", LISTED[0], headers="x-evil, content-type, x-forwarded-for")
    assert {word.lower() for word in words(answer, "Access-Control-Allow-Headers")} == {"content-type"}


@pytest.mark.parametrize("path", ["/login", "/nowhere"])
def test_a_preflight_of_any_other_origin_grants_nothing(server, path):
    for origin in UNLISTED:
        assert granted(preflight(server, path, origin)) == set(), origin
