"""Threat 39, the half about cookies: no change without the CSRF token, and no token where a script could read it."""

import re

import pytest

from resources.routes import ROUTES
from tests.attacks.acts import claims
from tests.visitor import PASSWORD

NAMES = {"access_token_cookie", "refresh_token_cookie", "csrf_access_token", "csrf_refresh_token"}
SAFE = {"GET", "HEAD"}
# What each rule says to a change that comes with good cookies alone. A rule that is not named here fails the tests.
WITHOUT_CSRF = {
    "anyone": None,  # It reads no cookie of ours.
    "scraping": None,
    "asking_client": "invalid_client",  # Nor do services come with cookies.
    "signed_in": "csrf_failed",
    "recently_signed_in": "csrf_failed",
    "with_second_factor": "csrf_failed",
    "profile_writer": "csrf_failed",
    "recently_signed_in_or_enrolling": "csrf_failed",
    "perhaps_signed_in": "csrf_failed",
    "perhaps_signed_in_or_finishing": "csrf_failed",
    "whoever_signed_in": "csrf_failed",
    "refreshing": "csrf_failed",
    "leaving": "csrf_failed",
    "leaving_by_header": "token_missing",
}


def first_rule(route):
    """Of rules that are composed the first says how the caller is found, as they all do."""
    return route.access.name.partition(" & ")[0]


CHANGES = [(route, url) for route in ROUTES for url in route.urls if route.method not in SAFE]
GUARDED = [(route, url) for route, url in CHANGES if WITHOUT_CSRF[first_rule(route)] == "csrf_failed"]


def path_of(url):
    return re.sub(r"<[^>]+>", "something", url)


@pytest.fixture
def browser(server, email):
    """The answer to a sign-in in cookie mode."""
    server.join(email)
    return server.login(email, cookies=True)


@pytest.mark.parametrize(("route", "url"), GUARDED, ids=[f"{route.method} {url}" for route, url in GUARDED])
def test_no_change_is_made_by_cookies_alone(server, email, route, url):
    server.join(email)
    browser, other = (server.login(email, cookies=True) for _ in range(2))
    kind = "refresh" if route.access.name == "refreshing" else "access"
    wrong_kind = {"access": "refresh", "refresh": "access"}[kind]
    right = browser.json[f"csrf_{kind}_token"]
    sent = [
        {},
        {"X-CSRF-TOKEN": ""},
        {"X-CSRF-TOKEN": "x"},
        {"X-CSRF-TOKEN": right[:-1]},
        {"X-CSRF-TOKEN": right + "x"},
        {"X-CSRF-TOKEN": "\u00e9"},
        {"X-CSRF-TOKEN": browser.json[f"csrf_{wrong_kind}_token"]},
        {"X-CSRF-TOKEN": other.json[f"csrf_{kind}_token"]},
        {"X-CSRF": right, "Csrf-Token": right, "X-XSRF-TOKEN": right},
    ]
    # Who can plant a cookie, as from another host of the same domain, knows what it says; our token does not say it.
    planted = dict(browser.cookies) | {f"csrf_{kind}_token": "x" for kind in ("access", "refresh")}
    answer = server.request(route.method, path_of(url), cookies=planted, headers={"X-CSRF-TOKEN": "x"})
    assert (answer.status, answer.code) == (403, "csrf_failed")
    bodies = [None, {"csrf_token": right}, {"X-CSRF-TOKEN": right}]
    cookies = dict(browser.cookies)
    for headers in sent:
        answer = server.request(route.method, path_of(url), cookies=cookies, headers=headers)
        assert (answer.status, answer.code) == (403, "csrf_failed"), headers
    for body in bodies:
        answer = server.request(route.method, f"{path_of(url)}?csrf_token={right}", body, cookies=cookies)
        assert (answer.status, answer.code) == (403, "csrf_failed"), body
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.request(route.method, path_of(url), cookies=cookies, headers=form, data=f"csrf_token={right}").code == "csrf_failed"
    assert server.get("/mfa", cookies=cookies).json == {"enabled": False, "methods": [], "recovery_codes_left": 0}
    passed = server.request(route.method, path_of(url), cookies=cookies, headers={"X-CSRF-TOKEN": right})
    assert passed.code != "csrf_failed"


def test_every_change_is_made_by_a_rule_that_this_page_knows(server, browser):
    for route, url in CHANGES:
        answer = server.request(route.method, path_of(url), cookies=browser.cookies)
        expected = WITHOUT_CSRF[first_rule(route)]
        assert answer.code == expected if expected else answer.status != 200, (route.method, url)


