"""A proxy asks before it passes a request on: 204 with all four headers, 401 or 403, and no other answer."""

import pytest
from sqlalchemy import update

from domain import accounts, api_keys, cards
from domain.database import transaction
from domain.errors import Unavailable
from domain.permissions import OWN
from model import Service
from tests.attacks.acts import claims
from tests.credentials import admin_of, make_key
from tests.services import give, service, take_away

NAMES = ("X-User-Id", "X-User-Email", "X-User-Roles", "X-Scopes")
READ = "/verify?service=docs&permission=docs:read"


@pytest.fixture
def docs(house):
    """A service called docs."""
    return service(house, "docs:read", name="docs")


def told(answer):
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Type" not in answer.headers
    return [answer.headers[name] for name in NAMES]


def test_who_is_signed_in_passes_with_what_they_have_in_that_service(house, docs, email):
    tokens = house.member(email)
    user_id = tokens["user"]["id"]
    role = give(user_id, docs.id, "editor", "docs:read")
    give(user_id, docs.id, "author", "docs:write")
    assert told(house.get("/verify", token=tokens["access_token"])) == [user_id, email, "", ""]
    assert told(house.get(READ, token=tokens["access_token"])) == [user_id, email, "author,editor", ""]
    take_away(user_id, role)
    assert house.get(READ, token=tokens["access_token"]).code == "forbidden"
    assert told(house.get("/verify?service=docs", token=tokens["access_token"])) == [user_id, email, "author", ""]


def test_without_a_service_the_server_itself_is_meant(house, email):
    admin = admin_of(house, email)
    assert told(house.get("/verify?permission=users:read", token=admin["access_token"]))[2] == "admin"
    assert house.get("/verify?permission=users:read", token=house.member()["access_token"]).code == "forbidden"


def test_a_service_or_permission_that_there_is_not_is_403(house, docs):
    token = house.member()["access_token"]
    with transaction() as db:
        db.add(Service(id="asleep", name="asleep", is_active=False, created_at=accounts.clock.now()))
    for query in (
        "service=nobody",
        "service=",
        "service=asleep",
        "service=%00",
        "service=%ff",
        "service=docs%0d%0a",
        "service=" + "x" * 9000,
    ):
        answer = house.get(f"/verify?{query}", token=token)
        assert (answer.status, answer.code) == (403, "forbidden"), query
    for permission in ("nothing", "", "docs:read,users:read", "*", "%00", "docs:read%20"):
        assert house.get(f"/verify?service=docs&permission={permission}", token=token).code == "forbidden", permission
        assert house.get(f"/verify?service=docs&permission={permission}", token=docs.token).code == "forbidden", permission


def test_a_key_passes_with_its_scopes_and_never_beyond_its_owner(house, docs, email):
    tokens = house.member(email)
    role = give(tokens["user"]["id"], docs.id, "editor", "docs:read", "docs:write")
    key = make_key(house, tokens, scopes=["docs:read", "profile:read"])["api_key"]
    by_key = {"headers": {"X-API-Key": key}}
    assert told(house.get(READ, **by_key)) == [tokens["user"]["id"], email, "", "docs:read profile:read"]
    assert house.get("/verify?service=docs&permission=docs:write", **by_key).code == "forbidden"
    take_away(tokens["user"]["id"], role)
    assert house.get(READ, **by_key).code == "forbidden"
    assert told(house.get("/verify?service=docs", **by_key))[3] == "profile:read"
    accounts.deactivate(email)
    assert house.get("/verify?service=docs", **by_key).status == 401


def test_a_service_passes_as_nobody_with_its_scopes(house, docs):
    for token in (docs.token, docs.own_token()):
        assert told(house.get("/verify", token=token)) == ["", "", "", "docs:read"]
        assert told(house.get(READ, token=token)) == ["", "", "", "docs:read"]
        assert house.get("/verify?permission=docs:read", token=token).code == "forbidden"  # None of the server's own.
        assert house.get("/verify?permission=users:read", token=token).code == "forbidden"
    assert told(house.get("/verify", headers={"X-App-Token": docs.token}))[3] == "docs:read"
    narrow = service(house, "docs:read", "docs:write").own_token(scope="docs:write")
    assert house.get(READ, token=narrow).code == "forbidden"


