"""Services ask in the forms of RFC 6749, RFC 7009 and RFC 7662, and get answers in theirs."""

import pytest
from sqlalchemy import select, update

from domain import accounts, clock
from domain.database import reading, transaction
from model import AppToken, AuditEvent, Service
from tests.attacks.acts import claims
from tests.credentials import make_key
from tests.services import give, service, take_away


@pytest.fixture
def docs(house):
    """A service called docs, with a token that may read and write them."""
    return service(house, "docs:read", "docs:write", name="docs")


def editor(house, docs):
    tokens = house.member()
    give(tokens["user"]["id"], docs.id, "editor", "docs:read")
    return tokens


# Tokens for services


def test_a_service_gets_a_token_for_calls_to_others(house, docs):
    answer = docs.ask("token", grant_type="client_credentials")
    assert answer.status == 200
    assert {name: answer.json[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "docs:read docs:write",
    }
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    said = claims(answer.json["access_token"])
    assert {name: said[name] for name in ("type", "sub", "client_id", "tid", "scope", "aud")} == {
        "type": "service",
        "sub": docs.id,
        "client_id": docs.id,
        "tid": docs.token_id,
        "scope": "docs:read docs:write",
        "aud": "gatehouse",
    }
    assert said["exp"] - said["iat"] == 600


def test_scopes_are_those_asked_for_and_never_more_than_the_application_token_has(house, docs):
    assert docs.ask("token", grant_type="client_credentials", scope="docs:read").json["scope"] == "docs:read"
    for scope in ("docs:delete", "docs:read users:read", "*", "DOCS:READ"):
        assert docs.ask("token", grant_type="client_credentials", scope=scope).code == "invalid_scope"
    narrow = docs.own_token(scope="docs:read")
    assert docs.introspect(narrow)["scope"] == "docs:read"
    assert service(house).ask("token", grant_type="client_credentials").json["scope"] == ""


def test_other_grants_are_refused(house, docs):
    assert docs.ask("token").code == "invalid_request"
    for grant in ("password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS", "x"):
        assert docs.ask("token", grant_type=grant).code == "unsupported_grant_type"


def test_a_token_does_not_renew_itself(house, docs):
    answer = house.post("/oauth/token", data={"grant_type": "client_credentials"}, token=docs.own_token())
    assert (answer.status, answer.code) == (400, "unauthorized_client")


def test_a_token_does_not_outlive_its_application_token(house, docs, moved_clock):
    with transaction() as db:
        db.execute(update(AppToken).values(expires_at=clock.now().replace(microsecond=0)))
    moved_clock(-60)
    answer = docs.ask("token", grant_type="client_credentials").json
    assert answer["expires_in"] == 60
    moved_clock(1)
    assert service(house).introspect(answer["access_token"]) == {"active": False}


def test_a_token_opens_what_its_scopes_name(house):
    admin = service(house, "audit:read")
    assert house.get("/api/admin/audit", token=admin.own_token()).status == 200
    assert house.get("/api/admin/audit", token=service(house, "docs:read").own_token()).code == "forbidden"
    assert house.get("/mfa", token=admin.own_token()).code == "forbidden"
    assert house.get("/api/tokens/validate", token=admin.own_token()).status == 200


# What stands behind a token


def test_a_session_is_told_with_what_its_user_may_in_the_service_that_asks(house, docs, email):
    tokens = house.member(email)
    user_id = tokens["user"]["id"]
    role = give(user_id, docs.id, "editor", "docs:read", "docs:write")
    give(user_id, service(house).id, "stranger", "other:read")
    said = claims(tokens["access_token"])
    assert docs.introspect(tokens["access_token"]) == {
        "active": True,
        "token_type": "Bearer",
        "sub": user_id,
        "username": email,
        "scope": "",
        "exp": said["exp"],
        "iat": said["iat"],
        "jti": said["jti"],
        "sid": tokens["session_id"],
        "amr": ["pwd"],
        "auth_time": said["auth_time"],
        "roles": ["editor"],
        "permissions": ["docs:read", "docs:write"],
    }
    take_away(user_id, role)
    found = docs.introspect(tokens["access_token"])
    assert (found["active"], found["roles"], found["permissions"]) == (True, [], [])


def test_a_username_is_told_where_there_is_one(house, docs):
    tokens = house.member(username="jo.doe")
    assert docs.introspect(tokens["access_token"])["username"] == "jo.doe"


def test_a_wrong_hint_does_no_harm(house, docs):
    token = house.member()["access_token"]
    for hint in ("refresh_token", "access_token", "x", ""):
        assert docs.ask("introspect", token=token, token_type_hint=hint).json["active"]


def test_nothing_is_told_of_what_is_not_good(house, docs, email, moved_clock):
    ended, disabled, over = house.member(), house.member(email), house.member()
    assert docs.introspect(disabled["access_token"])["active"]
    house.post("/logout", token=ended["access_token"])
    accounts.deactivate(email)
    other = service(house)
    for token in (
        ended["access_token"],
        disabled["access_token"],
        over["refresh_token"],
        other.token,
        other.own_token(),
        "x",
        "gh_key_x",
        "gh_app_x",
        over["session_id"],
    ):
        assert docs.introspect(token) == {"active": False}
    assert docs.introspect(over["access_token"])["active"]
    moved_clock(1801)
    assert docs.introspect(over["access_token"]) == {"active": False}


@pytest.mark.settings(SESSION_IDLE_SECONDS=60, ACTIVITY_FLUSH_SECONDS=1)
def test_asking_is_activity_of_the_session(house, docs, moved_clock):
    tokens = house.member()
    for seconds in (50, 100, 150):
        moved_clock(seconds)
        assert docs.introspect(tokens["access_token"])["active"]
    moved_clock(220)
    assert not docs.introspect(tokens["access_token"])["active"]


def test_a_key_is_told_with_its_owner_and_its_scopes(house, docs):
    tokens = editor(house, docs)
    key = make_key(house, tokens, scopes=["docs:read", "profile:read"])
    found = docs.introspect(key["api_key"])
    assert {name: found[name] for name in ("sub", "scope", "roles", "permissions", "jti")} == {
        "sub": tokens["user"]["id"],
        "scope": "docs:read profile:read",
        "roles": [],
        "permissions": ["docs:read"],
        "jti": key["key_id"],
    }
    assert {"sid", "auth_time", "amr"} & set(found) == set()
    elsewhere = service(house).introspect(key["api_key"])
    assert (elsewhere["scope"], elsewhere["roles"], elsewhere["permissions"]) == ("profile:read", [], [])


def test_a_service_is_told_of_its_own_tokens(house, docs):
    found = docs.introspect(docs.token)
    assert {name: found[name] for name in ("sub", "client_id", "username", "scope", "jti", "roles", "permissions")} == {
        "sub": docs.id,
        "client_id": docs.id,
        "username": "docs",
        "scope": "docs:read docs:write",
        "jti": docs.token_id,
        "roles": [],
        "permissions": ["docs:read", "docs:write"],
    }
    assert "exp" not in found
    made = docs.own_token(scope="docs:read")
    assert docs.introspect(made)["exp"] == claims(made)["exp"]
    assert docs.introspect(made)["client_id"] == docs.id


# The end of a token


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_a_token_ends_its_session(house, docs, kind):
    tokens = house.member()
    for _ in range(2):
        answer = docs.ask("revoke", token=tokens[kind], token_type_hint="x")
        assert (answer.status, answer.json) == (200, {"status": "revoked"})
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    with reading() as db:
        event = db.scalars(select(AuditEvent).where(AuditEvent.action == "session.ended")).one()
    assert (event.actor, event.user_id, event.session_id) == (f"service:{docs.id}", tokens["user"]["id"], tokens["session_id"])


def test_revoking_an_access_token_that_is_over_ends_its_session_too(house, docs, moved_clock):
    tokens = house.member()
    moved_clock(1100)
    tokens = house.post("/refresh", token=tokens["refresh_token"]).json
    moved_clock(1100 + 1801)
    assert docs.ask("revoke", token=tokens["access_token"]).status == 200
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"


def test_a_service_ends_its_own_application_tokens_and_no_others(house, docs):
    other = service(house)
    assert docs.ask("revoke", token=other.token).code == "unauthorized_client"
    assert not other.introspect(docs.token)["active"]
    assert other.introspect(other.token)["active"]
    made = docs.own_token()
    assert docs.ask("revoke", token=docs.token).status == 200
    assert docs.ask("introspect", token="x").code == "invalid_client"
    assert house.get("/verify", token=made).code == "token_revoked"


def test_keys_are_not_ended_here_and_unknown_tokens_are_as_good_as_ended(house, docs):
    tokens = house.member()
    key = make_key(house, tokens)["api_key"]
    assert (docs.ask("revoke", token=key).status, docs.ask("revoke", token=key).code) == (400, "unsupported_token_type")
    assert docs.ask("revoke", token=docs.own_token()).code == "unsupported_token_type"
    assert docs.introspect(key)["active"]
    for token in ("x", "gh_app_x", "gh_key_x", tokens["access_token"] + "x", "a.b.c"):
        assert docs.ask("revoke", token=token).status == 200
    assert house.get("/mfa", token=tokens["access_token"]).status == 200


def test_an_inactive_service_asks_nothing_and_its_tokens_are_nothing(house, docs):
    made = docs.own_token()
    with transaction() as db:
        db.execute(update(Service).where(Service.id == docs.id).values(is_active=False))
    for what in ("token", "introspect", "revoke"):
        assert docs.ask(what, token="x", grant_type="client_credentials").code == "invalid_client"
    assert house.get("/verify", token=made).code == "token_revoked"
    assert house.get("/verify", token=docs.token).code == "token_revoked"
