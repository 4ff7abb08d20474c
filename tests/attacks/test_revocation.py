"""Threat 28: what is revoked stays revoked, whatever happens to the workers and to Redis; an end that can't be told is none."""

import shutil
import signal
import time

import pytest

from tests.attacks.stores import Store
from tests.serving import at_once, free_port

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
PORT = free_port()
SETTINGS = {"REDIS_URL": f"redis://127.0.0.1:{PORT}/0"}


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """The Redis that the server of this module is configured with."""
    running = Store(PORT, tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def mended(store):
    """Redis runs when a test begins."""
    store.mend()


def seen(server, tokens):
    """What all workers say about an access token, asked at once and often enough to reach each of them."""
    return {(one.status, one.code) for one in at_once(18, lambda _: server.get("/mfa", token=tokens["access_token"]))}


DEAD = {(401, "token_revoked")}
ALIVE = {(200, None)}


@pytest.fixture
def pair(server):
    """Two sessions whose state every worker and Redis have seen; the first is then signed out."""
    leaving, staying = server.member(), server.member()
    assert seen(server, leaving) == seen(server, staying) == ALIVE
    return leaving, staying


def sign_out(server, tokens):
    answer = server.post("/logout", token=tokens["access_token"])
    assert answer.json == {"status": "signed_out"}


def stays_dead(server, tokens):
    assert seen(server, tokens) == DEAD
    assert server.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert server.get("/auth/status", token=tokens["access_token"]).json == {"authenticated": False}


def test_a_logout_is_seen_at_once_by_every_worker(server, pair):
    leaving, staying = pair
    sign_out(server, leaving)
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE


def test_a_flushed_redis_brings_nothing_back(server, store, pair):
    leaving, staying = pair
    sign_out(server, leaving)
    store.flush()
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE


def test_workers_that_were_killed_bring_nothing_back(server, pair):
    leaving, staying = pair
    sign_out(server, leaving)
    server.stop(signal.SIGKILL)
    server.start()
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE


def test_a_redis_that_was_killed_brings_nothing_back(server, store, pair):
    leaving, staying = pair
    sign_out(server, leaving)
    store.kill()
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE
    store.start()
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE


def test_a_redis_that_comes_back_with_an_old_snapshot_brings_nothing_back(server, store, pair):
    leaving, staying = pair
    store.snapshot()
    sign_out(server, leaving)
    store.kill()
    store.start()
    stays_dead(server, leaving)
    assert seen(server, staying) == ALIVE


def test_an_old_snapshot_does_not_bring_back_what_a_step_up_replaced(server, store, email):
    server.join(email)
    old = server.login(email).json
    assert seen(server, old) == ALIVE
    store.snapshot()
    new = server.post("/reauthenticate", {"password": "correct horse battery staple"}, token=old["access_token"]).json
    store.kill()
    store.start()
    assert seen(server, old) == DEAD
    assert seen(server, new) == ALIVE


@pytest.mark.parametrize(("takes_away", "gives_back"), [("kill", "start"), ("freeze", "thaw")])
def test_a_logout_that_can_not_be_told_is_refused_and_ends_nothing(server, store, pair, takes_away, gives_back):
    leaving, _ = pair
    getattr(store, takes_away)()
    began = time.monotonic()
    refused = at_once(3, lambda _: server.post("/logout", token=leaving["access_token"]))
    lasted = time.monotonic() - began
    getattr(store, gives_back)()
    assert {(one.status, one.code) for one in refused} == {(503, "unavailable")}
    assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
    assert lasted < 30  # A frozen Redis would never answer.
    assert seen(server, leaving) == ALIVE
    sign_out(server, leaving)
    stays_dead(server, leaving)


@pytest.mark.parametrize("path", ["/api/auth/sessions", "/api/auth/sessions/{session}", "/profile/devices/{device}"])
def test_an_end_from_a_list_that_can_not_be_told_is_refused_and_ends_nothing(server, store, email, path):
    other, mine = server.member(email), server.login(email).json
    (device,) = [one["id"] for one in server.get("/profile/devices", token=other["access_token"]).json["devices"] if one["current"]]
    path = path.format(session=other["session_id"], device=device)
    assert seen(server, other) == ALIVE
    store.kill()
    refused = server.delete(path, token=mine["access_token"])
    store.start()
    assert (refused.status, refused.code) == (503, "unavailable")
    assert seen(server, other) == seen(server, mine) == ALIVE
    assert len(server.get("/profile/devices", token=mine["access_token"]).json["devices"]) == 2
    assert server.delete(path, token=mine["access_token"]).status in (200, 204)
    stays_dead(server, other)


def test_without_redis_the_database_answers(server, store, pair):
    leaving, staying = pair
    sign_out(server, leaving)
    store.freeze()
    try:
        assert seen(server, leaving) == DEAD
        assert seen(server, staying) == ALIVE
        assert server.get("/readyz").status == 503
    finally:
        store.thaw()
