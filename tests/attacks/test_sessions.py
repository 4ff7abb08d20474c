"""Threats 26 and 27: a family of refresh tokens never forks, an old one ends it, and no end is outrun by a sign-in."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from domain import accounts, cards
from domain.database import transaction
from model import Assignment, Session, User
from tests.attacks.acts import claims, live_sessions_of
from tests.serving import at_once
from tests.visitor import PASSWORD, code_of

LONGEST, GRACE = 1000, 300
SETTINGS = {
    "REFRESH_GRACE_SECONDS": GRACE,
    "SESSION_MAX_SECONDS": LONGEST,
    "MAX_SESSIONS_PER_USER": 1000,
    "FAILED_ATTEMPTS_LIMIT": 1000,
    "BCRYPT_ROUNDS": 9,  # Slow enough for something to happen while a password is hashed.
}
NEW = "an entirely new password"


def refresh(server, tokens):
    """What the server answers to this pair's refresh token."""
    return server.post("/refresh", token=tokens["refresh_token"])


def names(tokens):
    """The `jti` of both tokens of a pair."""
    return claims(tokens["access_token"])["jti"], claims(tokens["refresh_token"])["jti"]


def let_the_grace_pass():
    """As if every refresh and every step-up had been longer ago than the grace."""
    earlier = timedelta(seconds=GRACE + 1)
    with transaction() as db:
        for one in db.scalars(select(Session)):
            one.rotated_at -= earlier
            one.stepped_at = one.stepped_at and one.stepped_at - earlier


def is_alive(server, tokens):
    """Whether the access token opens anything."""
    answer = server.get("/mfa", token=tokens["access_token"])
    assert answer.status in (200, 401)
    return answer.status == 200


def is_over(server, *pairs):
    """Whether no token of these pairs is of any use."""
    answers = [server.get("/mfa", token=one["access_token"]) for one in pairs] + [refresh(server, one) for one in pairs]
    return {(one.status, one.code) for one in answers} == {(401, "token_revoked")}


def seen_by_admin(server, tokens):
    """What an operation of the role `admin` answers to the access token."""
    answer = server.get("/api/admin/audit", token=tokens["access_token"])
    return answer.status, answer.code


def test_a_burst_of_refreshes_gets_one_successor(server):
    tokens = server.member()
    answers = at_once(20, lambda _: refresh(server, tokens))
    assert {one.status for one in answers} == {200}
    assert len({names(one.json) for one in answers}) == 1
    assert names(answers[0].json) != names(tokens)
    assert {claims(one.json["refresh_token"])["sid"] for one in answers} == {tokens["session_id"]}


def test_a_family_never_forks_whoever_asks_and_with_which_token(server):
    first = server.member()
    second = refresh(server, first).json
    answers = at_once(24, lambda number: refresh(server, (first, second)[number % 2]))
    assert {one.status for one in answers} == {200}
    assert {names(one.json) for one in answers[0::2]} == {names(second)}
    third = {names(one.json) for one in answers[1::2]}
    assert len(third) == 1
    assert third != {names(second)}
    assert names(refresh(server, answers[1].json).json) not in {names(first), names(second), *third}


def test_a_lost_answer_can_be_asked_for_again_until_its_successor_is_used(server):
    first = server.member()
    second = refresh(server, first).json
    let_the_grace_pass()
    again = refresh(server, first).json
    assert names(again) == names(second)
    assert refresh(server, again).status == 200


def test_within_the_grace_the_last_but_one_gets_the_same_successor_too(server):
    first = server.member()
    second = refresh(server, first).json
    third = refresh(server, second).json
    assert names(refresh(server, first).json) == names(second)
    assert names(refresh(server, second).json) == names(third)
    assert is_alive(server, third)


def test_after_the_grace_an_old_token_ends_the_family_and_its_newest_child(server):
    first = server.member()
    second = refresh(server, first).json
    third = refresh(server, second).json
    let_the_grace_pass()
    refused = refresh(server, first)
    assert (refused.status, refused.code) == (401, "token_revoked")
    assert is_over(server, first, second, third)


def test_a_token_older_than_the_last_but_one_ends_the_family_at_once(server):
    pairs = [server.member()]
    for _ in range(3):
        pairs.append(refresh(server, pairs[-1]).json)
    assert refresh(server, pairs[0]).code == "token_revoked"
    assert is_over(server, *pairs)


def test_a_thief_and_an_owner_who_refresh_at_once_both_lose(server):
    old = server.member()
    newest = old
    for _ in range(3):
        newest = refresh(server, newest).json
    answers = at_once(20, lambda number: refresh(server, (old, newest)[number % 2]))
    assert {one.code for one in answers[0::2]} == {"token_revoked"}
    assert is_over(server, old, newest, *(one.json for one in answers[1::2] if one.status == 200))


def test_a_logout_outruns_every_refresh(server):
    tokens = server.member()
    with ThreadPoolExecutor(13) as pool:
        refreshing = [pool.submit(refresh, server, tokens) for _ in range(12)]
        assert server.post("/logout", token=tokens["access_token"]).status == 200
        answers = [one.result() for one in refreshing]
    assert {one.status for one in answers} <= {200, 401}
    assert is_over(server, tokens, *(one.json for one in answers if one.status == 200))