def test_whatever_is_no_good_credential_is_401(house, docs, email, moved_clock):
    tokens, ended = house.member(email), house.member()
    house.post("/logout", token=ended["access_token"])
    assert house.get("/verify").code == "token_missing"
    for token in (tokens["refresh_token"], ended["access_token"], "x", "gh_key_x", "gh_app_x"):
        assert house.get("/verify", token=token).status == 401
    accounts.deactivate(email)
    assert house.get("/verify", token=tokens["access_token"]).status == 401


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=1)
def test_too_many_wrong_keys_are_401_like_one(house):
    formed = api_keys.opaque_tokens.make("gh_key_")
    assert [house.get("/verify", headers={"X-API-Key": formed}).status for _ in range(4)] == [401] * 4


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_REQUESTS=3, RATE_LIMIT_ANONYMOUS="20 per hour")
def test_it_is_not_counted(house):
    token = house.member()["access_token"]
    assert {house.get("/verify", token=token).status for _ in range(10)} == {204}
    assert {house.get("/verify").status for _ in range(30)} == {401}
    assert house.get("/mfa", token=token).status == 200


@pytest.mark.settings(SESSION_IDLE_SECONDS=60, ACTIVITY_FLUSH_SECONDS=1)
def test_it_is_activity_of_the_session(house, moved_clock):
    token = house.member()["access_token"]
    for seconds in (50, 100, 150):
        moved_clock(seconds)
        assert house.get("/verify", token=token).status == 204
    moved_clock(220)
    assert house.get("/verify", token=token).code == "session_expired"


def test_a_server_that_can_not_tell_says_no(house, monkeypatch):
    token = house.member()["access_token"]

    def away(_):
        raise Unavailable(retry_after=2)

    monkeypatch.setattr(cards, "of_caller", away)
    answer = house.get("/verify", token=token)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (403, "forbidden", "2")


def test_a_cookie_counts_with_its_csrf_token_or_for_what_only_reads(house, email):
    house.join(email)
    browser = house.login(email, cookies=True)

    def ask(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = house.get("/verify", cookies=browser.cookies, headers=named)
        return answer.status if answer.status == 204 else answer.code

    csrf = browser.json["csrf_access_token"]
    assert ask(X_CSRF_TOKEN=csrf) == 204
    assert ask(X_CSRF_TOKEN=csrf, X_Original_Method="POST") == 204
    for name in ("X_Forwarded_Method", "X_Original_Method"):
        assert [ask(**{name: method}) for method in ("GET", "HEAD")] == [204, 204]
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "", "get", "GET, GET", "GET,POST", "GETX"):
            expected = 204 if method.strip() == "GET" else "csrf_failed"  # Blanks around a value are no part of it.
            assert ask(**{name: method}) == expected, method
    assert ask(X_Forwarded_Method="GET", X_Original_Method="GET") == 204
    for other in ("HEAD", "POST", ""):
        assert ask(X_Forwarded_Method="GET", X_Original_Method=other) == "csrf_failed"
    assert ask() == "csrf_failed"
    assert ask(X_CSRF_TOKEN="x") == "csrf_failed"
    assert ask(X_CSRF_TOKEN=claims(browser.cookies["refresh_token_cookie"])["csrf"]) == "csrf_failed"


def test_what_the_server_itself_may_is_no_scope_of_a_key_in_another_service(house, docs, email):
    key = make_key(house, admin_of(house, email), scopes=["users:read"])["api_key"]
    assert "users:read" in OWN
    assert told(house.get("/verify", headers={"X-API-Key": key}))[3] == "users:read"
    assert told(house.get("/verify?service=docs", headers={"X-API-Key": key}))[3] == ""


def test_a_token_of_an_inactive_service_is_401(house, docs):
    with transaction() as db:
        db.execute(update(Service).where(Service.id == docs.id).values(is_active=False))
    assert house.get("/verify", token=docs.token).code == "token_revoked"
