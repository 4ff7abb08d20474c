"""A session ends when it is idle or too old, on every worker, checked where it is used; what keeps it alive is its use alone."""

import time
from contextlib import suppress

import pytest
from sqlalchemy import delete

from domain import activity, sessions
from domain.database import transaction
from model import Session
from tests.attacks.acts import claims
from tests.serving import at_once

IDLE, LONGEST, FLUSH = 4, 15, 1
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


class Late(Exception):
    """The machine stood still for so long that a session which is used all the time was idle: nothing can be learnt from that."""


class Uses:
    """Watches how far the uses of a session lie apart, from before the one to after the next."""

    def __init__(self):
        self.since = time.monotonic()

    def __enter__(self):
        self.next = time.monotonic()

    def __exit__(self, *_):
        if time.monotonic() - self.since >= IDLE - 1:  # Times are kept in whole seconds.
            raise Late
        self.since = self.next


@pytest.fixture(scope="module")
def seen(server):
    """What there was to see, on a machine that let it be seen."""
    emails = [server.member()["user"]["email"] for _ in range(4)]
    for _ in range(10):
        with transaction() as db:
            db.execute(delete(Session))
        with suppress(Late):
            return look(server, emails)
    raise AssertionError("the machine is too busy for seconds to be counted")


def look(server, emails):
    """What four sessions saw in one stretch of time that is longer than a session may be idle, and one of them thereafter."""
    found = {"status": [], "busy": [], "refreshed": []}
    using, renewing = Uses(), Uses()
    with using:
        idle, asking, busy, refreshing = (server.login(one).json for one in emails)
        found["first"] = [use(server, one) for one in (idle, asking, busy, refreshing)]
    began = time.monotonic()
    for step in range(STEPS):
        time.sleep(max(0.0, began + step / 3 - time.monotonic()))
        found["status"].append(server.get("/auth/status", token=asking["access_token"]).json["authenticated"])
        if step % 3 == 2:
            with using:
                found["busy"].append(use(server, busy, 1))
        if step % 5 == 4:
            with renewing:
                answer = refresh(server, refreshing)
            found["refreshed"].append(answer.status)
            refreshing |= answer.json
    with using:
        found["busy"].append(use(server, busy))
    found["idle"] = [use(server, idle), use(server, asking)]
    found["idle refresh"] = refresh(server, idle).code
    found["idle step-up"] = server.post("/reauthenticate", {"password": "x"}, token=idle["access_token"]).code
    activity.flush()
    found["job"] = [sessions.end_idle(dry_run=True), sessions.end_idle(), sessions.end_idle()]
    with using:
        found["after the job"] = [use(server, idle), use(server, busy)]
    with using:
        later = busy | refresh(server, busy).json
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
