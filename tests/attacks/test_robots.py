"""Robots against the real server: who guesses is asked for a CAPTCHA, its answer counts once, and nothing else counts as one."""

import base64
import json
import secrets
from collections import Counter
from contextlib import contextmanager
from itertools import count

import altcha
import pytest
import requests
from requests.adapters import HTTPAdapter

from domain import clock, puzzles
from tests.attacks.strangers import FLOWS, everybody, told
from tests.captchas import ASKED, person, solve, solved
from tests.serving import PATIENCE, at_once
from tests.visitor import Answer, Visitor

SETTINGS = {"CAPTCHA": "after_failures", "CAPTCHA_DIFFICULTY": 1, "LOCKOUT_WINDOW_SECONDS": 3600, "MAX_SESSIONS_PER_USER": 1000}
LIMIT = 5
HOSTS = count(1)


class From(HTTPAdapter):
    """Connections from an address of one's own: on loopback there are sixteen million."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *given, **more):
        super().init_poolmanager(*given, source_address=(self.address, 0), **more)


def visitor_at(server, address):
    def send(method, path, *, headers, **more):
        with requests.Session() as session:
            session.mount("http://", From(address))
            got = session.request(method, server.base + path, headers=headers, allow_redirects=False, timeout=PATIENCE, **more)
            return Answer(got.status_code, got.headers, got.content, {one.name: one.value or "" for one in got.cookies})

    return Visitor(send, server.mailbox)


@pytest.fixture
def robot(server):
    """Somebody at an address that nobody has come from yet."""
    return visitor_at(server, f"127.0.7.{next(HOSTS)}")


@pytest.fixture
def asked(robot):
    """The same after so many failures that they are asked."""
    for _ in range(LIMIT):
        assert guess(robot).code == "invalid_credentials"
    assert guess(robot).code == "captcha_required"
    return robot


def guess(visitor, **more):
    return visitor.login(f"{secrets.token_hex(6)}@example.com", "a wrong password", **more)


def test_of_many_guesses_at_once_no_more_are_judged_unasked_than_the_limit(robot):
    codes = Counter(answer.code for answer in at_once(30, lambda _: guess(robot)))
    assert codes == {"invalid_credentials": LIMIT, "captcha_required": 30 - LIMIT}


def test_one_solution_used_many_times_at_once_is_one_pass(asked):
    answer = solved(asked)
    codes = Counter(one.code for one in at_once(20, lambda _: guess(asked, captcha=answer)))
    assert codes == {"invalid_credentials": 1, "captcha_failed": 19}


def test_who_fails_has_nobody_else_asked_whatever_they_say_of_their_address(server, asked):
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X_Forwarded_For", "CF-Connecting-IP"):
        for value in ("198.51.100.7", "for=198.51.100.7", "::1", ""):
            assert guess(asked, headers={name: value}).code == "captcha_required"
    neighbour = visitor_at(server, f"127.0.7.{next(HOSTS)}")
    assert guess(neighbour).code == "invalid_credentials"
    assert server.post("/forgot-password", {"email": "eve@example.com"}).status == 202


def signed_by(secret, **more):
    given = {"key_prefix": "00", "expires_at": clock.epoch() + 600, **more}
    return altcha.create_challenge("PBKDF2/SHA-256", 1, hmac_secret=secret, **given).to_dict()


def changed(puzzle, **parameters):
    return puzzle | {"parameters": puzzle["parameters"] | parameters}


@contextmanager
def an_hour_ago():
    now = clock.epoch
    clock.epoch = lambda: now() - 3600
    try:
        yield
    finally:
        clock.epoch = now


def test_no_answer_counts_but_that_to_a_puzzle_of_this_server_as_it_gave_it(asked):
    with an_hour_ago():
        over = puzzles.make()._asdict()
    given = asked.get("/captcha").json
    easier = changed(given, keyPrefix="")
    forged = {
        "another server's": solve(signed_by("the key of another server")),
        "nobody's": solve(signed_by(None) | {"signature": ""}),
        "over": solve(over),
        "over, and made longer": solve(changed(over, expiresAt=clock.epoch() + 600)),
        "made easier": solve(easier),
        "without an end": solve(changed(given, expiresAt=None)),
        "another algorithm": solve(changed(given, algorithm="SHA-256")),
        "the first number": answered(given, 0, "00" * 32),
        "no number": answered(given, None, "00" * 32),
        "beyond all numbers": answered(given, 2**64, "00" * 32),
        "text": answered(given, "0", "00" * 32),
        "not solved": answered(given, *unsolved(given)),
    }
    assert {name: guess(asked, captcha=answer).code for name, answer in forged.items()} == dict.fromkeys(forged, "captcha_failed")
    assert guess(asked, captcha=solve(given)).code == "invalid_credentials"  # None of all that has used it up.


def answered(puzzle, counter, key):
    payload = {"challenge": {one: puzzle[one] for one in ("parameters", "signature")}, "solution": {"counter": counter, "derivedKey": key}}
    return base64.b64encode(json.dumps(payload).encode()).decode()


def unsolved(puzzle):
    """A number that is no solution, with the key that truly belongs to it."""
    parameters = altcha.ChallengeParameters.from_dict(puzzle["parameters"])
    for number in count():
        password = bytes.fromhex(parameters.nonce) + number.to_bytes(4, "big")
        key = altcha.derive_key_pbkdf2(parameters, bytes.fromhex(parameters.salt), password)
        if key[0]:
            return number, key.hex()
    raise AssertionError


def in_base64(text):
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


GARBAGE = [
    *("x", " ", "=", "ä", "🔑", "\r\nX-Evil: 1", "null", "{}", "eyJ", "A" * 8192, in_base64("x"), in_base64("null"), in_base64("[]")),
    *(in_base64(one) for one in ("{}", '{"challenge": 1}', '{"challenge": [], "solution": []}', '{"challenge": {"parameters": "x"}}')),
    in_base64('{"challenge": {"parameters": {"algorithm": 1, "nonce": [], "salt": {}, "cost": -1}, "signature": "x"}, "solution": {}}'),
    in_base64('{"challenge": {"parameters": null, "signature": 1}, "solution": {"counter": 1e400, "derivedKey": NaN}}'),
    in_base64("[" * 6000),
    in_base64('{"a":' * 1200),
    in_base64("9" * 6000),
    in_base64('"\ud800"'),
]
MISFITS = [None, "", 1, True, [], {}, ["x"], {"a": 1}, "A" * 8193, "\0", "x" * 60_000]


@pytest.mark.parametrize("path", ASKED)
def test_garbage_is_refused_and_no_error_of_ours(asked, path):
    whole = solved(asked)
    cut = [whole[:length] for length in (1, 10, 100, 300, len(whole) - 8)]
    for answer in (*GARBAGE, *cut):
        got = asked.post(path, ASKED[path] | {"captcha": answer})
        assert (got.status, got.code) == (400, "captcha_failed"), answer[:60]
    for answer in MISFITS:
        got = asked.post(path, ASKED[path] | {"captcha": answer})
        assert (got.status, got.code) == (400, "validation_failed"), str(answer)[:60]


def test_who_is_asked_learns_no_more_of_an_address_than_who_is_not(server, asked, email):
    whos = everybody(server, email)
    for path, body in ASKED.items():
        refused = told(whos, lambda who: asked.post(path, body | {name: getattr(who, name) for name in body if name != "password"}))  # noqa: B023
        assert refused == (400, "captcha_required"), path
    for name, flow in FLOWS.items():
        if name != "login by username":  # A name and the address that it stands for have one budget, where they are one account's.
            answer = told(whos, lambda who: flow.act(person(asked), who))  # noqa: B023
            assert answer == (flow.status, flow.code), name
