"""Threats 24, 31 and 34 to 36 where services ask: another's tokens, confused credentials, injected headers, races at an end."""

import base64
import time

import jwt
import pytest

import config
from domain import app_tokens, opaque_tokens
from domain.database import transaction
from tests.attacks.acts import claims, raw
from tests.attacks.test_tokens import encoded, signed
from tests.credentials import make_key
from tests.services import OPERATOR, give, service, take_away
from tests.serving import at_once

NAMES = ("X-User-Id", "X-User-Email", "X-User-Roles", "X-Scopes")
SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "MAX_KEYS_PER_USER": 1000}


@pytest.fixture(scope="module")
def docs(server):
    return service(server, "docs:read", "docs:write", name="docs")


@pytest.fixture(scope="module")
def other(server):
    return service(server, "docs:read", name="other")


@pytest.fixture(scope="module")
def member(server, docs):
    tokens = server.member()
    give(tokens["user"]["id"], docs.id, "editor", "docs:read")
    return tokens


def test_no_service_learns_anything_of_anothers_tokens(server, docs, other):
    for token in (docs.token, docs.own_token()):
        assert other.introspect(token) == {"active": False}
        assert docs.introspect(token)["active"]


def test_no_service_ends_anothers_tokens(server, docs, other):
    _, token = app_tokens.make(OPERATOR, docs.id, "Test", ["docs:read"])
    assert other.ask("revoke", token=token).code == "unauthorized_client"
    assert docs.introspect(token)["active"]


def test_only_an_application_token_of_its_own_is_a_services_secret(server, docs, other, member):
    key = make_key(server, member)["api_key"]
    secrets = [
        member["access_token"],
        member["refresh_token"],
        member["device_token"],
        key,
        other.token,
        docs.own_token(),
        docs.token[:-1],
        docs.token + " ",
        docs.token.lower(),
        opaque_tokens.make(opaque_tokens.APP),
        docs.token_id,
        config.keys(config.settings.JWT_SECRET_KEY)[0],
        "",
        "\0",
        "x" * 9000,
    ]
    for secret in secrets:
        basic = "Basic " + base64.b64encode(f"{docs.id}:{secret}".encode()).decode()
        posted = {"client_id": docs.id, "client_secret": secret}
        for what in ("token", "introspect", "revoke"):
            fields = {"grant_type": "client_credentials", "token": docs.token}
            for answer in (
                server.post(f"/oauth/{what}", data=fields, headers={"Authorization": basic}),
                server.post(f"/oauth/{what}", data=fields | posted),
            ):
                assert (answer.status, answer.code) == (401, "invalid_client"), (what, secret[:20])
    for bearer in (member["access_token"], member["refresh_token"], key):
        assert server.post("/oauth/introspect", data={"token": docs.token}, token=bearer).code == "invalid_client"
    cookies = {"access_token_cookie": docs.own_token()}
    assert server.post("/oauth/introspect", data={"token": docs.token}, cookies=cookies).code == "invalid_client"
    assert docs.introspect(docs.token)["active"]


def test_a_service_is_no_other_by_its_own_token(server, docs, other):
    """Whatever way a client id comes in beside a good token."""
    for headers in ({"Authorization": f"Bearer {other.token}"}, {"X-App-Token": other.token}, {"Authorization": other.basic}):
        answer = server.post("/oauth/introspect", data={"token": docs.token, "client_id": docs.id}, headers=headers)
        assert answer.code == "invalid_client"
    posted = {"client_id": docs.id, "client_secret": other.token, "token": docs.token}
    assert server.post("/oauth/introspect", data=posted).code == "invalid_client"


def test_no_credential_of_a_service_is_read_from_a_query(server, docs):
    query = f"client_id={docs.id}&client_secret={docs.token}&grant_type=client_credentials&token=x"
    for what in ("token", "introspect", "revoke"):
        assert server.post(f"/oauth/{what}?{query}").code == "invalid_client"
        assert server.post(f"/oauth/{what}?token=x&grant_type=client_credentials", headers={"Authorization": docs.basic}).status == 400


def forged(token, **changes):
    """The same claims, some of them changed, under the server's own key."""
    payload = {name: value for name, value in (claims(token) | changes).items() if value is not None}
    return signed(token.split(".")[0], encoded(payload), config.keys(config.settings.JWT_SECRET_KEY)[0])