def test_a_step_up_replaces_the_pair_without_ending_the_session(server):
    old = server.member()
    new = server.post("/reauthenticate", {"password": PASSWORD}, token=old["access_token"]).json
    assert new["session_id"] == old["session_id"]
    assert server.get("/mfa", token=old["access_token"]).code == "token_revoked"
    assert names(refresh(server, old).json) == names(new)
    let_the_grace_pass()
    assert refresh(server, old).code == "token_revoked"
    assert is_alive(server, new)
    assert refresh(server, new).status == 200


def test_a_burst_of_step_ups_leaves_one_pair(server):
    tokens = server.member()
    answers = at_once(12, lambda _: server.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]))
    assert {one.status for one in answers} <= {200, 401}
    pairs = [one.json for one in answers if one.status == 200]
    assert len({names(one) for one in pairs}) == len(pairs) >= 1
    assert [is_alive(server, one) for one in pairs].count(True) == 1


def test_no_token_outlives_its_session_and_none_renews_its_sign_in(server):
    tokens = server.member()
    said = [claims(tokens["access_token"])]
    time.sleep(1)
    for _ in range(2):
        tokens = refresh(server, tokens).json
        said += [claims(tokens["access_token"]), claims(tokens["refresh_token"])]
    assert {one["exp"] for one in said} == {said[0]["auth_time"] + LONGEST}
    assert {one.get("auth_time", said[0]["auth_time"]) for one in said} == {said[0]["auth_time"]}


def test_a_deactivated_account_gets_nothing_more_from_its_tokens(server, email):
    tokens = server.member(email)
    assert is_alive(server, tokens)
    accounts.deactivate(email)
    assert is_over(server, tokens)
    accounts.activate(email)
    assert is_over(server, tokens)
    assert server.login(email).status == 200


def test_a_deleted_account_gets_nothing_more_from_its_tokens(server, email):
    tokens = server.member(email)
    with transaction() as db:
        db.execute(delete(User).where(User.email == email))
    refused = refresh(server, tokens)
    assert (refused.status, refused.code) == (401, "token_revoked")


def test_a_role_that_is_taken_away_comes_back_by_no_refresh(server, email):
    admin = accounts.create(email, PASSWORD, admin=True)
    pairs = [server.login(email).json]
    assert {seen_by_admin(server, pairs[0]) for _ in range(9)} == {(200, None)}
    with transaction() as db:
        db.execute(delete(Assignment).where(Assignment.user_id == admin.id))
        cards.mark(db)
    pairs.append(refresh(server, pairs[0]).json)
    assert {one for pair in pairs for one in at_once(9, lambda _, pair=pair: seen_by_admin(server, pair))} == {(403, "forbidden")}


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.06, 0.1])
def test_a_deactivation_is_outrun_by_no_sign_in(server, email, moment):
    server.join(email)
    with ThreadPoolExecutor(16) as pool:
        signing_in = [pool.submit(server.login, email) for _ in range(16)]
        time.sleep(moment)
        accounts.deactivate(email)
        answers = [one.result() for one in signing_in]
    assert {one.code for one in answers} <= {None, "account_disabled"}
    assert [one for one in answers if one.status == 200 and not is_over(server, one.json)] == []
    assert live_sessions_of(email) == 0


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.06, 0.1])
def test_a_reset_is_outrun_by_no_sign_in_with_the_old_password(server, email, moment):
    server.join(email)
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    with ThreadPoolExecutor(16) as pool:
        signing_in = [pool.submit(server.login, email) for _ in range(16)]
        time.sleep(moment)
        assert server.post(link, {"password": NEW}).status == 200
        answers = [one.result() for one in signing_in]
    assert {one.code for one in answers} <= {None, "invalid_credentials"}
    assert [one for one in answers if one.status == 200 and not is_over(server, one.json)] == []
    assert live_sessions_of(email) == 0


def test_a_reset_is_outrun_by_no_second_factor(server, email):
    app, recovery_codes = server.turn_on_totp(server.member(email)["access_token"])
    tickets = [server.login(email).json["mfa_token"] for _ in range(8)]
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    codes = [{"method": "totp", "code": code_of(app)}] + [{"method": "recovery_code", "code": code} for code in recovery_codes]
    with ThreadPoolExecutor(8) as pool:
        finishing = [
            pool.submit(server.post, "/verify-otp", {"mfa_token": ticket, **code}) for ticket, code in zip(tickets, codes, strict=False)
        ]
        assert server.post(link, {"password": NEW}).status == 200
        answers = [one.result() for one in finishing]
    assert {one.code for one in answers} <= {None, "mfa_ticket_expired"}
    assert [one for one in answers if one.status == 200 and not is_over(server, one.json)] == []
    assert live_sessions_of(email) == 0


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_reset_is_outrun_by_no_change_of_the_password(server, email, first):
    """A reset hashes once and a change twice: those that were let in before the reset want to write after it."""
    tokens = server.member(email)
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    change = {"current_password": PASSWORD, "new_password": "what the thief would like"}
    acts = [lambda: server.post("/change-password", change, token=tokens["access_token"])] * 6
    acts.insert(first, lambda: server.post(link, {"password": NEW}))
    answers = at_once(len(acts), lambda number: acts[number]())
    reset = answers.pop(first)
    assert {one.code for one in answers} <= {None, "token_revoked", "invalid_credentials"}
    assert reset.status == 200 or reset.code == "link_invalid"  # A change that was first has ended the link.
    assert server.login(email, NEW if reset.status == 200 else change["new_password"]).status == 200
    assert is_over(server, tokens) == (reset.status == 200)
