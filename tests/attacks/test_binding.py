"""Threat 24, for whole tokens in wrong hands: with TOKEN_BINDING what was stolen opens nothing, and hurts nobody but the thief."""

import re

import jwt
import pytest
from sqlalchemy import select

import config
from domain.database import reading
from model import AuditEvent
from resources import credentials, forwarded
from resources.routes import ROUTES
from tests.attacks.acts import claims, live_sessions_of
from tests.serving import at_once
from tests.visitor import PASSWORD

SETTINGS = {"TOKEN_BINDING": "user_agent_and_ip", "TRUSTED_PROXIES": 1, "REFRESH_GRACE_SECONDS": 0}
OWNER = {"User-Agent": "Owner/1.0", "X-Forwarded-For": "203.0.113.7"}
THIEVES = {
    "another program": OWNER | {"User-Agent": "Thief/1.0"},
    "no program": OWNER | {"User-Agent": ""},
    "another address": OWNER | {"X-Forwarded-For": "198.51.100.9"},
    "an address that says it is another": OWNER | {"X-Forwarded-For": "203.0.113.7, 198.51.100.9"},
}


@pytest.fixture
def tokens(server, email):
    """The tokens of a new user, given to the owner's client."""
    server.join(email)
    return server.login(email, headers=OWNER).json


def signed_in(server, tokens, headers):
    answer = server.get("/mfa", token=tokens["access_token"], headers=headers)
    return answer.status, answer.code


def refreshed(server, tokens, headers):
    return server.post("/refresh", token=tokens["refresh_token"], headers=headers)


def mismatches(tokens):
    """What the trail tells of tokens of this session in wrong hands."""
    which = (AuditEvent.action == "session.mismatch", AuditEvent.session_id == tokens["session_id"])
    with reading() as db:
        return db.scalars(select(AuditEvent).where(*which)).all()


def told(tokens, kind="access_token"):
    """What a token says about its client."""
    return claims(tokens[kind])["bound"]


def forged(tokens, kind="access_token", **more):
    """The same token, under the right key, with other claims; None takes one away."""
    said = {name: value for name, value in (claims(tokens[kind]) | more).items() if value is not None}
    header = jwt.get_unverified_header(tokens[kind])
    return jwt.encode(said, config.keys(config.settings.JWT_SECRET_KEY)[0], "HS256", {"kid": header["kid"]})


@pytest.mark.parametrize("thief", THIEVES)
def test_a_stolen_token_opens_nothing_and_its_owner_goes_on(server, email, tokens, thief):
    assert signed_in(server, tokens, OWNER) == (200, None)
    assert signed_in(server, tokens, THIEVES[thief]) == (401, "token_revoked")
    assert refreshed(server, tokens, THIEVES[thief]).code == "token_revoked"
    assert server.get("/auth/status", token=tokens["access_token"], headers=THIEVES[thief]).json == {"authenticated": False}
    assert signed_in(server, tokens, OWNER) == (200, None)
    assert server.get("/auth/status", token=tokens["access_token"], headers=OWNER).json["authenticated"]
    again = refreshed(server, tokens, OWNER).json
    assert (told(again), told(again, "refresh_token")) == (told(tokens), told(tokens, "refresh_token"))
    assert signed_in(server, again, OWNER) == (200, None)
    assert signed_in(server, again, THIEVES[thief]) == (401, "token_revoked")
    assert live_sessions_of(email) == 1


@pytest.mark.parametrize("thief", THIEVES)
def test_stolen_cookies_are_bound_as_well(server, email, thief):
    server.join(email)
    browser = server.login(email, headers=OWNER, cookies=True)
    for headers, status in ((THIEVES[thief], 401), (OWNER, 200)):
        assert server.get("/mfa", cookies=browser.cookies, headers=headers).status == status
        csrf = {"X-CSRF-TOKEN": browser.json["csrf_refresh_token"]}
        assert server.post("/refresh", cookies=browser.cookies, headers=headers | csrf).status == status


