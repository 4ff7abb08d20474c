"""A challenge is good for its purpose and subject, until it is over, under any of the keys, and once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import config
from domain import challenges, clock, database
from domain.database import reading, transaction
from model import Base, SpentChallenge
from tests import databases

FIRST, SECOND = "first-key-of-thirty-two-characters", "second-key-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def connected(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        yield


def taken(challenge, purpose="sign_in", subject="s"):
    with transaction() as db:
        return challenges.take(db, purpose, subject, challenge)


def test_it_is_taken_once_and_kept_until_it_is_over():
    made = challenges.make("sign_in", "s", 60)
    assert challenges.holds("sign_in", "s", made)
    assert taken(made)
    assert not taken(made)
    with reading() as db:
        assert clock.epoch() < db.query(SpentChallenge).one().expires_at.timestamp() <= clock.epoch() + 60


def test_another_purpose_subject_time_or_byte_is_refused():
    made = challenges.make("sign_in", "s", 60)
    changed = [made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :] for place in range(len(made))]
    assert not any(map(taken, [*changed, made[:-1], made + b"\0", b"", challenges.make("sign_in", "s", 0)]))
    assert not taken(made, purpose="register")
    assert not taken(made, subject="t")
    assert taken(made)


def test_every_key_of_the_list_verifies(monkeypatch):
    def use(keys):
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"SECRET_KEY": keys}))

    use(FIRST)
    made = challenges.make("sign_in", "s", 60)
    use(SECOND)
    assert not challenges.holds("sign_in", "s", made)
    use(f"{SECOND},{FIRST}")
    assert challenges.holds("sign_in", "s", made)


def test_a_refusal_gives_it_back():
    made = challenges.make("sign_in", "s", 60)
    with suppress(LookupError), transaction() as db:
        assert challenges.take(db, "sign_in", "s", made)
        raise LookupError
    assert taken(made)


def test_of_twenty_at_once_one_takes_it():
    made = challenges.make("sign_in", "s", 60)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(taken, [made] * 20)).count(True) == 1
