"""Threat 11: what was counted stays counted, whatever happens to the workers and to Redis."""

import shutil
import signal
from collections import Counter

import pytest

from tests.attacks.acts import OTHER, account
from tests.attacks.stores import Store
from tests.serving import at_once, free_port
from tests.visitor import PASSWORD

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
PORT = free_port()
SETTINGS = {"REDIS_URL": f"redis://127.0.0.1:{PORT}/0"}
LIMIT = 5


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """The Redis that the server of this module is configured with."""
    running = Store(PORT, tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture(params=["killed", "flushed", "both"])
def accident(request, server, store):
    """What happens in the middle of it."""

    def happen():
        if request.param != "flushed":
            server.stop(signal.SIGKILL)
            server.start()
        if request.param != "killed":
            store.flush()

    return happen


@pytest.mark.parametrize("known", [True, False], ids=["an account", "a name that nobody has"])
def test_guesses_are_still_counted_after_an_accident(server, email, accident, known):
    if known:
        account(email)
    assert [server.login(email, OTHER).code for _ in range(LIMIT - 1)] == ["invalid_credentials"] * (LIMIT - 1)
    accident()
    answers = at_once(20, lambda _: server.login(email, OTHER))
    assert Counter(one.code for one in answers) == {"invalid_credentials": 1, "too_many_attempts": 19}
    accident()
    assert server.login(email, PASSWORD).code == "too_many_attempts"


def test_a_try_that_ended_in_a_rollback_is_counted(server, email):
    """A wrong code of a new app undoes its whole act, but not the count (CVE-2026-35597)."""
    token = server.member(email)["access_token"]
    assert server.post("/mfa", {}, token=token).json["status"] == "setup"
    answers = at_once(20, lambda number: server.post("/mfa", {"code": f"00000{number % 10}"}, token=token))
    assert Counter(one.code for one in answers) == {"mfa_invalid_code": LIMIT, "too_many_attempts": 20 - LIMIT}