def test_kinds_of_tokens_are_not_taken_for_each_other(server, docs, other, member):
    """Claims of two kinds in one token, signed with our key: the worst that a slip of ours could make."""
    made = docs.own_token()
    assert server.get("/verify", token=forged(made)).status == 204
    for token in (
        forged(made, type="access"),
        forged(made, type="refresh"),
        forged(made, sub=other.id),
        forged(made, sub=member["user"]["id"]),
        forged(made, tid=other.token_id),
        forged(made, tid="nobody"),
        forged(made, tid=None),
        forged(made, scope=None),
        forged(made, scope=["docs:read"]),
        forged(made, aud="another"),
        forged(made, exp=int(time.time())),
        forged(member["access_token"], type="service"),
        forged(member["access_token"], type="service", tid=docs.token_id, scope="docs:read"),
    ):
        assert server.get("/verify", token=token).status == 401
        assert docs.introspect(token) == {"active": False}
    wide = forged(made, scope="docs:read users:write")
    assert docs.introspect(wide)["scope"] == "docs:read"
    assert server.get("/verify?permission=users:write", token=wide).status == 403
    for path in ("/mfa", "/profile", "/api/auth/sessions"):
        assert server.get(path, token=made).status == 403
    for path in ("/refresh", "/logout"):
        assert server.post(path, token=made).code == "token_invalid"
    assert server.get("/auth/status", token=made).json == {"authenticated": False}


def test_what_ends_an_application_token_ends_what_was_made_from_it_on_every_worker(server):
    mine = service(server, "docs:read")
    made = [mine.own_token() for _ in range(3)]
    with transaction() as db:
        app_tokens.end(db, mine.token_id)
    answers = at_once(20, lambda number: server.get("/verify", token=[*made, mine.token][number % 4]))
    assert {(one.status, one.code) for one in answers} == {(401, "token_revoked")}
    assert {mine.ask("token", grant_type="client_credentials").code for _ in range(6)} == {"invalid_client"}


def test_a_session_that_ends_is_inactive_at_every_worker_at_once(server, docs):
    for _ in range(3):
        tokens = server.member()
        assert {one["active"] for one in at_once(12, lambda _, t=tokens: docs.introspect(t["access_token"]))} == {True}
        assert server.post("/logout", token=tokens["access_token"]).status == 200
        assert {one["active"] for one in at_once(20, lambda _, t=tokens: docs.introspect(t["access_token"]))} == {False}
        assert {one.status for one in at_once(20, lambda _, t=tokens: server.get("/verify", token=t["access_token"]))} == {401}


def test_a_role_that_is_taken_away_is_gone_with_the_next_question(server, docs):
    tokens = server.member()
    role = give(tokens["user"]["id"], docs.id, "author", "docs:write")
    path = "/verify?service=docs&permission=docs:write"
    assert {one.status for one in at_once(12, lambda _: server.get(path, token=tokens["access_token"]))} == {204}
    take_away(tokens["user"]["id"], role)
    assert {one.status for one in at_once(12, lambda _: server.get(path, token=tokens["access_token"]))} == {403}
    assert docs.introspect(tokens["access_token"])["permissions"] == []


def test_a_key_never_counts_for_more_than_its_owner_may_in_that_service(server, docs, other):
    """`docs:read` here is not `docs:read` there."""
    tokens = server.member()
    role = give(tokens["user"]["id"], docs.id, "reader", "docs:read")
    key = make_key(server, tokens, scopes=["docs:read"])["api_key"]
    assert server.get("/verify?service=docs&permission=docs:read", token=key).headers["X-Scopes"] == "docs:read"
    assert server.get("/verify?service=other&permission=docs:read", token=key).status == 403
    assert server.get("/verify?service=other", token=key).headers["X-Scopes"] == ""
    assert (other.introspect(key)["scope"], other.introspect(key)["permissions"]) == ("", [])
    take_away(tokens["user"]["id"], role)
    assert docs.introspect(key)["scope"] == ""


