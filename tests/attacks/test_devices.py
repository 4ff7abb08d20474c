"""Threat 14, for a lost device: once it is removed, it stands for nothing, and nothing that it opened goes on."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.acts import trusted
from tests.serving import at_once

SETTINGS = {
    "MAX_SESSIONS_PER_USER": 1000,
    "FAILED_ATTEMPTS_LIMIT": 1000,
    "BCRYPT_ROUNDS": 9,  # Slow enough for something to happen while a password is hashed.
}


def known(server, tokens):
    """The id of the device that these tokens were given to."""
    (device,) = [one["id"] for one in server.get("/profile/devices", token=tokens["access_token"]).json["devices"] if one["current"]]
    return device


def remove(server, tokens, device):
    return server.delete(f"/profile/devices/{device}", token=tokens["access_token"])


def is_over(server, tokens):
    answer = server.get("/mfa", token=tokens["access_token"])
    assert answer.code in (None, "token_revoked")
    return answer.status == 401


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2])
def test_a_removed_device_is_outrun_by_no_sign_in_that_it_stood_for(server, email, moment):
    tokens = trusted(server, email)
    headers, device = {"X-Device-Token": tokens["device_token"]}, known(server, tokens)
    with ThreadPoolExecutor(20) as pool:
        signing_in = [pool.submit(server.login, email, headers=headers) for _ in range(20)]
        time.sleep(moment)
        assert remove(server, tokens, device).status == 204
        answers = [one.result() for one in signing_in]
    assert {one.json["status"] for one in answers} <= {"signed_in", "mfa_required"}
    assert [one for one in answers if one.json["status"] == "signed_in" and not is_over(server, one.json)] == []
    assert server.login(email, headers=headers).json["status"] == "mfa_required"


def test_of_many_who_remove_a_device_at_once_one_did_it(server, email):
    lost, mine = trusted(server, email), server.member()
    device = known(server, lost)
    assert {one.code for one in at_once(20, lambda _: remove(server, mine, device))} == {"not_found"}
    assert sorted(one.status for one in at_once(20, lambda _: remove(server, lost, device))) == [204] + [404] * 19