def test_in_cookie_mode_no_token_is_in_the_json(browser):
    assert {"access_token", "refresh_token", "device_token"} & set(browser.json) == set()
    assert set(browser.cookies) == NAMES | {"device"}
    for name in ("access_token_cookie", "refresh_token_cookie", "device"):
        assert browser.cookies[name] not in browser.text
    assert browser.json["csrf_access_token"] == browser.cookies["csrf_access_token"]
    assert browser.json["csrf_refresh_token"] == browser.cookies["csrf_refresh_token"]
    assert browser.headers["Cache-Control"] == "no-store"


def test_what_came_as_a_cookie_goes_back_as_a_cookie(server, browser):
    csrf = {"X-CSRF-TOKEN": browser.json["csrf_refresh_token"]}
    refreshed = server.post("/refresh", cookies=browser.cookies, headers=csrf)
    assert set(refreshed.cookies) == NAMES
    assert {"access_token", "refresh_token"} & set(refreshed.json) == set()
    csrf = {"X-CSRF-TOKEN": refreshed.json["csrf_access_token"]}
    stepped_up = server.post("/reauthenticate", {"password": PASSWORD}, cookies=refreshed.cookies, headers=csrf)
    assert set(stepped_up.cookies) == NAMES
    assert {"access_token", "refresh_token"} & set(stepped_up.json) == set()
    assert server.get("/mfa", cookies=stepped_up.cookies).status == 200


def test_without_cookie_mode_no_cookie_is_set(server, browser, email):
    by_header = server.login(email)
    assert by_header.cookies == {}
    assert server.login(email, cookies=False).cookies == {}
    assert server.post("/refresh", token=by_header.json["refresh_token"], cookies=browser.cookies).cookies == {}


def test_a_header_wins_over_a_cookie_and_needs_no_csrf_token(server, browser):
    somebody = server.member()
    answer = server.get("/auth/status", token=somebody["access_token"], cookies=browser.cookies)
    assert answer.json["user"]["id"] == somebody["user"]["id"]
    assert server.post("/mfa", {}, token=somebody["access_token"], cookies=browser.cookies).json["status"] == "setup"
    for header in ("Bearer x", "Bearer", "", "Basic x", f"Bearer {somebody['refresh_token']}"):
        assert server.get("/mfa", headers={"Authorization": header}, cookies=browser.cookies).code == "token_invalid", header


def test_cookies_of_one_kind_are_none_of_the_other(server, browser):
    access, refresh = browser.cookies["access_token_cookie"], browser.cookies["refresh_token_cookie"]
    csrf = {"X-CSRF-TOKEN": browser.json["csrf_access_token"]}
    assert server.get("/mfa", cookies={"access_token_cookie": refresh}).code == "token_invalid"
    assert server.get("/mfa", cookies={"refresh_token_cookie": refresh}).code == "token_missing"
    assert server.post("/refresh", cookies={"refresh_token_cookie": access}, headers=csrf).code == "token_invalid"


def test_a_link_signs_nobody_out(server, browser):
    for method in ("GET", "HEAD"):
        for path in ("/auth/logout", "/auth/logout/", "/auth/logout?csrf_token=" + browser.json["csrf_access_token"]):
            answer = server.request(method, path, cookies=browser.cookies)
            assert answer.status == 401
            assert method == "HEAD" or answer.code == "token_missing"
            csrf = {"X-CSRF-TOKEN": browser.json["csrf_access_token"]}
            assert server.request(method, path, cookies=browser.cookies, headers=csrf).status == 401
    assert server.get("/mfa", cookies=browser.cookies).status == 200
    signed_out = server.get("/auth/logout", token=browser.cookies["access_token_cookie"])
    assert signed_out.json == {"status": "signed_out"}
    assert server.get("/mfa", cookies=browser.cookies).code == "token_revoked"


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_signing_out_by_a_cookie_ends_the_session_and_clears_the_cookies(server, browser, kind):
    only = {f"{kind}_token_cookie": browser.cookies[f"{kind}_token_cookie"]}
    answer = server.post("/logout", cookies=only, headers={"X-CSRF-TOKEN": browser.json[f"csrf_{kind}_token"]})
    assert answer.json == {"status": "signed_out"}
    assert set(re.findall(r"(\w+)=; Expires=Thu, 01 Jan 1970", answer.headers["Set-Cookie"])) == NAMES
    assert "device=" not in answer.headers["Set-Cookie"]
    assert server.get("/mfa", cookies=browser.cookies).code == "token_revoked"
    assert server.get("/mfa", token=browser.cookies["access_token_cookie"]).code == "token_revoked"


def test_the_csrf_token_is_bound_to_its_token(browser):
    for kind in ("access", "refresh"):
        assert claims(browser.cookies[f"{kind}_token_cookie"])["csrf"] == browser.cookies[f"csrf_{kind}_token"]
    assert browser.json["csrf_access_token"] != browser.json["csrf_refresh_token"]