def test_no_row_that_asks_for_a_token_takes_a_stolen_one(server, tokens):
    kinds = {credentials.whoever: "access_token", forwarded.caller: "access_token", credentials.refreshing: "refresh_token"}
    asked = [route for route in ROUTES if route.access.look in kinds]
    assert len(asked) > 20
    for route in asked:
        token = tokens[kinds[route.access.look]]
        answer = server.request(route.method, re.sub(r"<[^>]+>", "x", route.urls[0]), token=token, headers=THIEVES["another program"])
        assert (answer.status, answer.code) == (401, "token_revoked"), route
    assert signed_in(server, tokens, OWNER) == (200, None)


def test_an_old_refresh_token_in_wrong_hands_does_not_end_the_session(server, tokens):
    newest = tokens
    for _ in range(3):
        newest = refreshed(server, newest, OWNER).json
    assert refreshed(server, tokens, THIEVES["another program"]).code == "token_revoked"
    assert signed_in(server, newest, OWNER) == (200, None)
    assert refreshed(server, tokens, OWNER).code == "token_revoked"  # In the owner's it does, as ever.
    assert signed_in(server, newest, OWNER) == (401, "token_revoked")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("thief", THIEVES)
def test_signing_out_is_allowed_to_whoever_holds_a_token(server, tokens, kind, thief):
    assert server.post("/logout", token=tokens[kind], headers=THIEVES[thief]).json == {"status": "signed_out"}
    assert signed_in(server, tokens, OWNER) == (401, "token_revoked")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_token_that_does_not_say_whose_it_is_is_refused(server, email, tokens, kind):
    another = server.login(email, headers=OWNER).json
    assert told(another) != told(tokens)
    path, method = ("/mfa", "GET") if kind == "access_token" else ("/refresh", "POST")
    for said in (None, "", told(tokens)[:-1], told(tokens).upper() + "x", told(another), True, 0, [told(tokens)], {}, "é"):
        answer = server.request(method, path, token=forged(tokens, kind, bound=said), headers=OWNER)
        assert (answer.status, answer.code) == (401, "token_revoked"), said
    assert server.request(method, path, token=forged(tokens, kind), headers=OWNER).status == 200


def test_a_step_up_gives_tokens_that_are_bound_too(server, tokens):
    new = server.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"], headers=OWNER).json
    assert told(new) == told(tokens)
    assert signed_in(server, new, OWNER) == (200, None)
    assert signed_in(server, new, THIEVES["another program"]) == (401, "token_revoked")


def test_one_household_of_ipv6_is_one_address(server, email):
    server.join(email)
    tokens = server.login(email, headers=OWNER | {"X-Forwarded-For": "2001:db8:1:2::7"}).json
    assert signed_in(server, tokens, OWNER | {"X-Forwarded-For": "2001:db8:1:2:ffff::1"}) == (200, None)
    assert signed_in(server, tokens, OWNER | {"X-Forwarded-For": "2001:db8:1:3::7"}) == (401, "token_revoked")


def test_a_mismatch_is_told_by_the_trail_and_floods_it_not(server, tokens):
    thief = THIEVES["another program"] | {"X-Forwarded-For": "198.51.100.9"}
    for _ in range(2):
        answers = at_once(30, lambda _: signed_in(server, tokens, thief))
        assert set(answers) == {(401, "token_revoked")}
    events = mismatches(tokens)
    assert 1 <= len(events) <= 2  # A minute may have ended meanwhile.
    assert {(one.user_id, one.actor, one.result) for one in events} == {(tokens["user"]["id"], None, "token_revoked")}
    assert {(one.ip, one.user_agent) for one in events} == {("198.51.100.9", "Thief/1.0")}
    assert signed_in(server, tokens, OWNER) == (200, None)


def test_the_claim_gives_nothing_away_and_no_other_server_could_make_it(server, email, tokens):
    again = server.login(email, headers=OWNER).json
    assert len({told(tokens), told(again)}) == 2  # Of one client, and yet not the same.
    assert re.fullmatch(r"[0-9a-f]{22}", told(tokens))
    assert told(tokens) == told(tokens, "refresh_token")
