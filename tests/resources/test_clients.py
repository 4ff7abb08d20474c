"""A service proves itself in one way, and is told in the words of RFC 6749 where it does not."""

import base64

import pytest

from tests.services import service

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def docs(house):
    """A service called docs."""
    return service(house, "docs:read", name="docs")


def test_a_service_proves_itself_in_one_of_four_ways(house, docs):
    fields = {"token": "x"}
    bearer = {"Authorization": f"Bearer {docs.token}"}
    ways = [
        ({}, {"Authorization": docs.basic}),
        ({"client_id": docs.id, "client_secret": docs.token}, {}),
        ({}, bearer),
        ({}, {"X-App-Token": docs.token}),
        ({"client_id": docs.id}, bearer),
        ({}, {"Authorization": f"Bearer {docs.own_token()}"}),
    ]
    for more, headers in ways:
        answer = house.post("/oauth/introspect", data=fields | more, headers=headers)
        assert (answer.status, answer.json) == (200, {"active": False}), (more, headers)
        assert answer.headers["Cache-Control"] == "no-store"


def test_two_ways_at_once_are_refused(house, docs):
    secret = {"client_id": docs.id, "client_secret": docs.token}
    for headers in ({"Authorization": docs.basic}, {"Authorization": f"Bearer {docs.token}"}, {"X-App-Token": docs.token}):
        answer = house.post("/oauth/introspect", data={"token": "x", **secret}, headers=headers)
        assert (answer.status, answer.code) == (400, "invalid_request")
    both = {"Authorization": docs.basic, "X-App-Token": docs.token}
    assert house.post("/oauth/introspect", data={"token": "x"}, headers=both).code == "invalid_request"


def basic(name, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_service_that_does_not_prove_itself_is_told_how(house, docs):
    other = service(house)
    wrong = [
        basic(docs.id, "x"),
        basic(other.id, docs.token),
        basic("", docs.token),
        basic(docs.id, ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Basic " + base64.b64encode(docs.token.encode()).decode()},
    ]
    for headers in [*wrong, {}]:
        answer = house.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
        assert (answer.status, answer.code) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="gatehouse"'
        assert answer.headers["Cache-Control"] == "no-store"
    bearer = house.post("/oauth/token", data={"grant_type": "client_credentials"}, token="gh_app_x")
    assert (bearer.code, bearer.headers["WWW-Authenticate"]) == ("invalid_client", 'Bearer realm="gatehouse", error="invalid_token"')


def test_id_and_secret_may_be_encoded_as_in_a_form(house, docs):
    encoded = {"Authorization": "bAsIc " + base64.b64encode(f"{docs.id}:{docs.token.replace('_', '%5F')}".encode()).decode()}
    assert house.post("/oauth/introspect", data={"token": "x"}, headers=encoded).status == 200


def test_forms_are_read_as_the_rfcs_want(house, docs):
    def ask(raw, **more):
        return house.post("/oauth/introspect", data=raw, headers={"Authorization": docs.basic, **FORM, **more})

    assert ask("token=x&foo=1&foo%5b%5d=2").json == {"active": False}
    for raw in ("", "token=", "token=x&token=y", "foo=1&foo=2&token=x", "token=%00", "token_type_hint=access_token"):
        answer = ask(raw)
        assert (answer.status, answer.code) == (400, "invalid_request"), raw
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json) == {"error", "error_description"}
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        assert ask('{"token": "x"}', **{"Content-Type": kind}).code == "invalid_request"
    assert house.get("/oauth/introspect").status == 405
