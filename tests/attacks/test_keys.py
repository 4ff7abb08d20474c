"""Threats 1, 14, 29, 30, 35, 36 and 41: keys and application tokens, how they are carried, and how they end, on every worker."""

import json
import time
from itertools import permutations

import pytest
from sqlalchemy import update

import config
from domain import accounts, activity, cache, cards, database
from domain.database import reading, transaction
from domain.permissions import OWN
from domain.secrets import hashed
from model import ApiKey, Assignment, Base, Service
from tests.attacks.acts import an_admin, count, user_of
from tests.credentials import by_app_token, by_key, make_app_token, make_key, make_service
from tests.serving import WORKERS, at_once
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "METRICS_TOKEN": "a-token-for-prometheus-alone", "ACTIVITY_FLUSH_SECONDS": 1}
OFTEN = 4 * WORKERS  # So many requests one after the other meet every worker.


@pytest.fixture
def owner(server, email):
    return server.member(email)


@pytest.fixture
def key(server, owner):
    return make_key(server, owner)["api_key"]


@pytest.fixture(scope="module")
def admin(server):
    accounts.create("admin@example.com", PASSWORD, admin=True)
    return server.login("admin@example.com").json


@pytest.fixture
def app_token(server, admin, email):
    return make_app_token(server, admin, make_service(f"s-{email[5:17]}"), scopes=["audit:read"])["token"]


def everywhere(server, path="/profile", **more):
    """What every worker answers."""
    return {server.get(path, **more).code for _ in range(OFTEN)}


def text_of_everything(server, owner):
    """All that is kept or told somewhere: tables, Redis, logs, metrics, and what the owner sees."""
    with database.connection() as db:
        found = [str(db.exec_driver_sql(f"SELECT * FROM {table.name}").all()) for table in Base.metadata.sorted_tables]
    if cache.client is not None:
        found += [f"{one} {cache.client.get(one)}" for one in cache.client.scan_iter() if cache.client.type(one) == b"string"]
    found += [server.log.read_text(), config.settings.LOG_FILE.read_text()]
    found.append(server.get("/metrics", token=SETTINGS["METRICS_TOKEN"]).text)
    found += [server.get(path, token=owner["access_token"]).text for path in ("/keys/list", "/profile/activity")]
    return "\n".join(found)


def test_no_credential_is_read_from_where_none_belongs(server, key, app_token):
    for one in (key, app_token):
        for name in ("api_key", "key", "token", "access_token", "X-API-Key", "X-App-Token", "authorization"):
            assert server.get(f"/profile?{name}={one}").code == "token_missing"
            assert server.get("/profile", headers={"Cookie": f"{name}={one}"}).code == "token_missing"
        assert server.get("/profile", headers={"Cookie": f"access_token_cookie={one}"}).code == "token_invalid"
        assert server.put("/profile", {"bio": "x", "api_key": one}).code == "token_missing"
        assert (
            server.get("/profile", headers={"X_API_KEY": one, "Api-Key": one, "Proxy-Authorization": f"Bearer {one}"}).code
            == "token_missing"
        )


def test_of_two_header_credentials_none_is_taken(server, owner, key, app_token):
    ways = {"Authorization": f"Bearer {owner['access_token']}", "X-API-Key": key, "X-App-Token": app_token}
    for (first, good), (second, other) in permutations(ways.items(), 2):
        for value in (other, "", "x"):
            answer = server.get("/profile", headers={first: good, second: value})
            assert (answer.status, answer.code) == (401, "token_invalid"), (first, second, value)
    assert server.get("/profile", headers=ways).code == "token_invalid"
    assert server.get("/profile", headers={"X-API-Key": f"{key},{key}"}).code == "token_invalid"  # As the same header twice arrives.


def test_a_header_wins_over_a_cookie(server, email, owner, key):
    browser = server.login(email, cookies=True).cookies
    cookie = "; ".join(f"{name}={value}" for name, value in browser.items())
    assert server.get("/mfa", headers={"Cookie": cookie}).status == 200
    assert server.get("/mfa", headers={"Cookie": cookie, "X-API-Key": key}).code == "forbidden"
    assert server.get("/profile", headers={"Cookie": cookie, "X-API-Key": key[:-1]}).code == "token_invalid"
    assert server.get("/profile", headers={"Cookie": cookie, "X-App-Token": ""}).code == "token_invalid"


