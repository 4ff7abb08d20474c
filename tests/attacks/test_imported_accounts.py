"""Threat 9, for accounts that came with another system's hashes: what verifies, what is never computed, and the races of the new hash."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from passlib.hash import pbkdf2_sha256, phpass
from sqlalchemy import update
from werkzeug.security import generate_password_hash

from domain import hashes, imports, passwords
from domain.database import transaction
from model import User
from tests.attacks.acts import OTHER, account, statuses, user_of
from tests.conftest import ROOMY
from tests.serving import at_once
from tests.visitor import PASSWORD

SHARED = ROOMY  # So that all of a race get to the hash.
NEW = "a brand new password of mine"


def with_hash(email, stored):
    """A confirmed account that came with this hash."""
    line = json.dumps({"email": email, "password_hash": stored}).encode()
    assert imports.load([line], lambda *_: None).imported == 1


FOREIGN = {
    "Werkzeug scrypt": lambda password: generate_password_hash(password, "scrypt:1024:8:1"),
    "Werkzeug PBKDF2": lambda password: generate_password_hash(password, "pbkdf2:sha256:1000"),
    "passlib": pbkdf2_sha256.using(rounds=1000).hash,
    "phpass": phpass.using(rounds=7).hash,
}


@pytest.mark.parametrize("made", FOREIGN.values(), ids=FOREIGN)
def test_a_hash_from_elsewhere_signs_in_once_and_is_ours_from_then_on(server, email, made):
    foreign = made(PASSWORD)
    with_hash(email, foreign)
    for guess in (OTHER, foreign, ""):
        assert server.login(email, guess).code == "invalid_credentials"
    assert user_of(email).password_hash == foreign
    assert server.login(email).status == 200
    ours = user_of(email).password_hash
    assert hashes.is_current(ours)
    assert server.login(email).status == 200
    assert server.login(email, OTHER).code == "invalid_credentials"
    assert user_of(email).password_hash == ours


@pytest.mark.parametrize("made", FOREIGN.values(), ids=FOREIGN)
def test_an_empty_password_that_was_hashed_elsewhere_signs_nobody_in(server, email, made):
    with_hash(email, made(""))
    for guess in ("", " "):
        assert server.login(email, guess).code == "invalid_credentials"


GREEDY = {
    "bcrypt": "$2b$31$" + "." * 53,
    "argon2": f"$argon2id$v=19$m=67108864,t=3,p=1${'A' * 22}${'A' * 43}",
    "scrypt": "scrypt:1073741824:8:1$salt$" + "0" * 128,
    "PBKDF2": "pbkdf2:sha256:1000000000$salt$" + "0" * 64,
    "phpass": "$P$S" + "A" * 30,
}


@pytest.mark.parametrize("stored", GREEDY.values(), ids=GREEDY)
def test_a_hash_that_asks_for_too_much_is_not_let_in_and_is_never_computed(server, email, stored):
    line = json.dumps({"email": email, "password_hash": stored}).encode()
    assert imports.load([line], lambda *_: None) == (0, 0, 1)
    account(email)
    with transaction() as db:  # As if it had come by another way.
        db.execute(update(User).where(User.email == email).values(password_hash=stored))
    before = server.cpu_seconds()
    assert server.login(email).code == "invalid_credentials"
    assert server.cpu_seconds() - before < 3


def test_of_many_first_sign_ins_at_once_all_get_in_and_one_new_hash_is_left(server, email):
    with_hash(email, FOREIGN["passlib"](PASSWORD))
    answers = at_once(20, lambda _: server.login(email))
    assert statuses(answers) == {200: 20}
    assert len({one.json["session_id"] for one in answers}) == 20
    assert hashes.is_current(user_of(email).password_hash)
    assert server.login(email).status == 200


def test_a_reset_is_not_overwritten_by_the_new_hash_of_the_old_password(server, email):
    for round_ in range(3):
        address = f"{round_}.{email}"
        with_hash(address, FOREIGN["passlib"](PASSWORD))
        server.post("/forgot-password", {"email": address})
        link = server.mailbox.last(address).path
        with ThreadPoolExecutor(21) as pool:
            signing_in = [pool.submit(server.login, address) for _ in range(20)]
            reset = pool.submit(server.post, link, {"password": NEW})
            answers = [one.result() for one in signing_in]
        assert reset.result().status == 200
        assert set(statuses(answers)) <= {200, 401}
        assert passwords.verify(user_of(address).password_hash, NEW)
        tokens = [one.json["access_token"] for one in answers if one.status == 200]
        assert {server.get("/mfa", token=token).code for token in tokens} <= {"token_revoked"}
        assert server.login(address, NEW).status == 200
