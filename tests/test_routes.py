"""The table of routes: whole, named, canonical; every address of a row answers alike, and checks come in the contract's order."""

import re

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed

from domain import cache, database, limits
from domain.permissions import Permission
from resources import access, base
from resources.access import anyone
from resources.base import Resource, Route
from resources.routes import ROUTES
from resources.shapes import Done
from tests.conftest import opened
from tests.visitor import PASSWORD

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
OUTSIDE_THE_TABLE = {"/static/<path:name>"}
PAIRS = [(route, url) for route in ROUTES for url in route.urls]
BROKEN = {"data": b"{", "headers": {"Content-Type": "application/json"}}


def path_of(url: str) -> str:
    """An address with something in the place of each of its parts."""
    return re.sub(r"<[^>]+>", "something", url)


def methods_at(path: str) -> set[str]:
    """The methods of every row that an address fits, such as `/mfa/recovery-codes` and `/mfa/<id>`."""
    return {route.method for route, url in PAIRS if re.fullmatch(re.sub(r"<[^>]+>", "[^/]+", url), path)}


@pytest.fixture
def app(settings):
    """The application itself, for questions that a visitor can't ask."""
    yield opened(settings)
    if cache.client is not None:
        cache.client.close()
    database.disconnect()


class Lamp(Resource):
    """Has two verbs."""

    def get(self) -> Done:
        """Look."""
        return Done(status="on")

    def post(self) -> Done:
        """Press."""
        return Done(status="pressed")


GET_LAMP, POST_LAMP, PUT_LAMP = (Route(verb, ("/lamp",), Lamp, anyone, None) for verb in ("GET", "POST", "PUT"))


@pytest.mark.parametrize(
    "rows",
    [[GET_LAMP], [GET_LAMP, POST_LAMP, PUT_LAMP], [GET_LAMP, POST_LAMP, POST_LAMP]],
    ids=["a verb without a row", "a row without a verb", "two rows for one verb"],
)
def test_a_table_that_does_not_fit_its_resources_stops_the_start(rows):
    with pytest.raises(RuntimeError, match="Lamp"):
        base.connect(base.Api(Flask("lamps")), rows)


def test_a_table_that_fits_starts():
    base.connect(base.Api(Flask("lamps")), [GET_LAMP, POST_LAMP])


def test_every_route_names_who_may_call():
    rules = [value for value in vars(access).values() if isinstance(value, access.Rule)]
    known = {"oneself"} | {rule.name for rule in rules} | {f"may({permission})" for permission in Permission}
    assert [route.urls[0] for route in ROUTES if not set(re.split(r" & | \| ", route.access.name)) <= known] == []
    assert len({rule.name for rule in rules}) == len(rules)


def test_every_limit_is_on_the_page_of_limits():
    names = {value for value in vars(limits).values() if isinstance(value, str)}
    assert {route.limit for route in ROUTES} - {None} <= names


def test_every_address_is_canonical_and_stands_once():
    assert [url for _, url in PAIRS if not re.fullmatch(r"(/[a-z0-9._-]+|/<[a-z_]+>)+", url)] == []
    assert len({(route.method, url) for route, url in PAIRS}) == len(PAIRS)


def test_nothing_is_served_that_does_not_stand_in_the_table(app):
    assert {rule.rule for rule in app.url_map.iter_rules()} == {url for _, url in PAIRS} | OUTSIDE_THE_TABLE


def test_every_address_leads_to_its_row_and_takes_no_other_method(app):
    adapter = app.url_map.bind("gatehouse")
    for route, url in PAIRS:
        for path in (path_of(url), path_of(url) + "/"):
            endpoint, _ = adapter.match(path, route.method)
            assert app.view_functions[endpoint].view_class is route.resource
            for method in METHODS - methods_at(path_of(url)):
                with pytest.raises(MethodNotAllowed):
                    adapter.match(path, method)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.urls[0]}")
def test_every_alias_and_every_trailing_slash_answers_the_same(house, route):
    answers = set()
    for url in route.urls:
        for path in (path_of(url), path_of(url) + "/"):
            answer = house.request(route.method, path)
            said = re.sub(rb'"(?:request_id|challenge)": ?"[\w-]+"', b"", answer.body)
            answers.add((answer.status, answer.headers["Content-Type"], said))
    assert len(answers) == 1


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="1 per day")
def test_unknown_addresses_and_methods_are_told_before_the_limit(house):
    assert house.get("/password-policy").status == 200
    assert house.get("/password-policy").code == "rate_limited"
    assert (house.get("/nowhere").status, house.get("/nowhere").code) == (404, "not_found")
    wrong = house.put("/password-policy")
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert {"GET", "HEAD", "OPTIONS"} == set(wrong.headers["Allow"].replace(" ", "").split(","))


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="1 per day")
def test_the_limit_comes_before_the_credential(house):
    assert house.get("/mfa").code == "token_missing"
    assert house.get("/mfa").code == "rate_limited"
    assert house.get("/mfa", token="wrong").code == "rate_limited"


def test_the_credential_comes_before_the_body(house):
    assert house.post("/mfa", **BROKEN).code == "token_missing"
    assert house.post("/mfa", data=b"x" * (limits.BODY_BYTES + 1)).code == "token_missing"
    assert house.post("/change-password", token="wrong", data=b"x", headers={"Content-Type": "text/plain"}).code == "token_invalid"


def test_the_right_comes_before_the_body(house, email):
    house.join(email)
    cookies = house.login(email, cookies=True).cookies
    assert house.post("/mfa", cookies=cookies, **BROKEN).code == "csrf_failed"


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=1)
def test_the_body_comes_before_the_rule(house, email):
    house.join(email)
    refused = {
        "malformed_json": BROKEN,
        "unsupported_media_type": {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
        "too_large": {"data": b" " * (limits.BODY_BYTES + 1), "headers": {"Content-Type": "application/json"}},
        "validation_failed": {"json": {"email": email, "password": 1}},
    }
    assert {code: house.post("/login", **body).code for code, body in refused.items()} == {code: code for code in refused}
    assert house.login(email).status == 200  # None of those was a failed attempt.
    assert house.login(email, "a wrong password").code == "invalid_credentials"
    assert house.login(email, PASSWORD).code == "too_many_attempts"


def test_head_answers_as_get_does_without_a_body(house):
    for path in ("/password-policy", "/healthz", "/mfa"):
        head, get = house.request("HEAD", path), house.get(path)
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="20 per day", RATE_LIMIT_REQUESTS=4, RATE_LIMIT_WINDOW=3600)
def test_a_free_row_counts_for_nobody(house):
    token = house.member()["access_token"]
    free = [route.urls[0] for route in ROUTES if route.limit == limits.FREE and route.method == "GET"]
    assert "/auth/status" in free
    for path in map(path_of, free):
        for caller in (token, None, "wrong"):
            assert {house.get(path, token=caller).status for _ in range(8)} & {429} == set(), path
    assert house.get("/mfa", token=token).status == 200
    assert 429 in {house.get("/mfa", token=token).status for _ in range(8)}