def test_each_kind_has_its_own_header(server, key, app_token):
    assert server.get("/profile", headers={"X-App-Token": key}).code == "token_invalid"
    assert server.get("/api/tokens/validate", headers={"X-API-Key": app_token}).code == "token_invalid"
    for words in (f"Basic {key}", key, f"Token {key}", f"Bearer {key} {key}", f"Bearer {key},{key}", f'Bearer "{key}"'):
        assert server.get("/profile", headers={"Authorization": words}).code == "token_invalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.upper(),
        lambda key: "GH_KEY_" + key[7:],
        lambda key: "Gh_key_" + key[7:],
        lambda key: "gh_app_" + key[7:],
        lambda key: key[7:],
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key + "=",
        lambda key: "gh_key_0" + key[7:],
        lambda key: key[:50] + key[50:].swapcase(),
        lambda key: key[:20] + "%" + f"{ord(key[20]):x}" + key[21:],
        lambda key: f'"{key}"',
        lambda key: key[:7] + "".join(chr(ord(one) + 0xFEE0) for one in key[7:]),
        lambda key: "gh_key_" + "é" * 49,
        lambda key: "gh_key_",
        lambda key: "",
        lambda key: "' OR 1=1 --",
        lambda key: "gh_key_" + "A" * 60_000,
        lambda key: "A" * 100_000,
    ],
)
def test_what_is_not_the_key_is_not_taken_for_it(server, key, change):
    for name, value in (("X-API-Key", change(key)), ("Authorization", f"Bearer {change(key)}")):
        answer = server.get("/profile", headers={name: value.encode()})
        assert answer.status in (400, 401, 431)
        assert answer.code in ("token_invalid", None)
    assert server.get("/profile", **by_key(key)).status == 200


def test_an_ended_key_stays_ended_however_it_is_written(server, owner):
    made = make_key(server, owner)
    server.post(f"/keys/revoke/{made['key_id']}", token=owner["access_token"])
    key = made["api_key"]
    assert everywhere(server, **by_key(key)) == {"token_revoked"}
    for value in (f"{key} ", f" {key}", f"\t{key}"):
        assert server.get("/profile", headers={"Authorization": f"Bearer {value}"}).code in ("token_revoked", "token_invalid")


def test_a_role_that_was_taken_away_is_gone_from_its_keys_at_once(server, email):
    accounts.create(email, PASSWORD, admin=True)
    tokens = server.login(email).json
    key = make_key(server, tokens, scopes=["audit:read"])["api_key"]
    assert everywhere(server, "/api/admin/audit", **by_key(key)) == {None}
    with transaction() as db:
        db.query(Assignment).where(Assignment.user_id == tokens["user"]["id"]).delete()
        cards.mark(db)
    assert everywhere(server, "/api/admin/audit", **by_key(key)) == {"forbidden"}
    assert server.post("/keys/create", {"scopes": ["audit:read"]}, token=tokens["access_token"]).code == "forbidden"


def test_a_key_can_not_make_more_of_itself(server, admin):
    narrow = make_key(server, admin, scopes=["tokens:write"])["api_key"]
    make_service("narrow")
    body = {"service_id": "narrow", "name": "x", "scopes": ["users:write"]}
    assert server.post("/api/tokens", body, **by_key(narrow)).code == "forbidden"
    made = server.post("/api/tokens", {**body, "scopes": ["tokens:write"]}, **by_key(narrow))
    assert made.status == 201
    assert server.post("/api/tokens", body, **by_app_token(made.json["token"])).code == "forbidden"
    assert server.post("/keys/create", {"scopes": []}, **by_key(narrow)).code == "forbidden"
    assert server.post("/keys/create", {"scopes": []}, **by_app_token(made.json["token"])).code == "forbidden"


def test_one_scope_does_not_open_the_rows_of_another(server, admin, owner):
    reader = make_key(server, owner, scopes=["profile:read"])["api_key"]
    assert server.put("/profile", {"bio": "stolen"}, **by_key(reader)).code == "forbidden"
    audit = make_key(server, admin, scopes=["audit:read"])["api_key"]
    assert server.get("/profile", **by_key(audit)).code == "forbidden"
    assert server.post("/api/tokens", {"service_id": "x", "name": "x"}, **by_key(audit)).code == "forbidden"


@pytest.mark.parametrize("end", ["reset", "not me", "deactivation"])
def test_who_secures_an_account_ends_its_keys_everywhere(server, email, owner, key, end):
    notice = server.mailbox.last(email)
    assert everywhere(server, **by_key(key)) == {None}
    if end == "reset":
        server.post("/forgot-password", {"email": email})
        assert server.post(server.mailbox.last(email).path, {"password": PASSWORD}).status == 200
    elif end == "not me":
        assert server.post(notice.path, headers={"Content-Type": "application/x-www-form-urlencoded"}).status == 200
    else:
        accounts.deactivate(email)
    assert everywhere(server, **by_key(key)) == {"token_revoked"}


def test_a_key_of_an_owner_who_is_out_is_refused_everywhere(server, email, owner, key):
    accounts.deactivate(email)
    with transaction() as db:
        db.execute(update(ApiKey).values(revoked_at=None))
    assert everywhere(server, **by_key(key)) == {"token_revoked"}


