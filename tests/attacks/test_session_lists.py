"""Threats 30 and 35: lists of sessions and devices open nothing and show nobody else's, and ends and slots hold in a burst."""

import hashlib
import secrets

import pytest
from sqlalchemy import select

from domain.database import reading
from model import AuditEvent, Session
from tests.attacks.acts import count, live_sessions_of, statuses, ticket, trusted, user_of
from tests.serving import at_once

MOST = 5
SETTINGS = {"MAX_SESSIONS_PER_USER": MOST, "FAILED_ATTEMPTS_LIMIT": 1000}
LISTS = ("/api/auth/sessions", "/api/auth/sessions/stats", "/profile/devices")


def alive(server, *pairs):
    """The sessions of those pairs whose access token opens anything; the others are revoked, and so is their refresh token."""
    found = set()
    for tokens in pairs:
        answer = server.get("/mfa", token=tokens["access_token"])
        if answer.status == 200:
            found.add(tokens["session_id"])
        else:
            assert answer.code == server.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    return found


def devices(server, tokens):
    return server.get("/profile/devices", token=tokens["access_token"]).json["devices"]


def texts(value):
    """Every text that stands in a piece of JSON, keys too."""
    if isinstance(value, dict):
        return {one for key, inner in value.items() for one in {key} | texts(inner)}
    if isinstance(value, list):
        return {one for inner in value for one in texts(inner)}
    return {value} if isinstance(value, str) else set()


def test_what_the_lists_show_opens_nothing(server, email):
    tokens = trusted(server, email)
    another = server.login(email, headers={"X-Device-Token": tokens["device_token"]}).json
    shown = set().union(*(texts(server.get(path, token=tokens["access_token"]).json) for path in LISTS))
    assert {tokens["session_id"], another["session_id"], devices(server, tokens)[0]["id"]} <= shown
    for one in shown:
        if one.isprintable() and " " not in one:
            assert server.get("/mfa", token=one).code == "token_invalid"
            assert server.post("/refresh", token=one).code == "token_invalid"
            assert server.login(email, headers={"X-Device-Token": one}).json["status"] == "mfa_required"
            assert server.post("/verify-otp", {"mfa_token": one, "method": "totp", "code": "123456"}).code == "mfa_ticket_expired"


def test_what_the_lists_show_holds_no_secret_and_no_hash_of_one(server, email):
    tokens = trusted(server, email)
    told = "".join(server.get(path, token=tokens["access_token"]).text for path in LISTS)
    parts = {part for kind in ("access_token", "refresh_token") for part in tokens[kind].split(".")}
    with reading() as db:
        row = user_of(email)
        device = hashlib.sha256(tokens["device_token"].encode()).hexdigest()
        hashes = {device, row.password_hash, *db.scalars(select(AuditEvent.personal_hash).where(AuditEvent.user_id == row.id))}
    assert [one for one in {*parts, *hashes, tokens["device_token"]} if one in told] == []


@pytest.mark.parametrize("where", ["/api/auth/sessions", "/profile/devices"])
def test_another_users_id_is_as_unknown_as_any(server, email, where):
    owner, thief = server.member(email), server.member()
    theirs = {"/api/auth/sessions": owner["session_id"], "/profile/devices": devices(server, owner)[0]["id"]}[where]
    for part in (theirs, theirs.upper(), f"{theirs}%20", secrets.token_hex(16)):
        answer = server.delete(f"{where}/{part}", token=thief["access_token"])
        assert (answer.status, answer.code) == (404, "not_found")
    assert alive(server, owner, thief) == {owner["session_id"], thief["session_id"]}
    assert [one["current"] for one in devices(server, owner)] == [True]
    assert theirs not in server.get(where, token=thief["access_token"]).text


def test_a_session_is_for_its_lists_only_and_no_token_of_another_kind_opens_them(server, email):
    tokens = trusted(server, email)
    for path in LISTS:
        for credential in (tokens["refresh_token"], tokens["device_token"], tokens["session_id"], ticket(server, email)):
            assert server.get(path, token=credential).code == "token_invalid"
        assert server.get(f"{path}?access_token={tokens['access_token']}&jwt={tokens['access_token']}").code == "token_missing"


def test_every_sign_in_is_a_session_of_its_own(server, email):
    first = server.member(email)
    brought = {"Authorization": f"Bearer {first['access_token']}", "X-Device-Token": first["device_token"]}
    answers = [server.login(email, headers=brought).json, server.login(email, headers=brought, cookies=True).json]
    answers.append(
        server.login(email, headers={"Cookie": f"access_token_cookie={first['access_token']}; session={first['session_id']}"}).json
    )
    assert len({one["session_id"] for one in (first, *answers)}) == 4
    assert live_sessions_of(email) == 4


def test_a_burst_of_sign_ins_leaves_exactly_the_newest_of_the_limit(server, email):
    server.join(email)
    answers = at_once(40, lambda _: server.login(email))
    assert statuses(answers) == {200: 40}
    with reading() as db:
        rows = db.scalars(select(Session).where(Session.user_id == user_of(email).id).order_by(Session.created_at.desc())).all()
    newest = {one.id for one in rows[:MOST]}
    assert len(rows) == 40
    assert {one.id for one in rows if one.ended_at is None} == newest
    assert alive(server, *(one.json for one in answers)) == newest
    survivor = next(one.json for one in answers if one.json["session_id"] in newest)
    assert {one["id"] for one in server.get(LISTS[0], token=survivor["access_token"]).json["sessions"]} == newest


def test_a_burst_of_sign_ins_by_known_devices_ends_all_that_ran_before(server, email):
    """Each known device has a failure budget of its own, so that these sign-ins have no row in common but the user's."""
    server.join(email)
    before = [server.login(email).json for _ in range(20)]
    assert len(alive(server, *before)) == MOST
    answers = at_once(40, lambda number: server.login(email, headers={"X-Device-Token": before[number % 20]["device_token"]}))
    assert statuses(answers) == {200: 40}
    assert alive(server, *before) == set()
    assert len(alive(server, *(one.json for one in answers))) == live_sessions_of(email) == MOST


def test_of_many_who_end_one_session_at_once_one_did_it(server, email):
    other, mine = server.member(email), server.login(email).json
    answers = at_once(20, lambda _: server.delete(f"/api/auth/sessions/{other['session_id']}", token=mine["access_token"]))
    assert statuses(answers) == {204: 1, 404: 19}
    assert count(AuditEvent, AuditEvent.user_id == mine["user"]["id"], AuditEvent.action == "session.ended") == 1
    assert alive(server, other, mine) == {mine["session_id"]}


def test_of_sessions_that_end_all_others_at_once_one_is_left(server, email):
    pairs = [server.member(email), *(server.login(email).json for _ in range(MOST - 1))]
    answers = at_once(20, lambda number: server.delete("/api/auth/sessions", token=pairs[number % MOST]["access_token"]))
    assert {one.status for one in answers} == {200, 401}
    assert sum(one.json["revoked"] for one in answers if one.status == 200) == MOST - 1
    assert len(alive(server, *pairs)) == live_sessions_of(email) == 1
