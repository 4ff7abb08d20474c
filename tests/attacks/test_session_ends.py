"""A session ends when it is idle or too old, on every worker, checked where it is used; what keeps it alive is its use alone."""

import time

import pytest

from domain import activity, sessions
from tests.attacks.acts import claims
from tests.serving import at_once

IDLE, LONGEST, FLUSH = 3, 12, 1
SETTINGS = {"SESSION_IDLE_SECONDS": IDLE, "SESSION_MAX_SECONDS": LONGEST, "ACTIVITY_FLUSH_SECONDS": FLUSH}
STEPS = 3 * (IDLE + FLUSH + 1)  # A third of a second each.
ALIVE = {(200, None)}
EXPIRED = {(401, "session_expired")}


def use(server, tokens, times=9):
    """Use the access token, at once and often enough to reach every worker; what the answers were."""
    answers = at_once(times, lambda _: server.get("/mfa", token=tokens["access_token"]))
    return {(one.status, one.code) for one in answers}


def refresh(server, tokens):
    return server.post("/refresh", token=tokens["refresh_token"])


@pytest.fixture(scope="module")
def seen(server):
    """What four sessions saw in one stretch of time that is longer than a session may be idle, and one of them thereafter."""
    found = {"status": [], "busy": [], "refreshed": []}
    idle, asking, busy, refreshing = (server.member() for _ in range(4))
    began = time.monotonic()
    found["first"] = [use(server, one) for one in (idle, asking, busy, refreshing)]
    for step in range(STEPS):
        time.sleep(max(0.0, began + step / 3 - time.monotonic()))
        found["status"].append(server.get("/auth/status", token=asking["access_token"]).json["authenticated"])
        if step % 3 == 2:
            found["busy"].append(use(server, busy, 1))
        if step % 5 == 4:
            answer = refresh(server, refreshing)
            found["refreshed"].append(answer.status)
            refreshing = answer.json
    found["busy"].append(use(server, busy))
    found["idle"] = [use(server, idle), use(server, asking)]
    found["idle refresh"] = refresh(server, idle).code
    found["idle step-up"] = server.post("/reauthenticate", {"password": "x"}, token=idle["access_token"]).code
    activity.flush()
    found["job"] = [sessions.end_idle(dry_run=True), sessions.end_idle(), sessions.end_idle()]
    found["after the job"] = [use(server, idle), use(server, busy)]
    later = refresh(server, busy).json
    found["lasts"] = claims(later["refresh_token"])["exp"] - claims(busy["access_token"])["auth_time"]
    while time.monotonic() < began + LONGEST + 1.5:
        use(server, later, 1)
        time.sleep(0.5)
    found["too old"] = {*use(server, busy), *use(server, later), (401, refresh(server, later).code)}
    return found


def test_a_session_is_alive_at_first(seen):
    assert seen["first"] == [ALIVE] * 4


def test_an_idle_session_is_over_for_every_worker_and_every_token(seen):
    assert seen["idle"][0] == EXPIRED
    assert seen["idle refresh"] == seen["idle step-up"] == "session_expired"


def test_its_use_keeps_a_session_alive_on_every_worker(seen):
    assert seen["busy"] == [ALIVE] * len(seen["busy"])
    assert len(seen["busy"]) > IDLE


def test_refreshing_is_use(seen):
    assert seen["refreshed"] == [200] * (STEPS // 5)


def test_asking_for_the_status_is_no_use(seen):
    assert seen["status"][0]
    assert not seen["status"][-1]
    assert seen["idle"][1] == EXPIRED


def test_the_job_only_writes_down_what_use_refuses_already(seen):
    assert seen["job"] == [2, 2, 0]
    assert seen["after the job"] == [EXPIRED, ALIVE]


def test_no_use_and_no_token_carries_a_session_over_its_absolute_end(seen):
    assert seen["lasts"] <= LONGEST
    assert seen["too old"] <= {(401, "token_expired"), (401, "session_expired")}
