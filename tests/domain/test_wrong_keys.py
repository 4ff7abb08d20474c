"""Keys that nobody has are counted by address, and a window ends."""

import pytest

import config
from domain import database, expired, wrong_keys
from domain.caller import Client
from domain.errors import TooManyAttempts
from model import Base
from tests import databases

HERE, NEIGHBOUR, ELSEWHERE = Client("2001:db8::1"), Client("2001:db8::2"), Client("203.0.113.7")


@pytest.fixture(autouse=True)
def tables(tmp_path, monkeypatch):
    with databases.connected(tmp_path):
        few = {"FAILED_ATTEMPTS_LIMIT": 3, "RATE_LIMIT_WINDOW": 60}
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update=few))
        Base.metadata.create_all(database.engine)
        yield


def test_an_address_has_so_many_in_a_window_and_no_more(moved_clock):
    moved_clock(0)
    for client in (HERE, NEIGHBOUR, HERE):
        wrong_keys.count(client)
    moved_clock(30)
    for client in (HERE, NEIGHBOUR):
        with pytest.raises(TooManyAttempts) as refusal:
            wrong_keys.count(client)
        assert refusal.value.retry_after in (29, 30)
    wrong_keys.count(ELSEWHERE)
    moved_clock(61)
    for _ in range(3):
        wrong_keys.count(HERE)
    with pytest.raises(TooManyAttempts):
        wrong_keys.count(HERE)


def test_a_count_outlives_the_sweep():
    for _ in range(3):
        wrong_keys.count(HERE)
    expired.purge()
    with pytest.raises(TooManyAttempts):
        wrong_keys.count(HERE)
