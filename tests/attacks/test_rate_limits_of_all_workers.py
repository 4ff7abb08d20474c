"""Threat 12 against the real server: the limits by address count over all workers where there is Redis."""

import os

import pytest

from tests.serving import WORKERS, at_once

SETTINGS = {"RATE_LIMIT_ENABLED": True, "RATE_LIMIT_ANONYMOUS": "100000 per day"}
ALLOWED = 5 if os.environ.get("TEST_REDIS_URL") else 5 * WORKERS  # Without Redis every worker counts for itself.
ASK = {"email": "somebody@example.com"}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "X_Forwarded_For", "Forwarded", "X-Forwarded-Proto", "X-Client-IP"])
def test_a_burst_gets_no_more_than_the_limit_whoever_it_says_it_is(server, name):
    path = PATHS[name]
    answers = at_once(40, lambda number: server.post(path[0], {**ASK, **path[1]}, headers={name: f"198.51.100.{number}"}))
    judged = sum(one.code != "rate_limited" for one in answers)
    assert judged == ALLOWED if ALLOWED == 5 else 5 <= judged <= ALLOWED


PATHS = {
    "X-Forwarded-For": ("/login", {"password": "wrong"}),
    "X-Real-IP": ("/forgot-password", {}),
    "X_Forwarded_For": ("/resend-confirmation", {}),
    "Forwarded": ("/send-otp", {}),
    "X-Forwarded-Proto": ("/confirm", {"code": "1"}),
    "X-Client-IP": ("/verify-otp", {}),
}
