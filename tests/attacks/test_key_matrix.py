"""Threat 34: every row of the table of routes times every kind of API key and application token, whatever header carries it."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from domain import accounts, clock, opaque_tokens
from domain.database import transaction
from domain.permissions import OWN
from model import ApiKey, AppToken
from tests.attacks.test_matrix import ROWS, STATUS, TABLE, path_of
from tests.credentials import make_app_token, make_key, make_service
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "FAILED_ATTEMPTS_LIMIT": 1000, "MAX_KEYS_PER_USER": 1000}
PROFILE = ["profile:read", "profile:write"]
IN = None  # The caller is let in: what comes then is the row's own answer.

BAD = {
    "an expired key": "token_expired",
    "an expired application token": "token_expired",
    "a revoked key": "token_revoked",
    "a revoked application token": "token_revoked",
    "a key of a deactivated user": "token_revoked",
    "a token of an inactive service": "token_revoked",
    "a key that nobody has": "token_invalid",
    "an application token that nobody has": "token_invalid",
    "a key with another checksum": "token_invalid",
}
NAMED_NOWHERE = BAD | dict.fromkeys(
    (
        "a user's key",
        "a key without scopes",
        "an admin's key",
        "an admin's key without scopes",
        "an application token",
        "an application token without scopes",
    ),
    "forbidden",
)
BY_RULE = {
    "anyone": dict.fromkeys(NAMED_NOWHERE, IN),
    "whoever_signed_in": dict.fromkeys(NAMED_NOWHERE, IN),
    "scraping": dict.fromkeys(NAMED_NOWHERE, "not_found"),
    "may": NAMED_NOWHERE | {"an admin's key": IN, "an application token": IN},
    "profile_reader": NAMED_NOWHERE | {"a user's key": IN, "an admin's key": IN},
    "profile_writer": NAMED_NOWHERE | {"a user's key": IN, "an admin's key": IN},
    "forwarded": dict.fromkeys(NAMED_NOWHERE, IN) | BAD,
    "asking_client": dict.fromkeys(NAMED_NOWHERE, "invalid_client")
    | {"an application token": IN, "an application token without scopes": IN},
    "asking_service": NAMED_NOWHERE | {"an application token": IN, "an application token without scopes": IN},
}


def expected(rule):
    """A row that asks for a permission is open by it; else the row has to name keys or tokens."""
    parts = [re.sub(r"\(.*\)", "", part) for part in re.split(r" & | \| ", rule)]
    return next((BY_RULE[part] for part in parts if part in BY_RULE), NAMED_NOWHERE)


@pytest.fixture(scope="module")
def callers(server):
    """Every kind of key and application token."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    admin = server.login("admin@example.com").json
    user, gone = server.member("member@example.com"), server.member("gone@example.com")
    make_service("shop")
    make_service("closed", is_active=False)
    made = {
        "a user's key": make_key(server, user, scopes=PROFILE),
        "a key without scopes": make_key(server, user, scopes=[]),
        "an admin's key": make_key(server, admin, scopes=[*PROFILE, *OWN]),
        "an admin's key without scopes": make_key(server, admin, scopes=[]),
        "a revoked key": make_key(server, user, scopes=PROFILE),
        "an expired key": make_key(server, user, scopes=PROFILE),
        "a key of a deactivated user": make_key(server, gone, scopes=PROFILE),
        "an application token": make_app_token(server, admin, "shop", scopes=sorted(OWN)),
        "an application token without scopes": make_app_token(server, admin, "shop"),
        "a revoked application token": make_app_token(server, admin, "shop", scopes=sorted(OWN)),
        "an expired application token": make_app_token(server, admin, "shop", scopes=sorted(OWN), expires_in_days=1),
        "a token of an inactive service": make_app_token(server, admin, "closed", scopes=sorted(OWN)),
    }
    accounts.deactivate("gone@example.com")
    over = clock.now() - timedelta(seconds=1)
    with transaction() as db:
        db.execute(update(ApiKey).where(ApiKey.id == made["an expired key"]["key_id"]).values(expires_at=over, revoked_at=over))
        db.execute(update(ApiKey).where(ApiKey.id == made["a revoked key"]["key_id"]).values(revoked_at=over))
        db.execute(
            update(AppToken).where(AppToken.id == made["an expired application token"]["id"]).values(expires_at=over, revoked_at=over)
        )
        db.execute(update(AppToken).where(AppToken.id == made["a revoked application token"]["id"]).values(revoked_at=over))
    tokens = {name: one.get("api_key") or one["token"] for name, one in made.items()}
    good = tokens["a user's key"]
    return tokens | {
        "a key that nobody has": opaque_tokens.make(opaque_tokens.KEY),
        "an application token that nobody has": opaque_tokens.make(opaque_tokens.APP),
        "a key with another checksum": good[:-1] + ("0" if good[-1] != "0" else "1"),
    }


def test_every_kind_is_tried(callers):
    assert set(callers) == set(NAMED_NOWHERE)


@pytest.mark.parametrize("header", ["Authorization", "its own"])
@pytest.mark.parametrize("name", ROWS)
def test_every_row_lets_in_whom_it_names_and_nobody_else(server, callers, name, header):
    rule, body, admitted = ROWS[name]
    found, wanted = {}, {}
    for caller, token in callers.items():
        own = "X-API-Key" if token.startswith("gh_key_") else "X-App-Token"
        headers = {own: token} if header == "its own" else {"Authorization": f"bearer  {token}"}
        answer = server.request(TABLE[name].method, path_of(TABLE[name]), body, headers=headers)
        found[caller] = (answer.status, answer.code)
        refusal = expected(rule)[caller]
        wanted[caller] = admitted if refusal is IN else (STATUS.get(refusal, 401), refusal)
    assert found == wanted


def test_the_status_knows_only_sign_ins(server, callers):
    for token in callers.values():
        assert server.get("/auth/status", token=token).json == {"authenticated": False}
