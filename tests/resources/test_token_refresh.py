"""Refresh: one use, the same successor for a lost answer, and the end of the session for an old token."""

import jwt
import pytest
from sqlalchemy import update

from domain import database
from model import User


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_lost_answer_can_be_asked_for_again(house):
    tokens = house.member()
    first, second = (house.post("/refresh", token=tokens["refresh_token"]).json for _ in range(2))
    for kind in ("access_token", "refresh_token"):
        assert claims(first[kind])["jti"] == claims(second[kind])["jti"] != claims(tokens[kind])["jti"]


@pytest.mark.settings(REFRESH_GRACE_SECONDS=0)
def test_an_unused_successor_is_given_again_however_late(house, moved_clock):
    tokens = house.member()
    first = house.post("/refresh", token=tokens["refresh_token"]).json
    moved_clock(600)
    again = house.post("/refresh", token=tokens["refresh_token"]).json
    assert claims(first["refresh_token"])["jti"] == claims(again["refresh_token"])["jti"]
    assert house.get("/mfa", token=again["access_token"]).status == 200


def test_within_the_grace_a_used_successor_is_given_again(house):
    first = house.member()
    second = house.post("/refresh", token=first["refresh_token"]).json
    third = house.post("/refresh", token=second["refresh_token"]).json
    again = house.post("/refresh", token=first["refresh_token"]).json
    assert claims(again["refresh_token"])["jti"] == claims(second["refresh_token"])["jti"]
    assert house.post("/refresh", token=third["refresh_token"]).status == 200


def test_after_the_grace_an_old_token_ends_the_session(house, moved_clock):
    first = house.member()
    second = house.post("/refresh", token=first["refresh_token"]).json
    third = house.post("/refresh", token=second["refresh_token"]).json
    moved_clock(11)
    assert house.post("/refresh", token=first["refresh_token"]).code == "token_revoked"
    assert house.post("/refresh", token=third["refresh_token"]).code == "token_revoked"
    assert house.get("/mfa", token=third["access_token"]).code == "token_revoked"


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(house):
    tokens = house.member()
    assert house.post("/refresh", token=tokens["access_token"]).code == "token_invalid"
    assert house.get("/mfa", token=tokens["refresh_token"]).code == "token_invalid"
    assert house.post("/refresh").code == "token_missing"


@pytest.mark.settings(SESSION_MAX_SECONDS=3600)
def test_no_token_outlives_its_session(house, moved_clock):
    tokens = house.member()
    start = claims(tokens["access_token"])["iat"]
    moved_clock(1000)
    tokens = house.post("/refresh", token=tokens["refresh_token"]).json
    assert claims(tokens["refresh_token"])["exp"] <= start + 3600


def test_refresh_looks_at_the_account_again(house):
    tokens = house.member()
    with database.transaction() as db:
        db.execute(update(User).values(status="inactive"))
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"


def test_an_idle_session_is_over_at_use(house, moved_clock):
    tokens = house.member()
    moved_clock(1199)
    assert house.get("/mfa", token=tokens["access_token"]).status == 200
    moved_clock(1199 + 1202)
    answer = house.post("/refresh", token=tokens["refresh_token"])
    assert answer.code == "session_expired"
