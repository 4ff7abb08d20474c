"""Threat 34: every row of the table of routes times the tokens that services get for their application tokens."""

import pytest

from domain import app_tokens
from domain.database import transaction
from domain.permissions import OWN
from model import Service
from tests.attacks.test_key_matrix import expected
from tests.attacks.test_matrix import IN, ROWS, STATUS, TABLE, over, path_of
from tests.services import service

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "FAILED_ATTEMPTS_LIMIT": 1000}
# Good ones open what their application token opens; bad ones are told as their application token is.
LIKE = {
    "a token": "an application token",
    "a token without scopes": "an application token without scopes",
    "an expired token": "an expired application token",
    "a token whose application token was revoked": "a revoked application token",
    "a token of an inactive service": "a token of an inactive service",
}
OF_SESSIONS = ("refreshing", "leaving", "leaving_by_header")  # They take the tokens of sessions, and no others.


@pytest.fixture(scope="module")
def callers(server):
    """Every kind of a service's own token."""
    able, poor, revoked, closed = service(server, *sorted(OWN)), service(server), service(server, *OWN), service(server, *OWN)
    made = [one.own_token() for one in (able, poor, able, revoked, closed)]
    with transaction() as db:
        app_tokens.end(db, revoked.token_id)
        db.get(Service, closed.id).is_active = False
    return dict(zip(LIKE, [*made[:2], over(made[2]), *made[3:]], strict=True))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_lets_in_whom_it_names_and_nobody_else(server, callers, name):
    rule, body, admitted = ROWS[name]
    found, wanted = {}, {}
    for caller, token in callers.items():
        answer = server.request(TABLE[name].method, path_of(TABLE[name]), body, token=token)
        found[caller] = (answer.status, answer.code)
        refusal = "token_invalid" if rule in OF_SESSIONS else expected(rule)[LIKE[caller]]
        wanted[caller] = admitted if refusal is IN else (STATUS.get(refusal, 401), refusal)
    assert found == wanted


def test_no_token_of_a_service_counts_as_a_cookie_or_in_another_header(server, callers):
    for header in ("X-App-Token", "X-API-Key"):
        assert server.get("/verify", headers={header: callers["a token"]}).code == "token_invalid"
    for path in ("/verify", "/api/admin/audit", "/profile"):
        answer = server.get(path, cookies={"access_token_cookie": callers["a token"]}, headers={"X-Original-Method": "GET"})
        assert answer.code == "token_invalid"
