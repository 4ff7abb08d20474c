"""Threats 10, 11 and 13 by the clock: how long who guesses has to wait, and what ends the wait.

In one process, whose clock the tests move; `test_throttling` has the same budgets against the real server.
"""

import pytest

from domain import accounts, expired
from tests.attacks.acts import OTHER, account, ticket
from tests.visitor import PASSWORD

LIMIT, WINDOW, IN_A_ROW, DAY = 5, 900, 100, 86400


@pytest.fixture
def wait(still_clock, moved_clock):
    """Let so many seconds pass, after all that have passed in this test; none passes by itself."""
    still_clock()
    passed = 0

    def more(seconds):
        nonlocal passed
        passed += seconds
        moved_clock(passed)

    return more


@pytest.mark.parametrize("known", [True, False], ids=["an account", "a name that nobody has"])
def test_each_further_round_of_failures_waits_twice_as_long_and_at_most_an_hour(house, email, wait, known):
    if known:
        account(email)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        pause = _shut_out(house, email)
        assert minutes * 60 - 3 <= pause <= minutes * 60
        wait(pause - 3)
        assert house.login(email, OTHER).code == "too_many_attempts"
        wait(4)


def test_failures_that_lie_further_apart_than_the_window_are_not_added_up(house, email, wait):
    account(email)
    for _ in range(3):
        assert [house.login(email, OTHER).code for _ in range(LIMIT - 1)] == ["invalid_credentials"] * (LIMIT - 1)
        wait(WINDOW + 1)
    for _ in range(LIMIT):
        wait(WINDOW // LIMIT - 5)
        assert house.login(email, OTHER).code == "invalid_credentials"
    assert house.login(email, OTHER).code == "too_many_attempts"


def test_after_a_success_the_count_the_pause_and_the_row_start_anew(house, email, wait):
    account(email)
    for _ in range(3):
        wait(_shut_out(house, email) + 1)
    assert house.login(email).status == 200
    assert [house.login(email, OTHER).code for _ in range(LIMIT - 1)] == ["invalid_credentials"] * (LIMIT - 1)
    assert house.login(email).status == 200
    assert _shut_out(house, email) <= 60


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=3)
def test_the_limit_is_a_setting(house, email):
    account(email)
    assert [house.login(email, OTHER).code for _ in range(4)] == ["invalid_credentials"] * 3 + ["too_many_attempts"]


def test_a_hundred_in_a_row_keep_strangers_out_for_good(house, email, wait):
    account(email)
    _reach_the_hard_stop(house, email, wait)
    for seconds in (3600, DAY, 365 * DAY):
        wait(seconds)
        expired.purge()
        answer = house.login(email)
        assert (answer.code, answer.headers["Retry-After"]) == ("too_many_attempts", str(DAY))


def test_a_name_that_nobody_has_meets_the_same_end(house, email, wait):
    _reach_the_hard_stop(house, email, wait)
    wait(365 * DAY)
    expired.purge()
    answer = house.login(email)
    assert (answer.code, answer.headers["Retry-After"]) == ("too_many_attempts", str(DAY))


@pytest.mark.parametrize("by", ["reset", "operator"])
def test_a_reset_or_the_operator_lets_strangers_in_again(house, email, wait, by):
    account(email)
    _reach_the_hard_stop(house, email, wait)
    if by == "operator":
        accounts.unlock(email)
    else:
        house.post("/forgot-password", {"email": email})
        assert house.post(house.mailbox.last(email).path, {"password": PASSWORD}).status == 200
    assert house.login(email).status == 200
    assert _shut_out(house, email) <= 60


def test_the_owners_success_on_a_device_or_in_a_session_clears_nothing_of_the_strangers(house, email):
    account(email)
    tokens = house.login(email).json
    _guess(house, email, LIMIT - 1)
    assert house.login(email, headers={"X-Device-Token": tokens["device_token"]}).status == 200
    assert house.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]).status == 200
    _guess(house, email, 1)
    assert house.login(email).code == "too_many_attempts"


def test_a_success_without_a_device_clears_nothing_of_a_devices(house, email):
    account(email)
    known = {"X-Device-Token": house.login(email).json["device_token"]}
    _guess(house, email, LIMIT - 1, headers=known)
    assert house.login(email).status == 200
    _guess(house, email, 1, headers=known)
    assert house.login(email, headers=known).code == "too_many_attempts"


def test_a_step_up_clears_its_own_sessions_count(house, email):
    account(email)
    token = house.login(email).json["access_token"]
    for _ in range(3):
        for _ in range(LIMIT - 1):
            assert house.post("/reauthenticate", {"password": OTHER}, token=token).code == "invalid_credentials"
        token = house.post("/reauthenticate", {"password": PASSWORD}, token=token).json["access_token"]


def test_a_right_password_clears_no_count_of_codes(house, email):
    house.turn_on_totp(house.member(email)["access_token"])
    for _ in range(LIMIT):
        proof = {"mfa_token": ticket(house, email), "method": "totp", "code": "000000"}
        assert house.post("/verify-otp", proof).code == "mfa_invalid_code"
    proof = {"mfa_token": ticket(house, email), "method": "totp", "code": "000000"}
    assert house.post("/verify-otp", proof).code == "too_many_attempts"


def _guess(house, email, times, **more):
    for _ in range(times):
        assert house.login(email, OTHER, **more).code == "invalid_credentials"


def _shut_out(house, email):
    """Guess until the pause begins; its seconds."""
    _guess(house, email, LIMIT)
    answer = house.login(email, PASSWORD)
    assert answer.code == "too_many_attempts"
    return int(answer.headers["Retry-After"])


def _reach_the_hard_stop(house, email, wait):
    for _ in range(IN_A_ROW // LIMIT):
        wait(_shut_out(house, email) + 1)