def test_scopes_of_a_service_token_are_never_more_than_its_application_token_has_now(server):
    mine = service(server, "docs:read")
    assert mine.ask("token", grant_type="client_credentials", scope="docs:read docs:write").code == "invalid_scope"
    for scope in ("docs:read\tdocs:write", "docs:read,docs:write", "docs:*", "docs:read\u00a0docs:write", "docs:read\ndocs:write"):
        assert mine.ask("token", grant_type="client_credentials", scope=scope).code == "invalid_scope", scope


def test_headers_for_the_service_behind_hold_one_line_each(server, docs, member):
    """What a visitor sends never comes back in them, and they are all there."""
    ours = f"Authorization: Bearer {member['access_token']}"
    sent = ["X-User-Id: admin", "X-User-Roles: admin", "X-Scopes: *", "X-User-Email: admin@example.com"]
    for query in ("", "?service=docs", "?service=docs&permission=docs:read", "?service=docs&x=%0d%0aX-User-Id:%20admin"):
        answer = raw(server.port, "\r\n".join([f"GET /verify{query} HTTP/1.1", "Host: x", "Connection: close", ours, *sent, "", ""]))
        head = answer.decode().split("\r\n\r\n")[0].split("\r\n")
        assert head[0].startswith("HTTP/1.1 204 ")
        named = [line for line in head if line.split(":")[0] in NAMES]
        assert sorted(line.split(":")[0] for line in named) == sorted(NAMES)
        assert f"X-User-Id: {member['user']['id']}" in named
        assert "admin" not in "".join(named)


def test_a_visitor_who_claims_a_method_gets_nothing_by_a_cookie_when_the_proxy_tells_the_true_one(server, email):
    """A proxy that sets only one of the two headers, and passes the visitor's other one on."""
    server.join(email)
    cookies = server.login(email, cookies=True).cookies
    for name, true in (("X-Forwarded-Method", "X-Original-Method"), ("X-Original-Method", "X-Forwarded-Method")):
        answer = server.get("/verify", cookies=cookies, headers={name: "GET", true: "POST"})
        assert (answer.status, answer.code) == (403, "csrf_failed")
    twice = ["GET /verify HTTP/1.1", "Host: x", "Connection: close", "X-Original-Method: GET", "X-Original-Method: POST"]
    cookie = "Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items())
    assert b"csrf_failed" in raw(server.port, "\r\n".join([*twice, cookie, "", ""]))


@pytest.mark.parametrize("path", ["/verify", "/verify?service=docs&permission=docs:read", "/verify?service=%00&%ff=%ff"])
def test_a_proxy_never_gets_any_other_answer(server, docs, member, path):
    token = member["access_token"]
    lines = [
        [],
        ["Authorization: "],
        ["Authorization: Bearer"],
        ["Authorization: Basic eDp4"],
        [f"Authorization: Bearer {token}", "X-API-Key: x"],
        ["X-API-Key: \xff\xfe"],
        ["X-App-Token: " + "x" * 9000],
        [f"Cookie: access_token_cookie={token}"],
        [f"Authorization: Bearer {token}"],
        [f"Authorization: Bearer {docs.token}"],
    ]
    for one in lines:
        answer = raw(server.port, "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *one, "", ""]))
        assert answer[9:12] in (b"204", b"401", b"403"), (one, answer[:200])


def test_forms_that_are_made_to_break_a_parser_are_refused_and_never_an_error(server, docs):
    head = {"Authorization": docs.basic, "Content-Type": "application/x-www-form-urlencoded"}
    for body in (
        b"%",
        b"token=%ff%fe",
        b"&" * 60_000,
        b"a=&" * 20_000,
        b"token=" + b"x" * 60_000,
        b"\xff\xfe",
        b"token=%ed%a0%80",
        b"token[]=x",
    ):
        answer = server.post("/oauth/introspect", data=body, headers=head)
        assert answer.status in (200, 400, 413), (body[:20], answer.status)
        assert answer.json == {"active": False} if answer.status == 200 else answer.code == "invalid_request"
    assert server.post("/oauth/introspect", data=b"token=" + b"x" * 100_000, headers=head).status in (400, 413)


def test_nothing_secret_stands_in_an_answer_of_the_key_set(server):
    assert server.get("/.well-known/jwks.json").json == {"keys": []}
    assert jwt.get_unverified_header(server.member()["access_token"])["alg"] == "HS256"