def test_an_application_token_ends_with_its_service_everywhere(server, admin, email, app_token):
    assert everywhere(server, "/api/tokens/validate", **by_app_token(app_token)) == {None}
    with transaction() as db:
        db.execute(update(Service).where(Service.id == f"s-{email[5:17]}").values(is_active=False))
    assert everywhere(server, "/api/tokens/validate", **by_app_token(app_token)) == {"token_revoked"}
    assert everywhere(server, "/api/admin/audit", **by_app_token(app_token)) == {"token_revoked"}


def test_twenty_keys_at_once_are_no_more_than_the_limit(server, email, owner):
    answers = at_once(20, lambda _: server.post("/keys/create", {}, token=owner["access_token"]))
    assert sorted(answer.code or "" for answer in answers) == [""] * 5 + ["too_many_keys"] * 15
    assert count(ApiKey, ApiKey.user_id == user_of(email).id) == 5


def test_a_key_that_is_ended_at_once_by_many_is_ended_once(server, email, owner):
    made = make_key(server, owner)
    answers = at_once(20, lambda _: server.post(f"/keys/revoke/{made['key_id']}", token=owner["access_token"]))
    assert {answer.status for answer in answers} == {200}
    events = server.get("/profile/activity", token=owner["access_token"]).json["events"]
    assert [event["action"] for event in events].count("key.revoked") == 1


def test_every_use_is_counted_over_all_workers(server, owner, key):
    at_once(20, lambda _: server.get("/profile", **by_key(key)))
    give_up = time.monotonic() + 20
    while True:
        with reading() as db:
            row = db.query(ApiKey).where(ApiKey.key_hash == hashed(key)).one()
        if row.use_count == 20 or time.monotonic() > give_up:
            break
        time.sleep(0.2)
    assert row.use_count == 20
    assert row.last_used_at is not None


@pytest.mark.parametrize("part", ["key_id", "api_key"])
def test_somebody_elses_key_is_not_there(server, owner, part):
    made = make_key(server, owner)
    stranger = server.member()["access_token"]
    for method, path in (("POST", "/keys/revoke"), ("POST", "/key/revoke"), ("GET", "/keys/status")):
        theirs, nobodys = (server.request(method, f"{path}/{one}", token=stranger) for one in (made[part], "0" * 32))
        assert (theirs.status, theirs.code) == (nobodys.status, nobodys.code) == (404, "not_found")
        assert set(theirs.json) == set(nobodys.json)
    assert server.get("/keys/list", token=stranger).json == {"keys": []}
    assert server.get("/profile", **by_key(made["api_key"])).status == 200


def test_a_key_is_kept_and_told_nowhere(server, email, owner, admin):
    made, service = make_key(server, owner), make_service("quiet")
    app = make_app_token(server, admin, service)
    key, token = made["api_key"], app["token"]
    for path in ("/profile", f"/profile?key={key}", f"/nothing/{key}", f"/profile/{key}"):
        server.get(path, **by_key(key))
        server.get(path, token=key)
    server.get("/api/tokens/validate", **by_app_token(token))
    server.get(f"/keys/status/{key}", token=owner["access_token"])
    server.get(f"/keys/status/{key}")
    server.post(f"/keys/create/{key}", token=owner["access_token"])
    server.post(f"/key/revoke/{key}", {"bad": key}, token=owner["access_token"])
    server.post(f"/keys/revoke/{key}", token=owner["access_token"])
    server.get("/profile", **by_key(key))
    server.post("/keys/create", {"name": key, "x": key}, token=owner["access_token"])
    server.mailbox.of(email)
    activity.flush()
    everything = text_of_everything(server, owner)
    assert made["key_id"] in everything, "the search looks where it should"
    assert [one for one in (key, token) if one in everything or json.dumps(one)[1:-1] in everything] == []
    lists = (
        server.get("/keys/list", token=owner["access_token"]).text
        + server.get("/api/tokens/service/quiet", token=admin["access_token"]).text
    )
    assert [one for one in (hashed(key), hashed(token), key[:-8], token[:-8]) if one in lists] == []


def test_a_key_ends_neither_its_owners_account_nor_their_sessions(server):
    tokens = an_admin(server)
    an_admin(server)  # So that the first is not the last one.
    key = by_key(make_key(server, tokens, scopes=sorted(OWN))["api_key"])  # A lesser one may not touch an administrator at all.
    path = f"/api/admin/users/{tokens['user']['id']}"
    assert [server.delete(one, **key).code for one in (path, f"{path}/sessions")] == ["forbidden", "forbidden"]
    assert server.get("/profile", token=tokens["access_token"]).status == 200
