"""Guessing keys: an address gets so many wrong ones, exact over all workers, and no right key suffers from it."""

import pytest

from domain import opaque_tokens
from tests.credentials import make_key
from tests.serving import at_once

SETTINGS = {"TRUSTED_PROXIES": 1, "RATE_LIMIT_ENABLED": False, "RATE_LIMIT_WINDOW": 3600}


@pytest.fixture
def owner(server):
    return server.member()


def guess(server, address, key=None, header="X-API-Key"):
    value = key or opaque_tokens.make(opaque_tokens.KEY)
    value = f"Bearer {value}" if header == "Authorization" else value
    return server.get("/profile", headers={header: value, "X-Forwarded-For": address})


@pytest.mark.parametrize(("header", "address"), [("X-API-Key", "203.0.113.1"), ("Authorization", "203.0.113.2")])
def test_an_address_is_stopped_after_the_limit_and_a_right_key_passes(server, owner, header, address):
    codes = [guess(server, address, header=header).code for _ in range(8)]
    assert codes == ["token_invalid"] * 5 + ["too_many_attempts"] * 3
    stopped = guess(server, address)
    assert (stopped.status, stopped.code) == (429, "too_many_attempts")
    assert 1 <= int(stopped.headers["Retry-After"]) <= 3600
    assert guess(server, address, make_key(server, owner)["api_key"]).status == 200
    assert guess(server, "203.0.113.99").code == "token_invalid"


def test_thirty_guesses_at_once_are_no_more_than_the_limit(server):
    answers = at_once(30, lambda _: guess(server, "203.0.113.3"))
    assert sorted(answer.code for answer in answers) == ["token_invalid"] * 5 + ["too_many_attempts"] * 25


def test_a_network_is_one_address(server):
    codes = [guess(server, f"2001:db8:0:1::{number:x}").code for number in range(1, 7)]
    assert codes == ["token_invalid"] * 5 + ["too_many_attempts"]


def test_only_keys_that_could_be_right_and_are_nobodys_are_counted(server, owner):
    ended = make_key(server, owner)
    server.post(f"/keys/revoke/{ended['key_id']}", token=owner["access_token"])
    for wrong in ("x", "gh_key_x", ended["api_key"][:-1] + "_", opaque_tokens.make(opaque_tokens.APP)):
        assert {guess(server, "203.0.113.4", wrong).code for _ in range(7)} == {"token_invalid"}
    assert {guess(server, "203.0.113.4", ended["api_key"]).code for _ in range(7)} == {"token_revoked"}
    assert guess(server, "203.0.113.4").code == "token_invalid"
