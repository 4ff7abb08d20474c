"""Addresses that are not served: refused before anything else, whatever they ask for."""

import pytest

SERVED, DENIED = "203.0.113.9", "203.0.113.77"


def at(house, address, path="/password-policy", **more):
    return house.request(more.pop("method", "GET"), path, environ_overrides={"REMOTE_ADDR": address}, **more)


@pytest.mark.settings(IP_ALLOW="203.0.113.0/24, 2001:db8::/48,::ffff:198.51.100.0/120", IP_DENY="203.0.113.64/26,2001:db8:0:7::/64")
@pytest.mark.parametrize(
    ("address", "status"),
    [
        (SERVED, 200),
        ("::ffff:203.0.113.9", 200),
        ("198.51.100.1", 200),
        ("2001:db8::1", 200),
        (DENIED, 403),  # Deny wins.
        ("::ffff:203.0.113.77", 403),
        ("::FFFF:CB00:714D", 403),
        ("2001:db8:0:7:1::", 403),
        ("192.0.2.1", 403),
        ("2001:db9::1", 403),
        ("::203.0.113.9", 403),  # Not the same as ::ffff:203.0.113.9 (RFC 4291 2.5.5.1).
        ("", 403),
        ("unknown", 403),
        ("203.0.113.9:80", 403),
    ],
)
def test_who_is_served(house, address, status):
    answer = at(house, address)
    assert (answer.status, answer.code) == (status, None if status == 200 else "forbidden")


@pytest.mark.settings(IP_DENY="203.0.113.64/26")
def test_who_is_not_denied_is_served_where_only_that_is_said(house):
    assert (at(house, "192.0.2.1").status, at(house, DENIED).status) == (200, 403)


@pytest.mark.settings(IP_DENY="203.0.113.64/26", RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="1 per day", METRICS_TOKEN="a token")
def test_it_comes_before_everything_else_and_health_is_told_to_all(house):
    for path in ("/", "/password-policy", "/login", "/nothing", "/openapi.json", "/oauth/token", "/healthz/x", "/readyzz"):
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            assert at(house, DENIED, path, method=method, data="{").code == "forbidden", (method, path)
    for path, status in (("/healthz", 200), ("/healthz/", 200), ("/readyz", 200), ("/metrics", 401)):
        assert at(house, DENIED, path).status == status
    assert at(house, DENIED).headers["X-Request-ID"]


@pytest.mark.settings(IP_DENY=DENIED)
def test_what_a_client_says_of_its_address_changes_nothing(house):
    for headers in ({"X-Forwarded-For": SERVED}, {"Forwarded": f"for={SERVED}"}, {"X-Real-IP": SERVED}):
        assert at(house, DENIED, headers=headers).status == 403
    assert at(house, SERVED, headers={"X-Forwarded-For": DENIED}).status == 200


@pytest.mark.settings(IP_DENY=DENIED, TRUSTED_PROXIES=1)
def test_behind_a_proxy_it_is_the_address_that_the_proxy_tells(house):
    assert at(house, "127.0.0.1", headers={"X-Forwarded-For": f"{SERVED}, {DENIED}"}).status == 403
    assert at(house, "127.0.0.1", headers={"X-Forwarded-For": f"{DENIED}, {SERVED}"}).status == 200
