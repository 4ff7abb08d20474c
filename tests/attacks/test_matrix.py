"""Threats 30 and 34: every row of the table of routes times every kind of caller. A row that is not named here fails."""

import re
import time

import jwt
import pytest

import config
from domain import accounts
from resources import access
from resources.routes import ROUTES
from tests.attacks.acts import aged, claims, factors_of, ticket
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "FAILED_ATTEMPTS_LIMIT": 1000}
SOMEBODY = "somebody@example.com"
IN = None  # The caller is let in: what comes then is the row's own answer.

BY_STRANGERS = dict.fromkeys(("a ticket", "an otp_token", "a link", "a session's id", "a word"), "token_invalid")
SIGNED_IN = {
    "nothing": "token_missing",
    **BY_STRANGERS,
    "an access token": IN,
    "an old access token": IN,
    "an expired access token": "token_expired",
    "a revoked access token": "token_revoked",
    "a deactivated user's access token": "token_revoked",
    "a refresh token": "token_invalid",
    "an expired refresh token": "token_invalid",
    "a revoked refresh token": "token_invalid",
    "a deactivated user's refresh token": "token_invalid",
}
EVERYBODY = dict.fromkeys(SIGNED_IN, IN)
LEAVING = {name: IN for name in SIGNED_IN if "token" in name and name != "an otp_token"} | {
    "nothing": "token_missing",
    **BY_STRANGERS,
    "an expired refresh token": "token_expired",
}
RULES = {
    "anyone": EVERYBODY,
    "whoever_signed_in": EVERYBODY,
    "scraping": dict.fromkeys(SIGNED_IN, "not_found"),  # METRICS_TOKEN is not set.
    "signed_in": SIGNED_IN,
    "recently_signed_in": SIGNED_IN | {"an old access token": "reauthentication_required"},
    "perhaps_signed_in": SIGNED_IN | {"nothing": IN},
    "refreshing": {
        **dict.fromkeys(SIGNED_IN, "token_invalid"),
        "nothing": "token_missing",
        "a refresh token": IN,
        "an expired refresh token": "token_expired",
        "a revoked refresh token": "token_revoked",
        "a deactivated user's refresh token": "token_revoked",
    },
    "leaving": LEAVING,
    "leaving_by_header": LEAVING,
}
CODE = {"code": "123456"}
# Each row: its rule, what it is sent, and what who is let in gets, as status and code.
ROWS = {
    "POST /signup": ("anyone", {"email": SOMEBODY, "password": PASSWORD}, (201, None)),
    "GET /confirm/<token>": ("anyone", None, (200, None)),
    "POST /confirm/<token>": ("anyone", None, (400, "link_invalid")),
    "POST /confirm": ("anyone", {"email": SOMEBODY, **CODE}, (401, "mfa_invalid_code")),
    "POST /resend-confirmation": ("anyone", {"email": SOMEBODY}, (202, None)),
    "POST /login": ("anyone", {"email": SOMEBODY, "password": "a wrong password"}, (401, "invalid_credentials")),
    "POST /logout": ("leaving", None, (200, None)),
    "GET /auth/logout": ("leaving_by_header", None, (200, None)),
    "POST /refresh": ("refreshing", None, (200, None)),
    "GET /auth/status": ("whoever_signed_in", None, (200, None)),
    "POST /forgot-password": ("anyone", {"email": SOMEBODY}, (202, None)),
    "GET /reset-password/<token>": ("anyone", None, (200, None)),
    "POST /reset-password/<token>": ("anyone", {"password": PASSWORD}, (400, "link_invalid")),
    "POST /api/password/reset": ("anyone", {"token": "something", "password": PASSWORD}, (400, "link_invalid")),
    "POST /change-password": ("signed_in", {"current_password": PASSWORD, "new_password": "short"}, (400, "weak_password")),
    "GET /password-policy": ("anyone", None, (200, None)),
    "GET /profile": ("signed_in", None, (200, None)),
    "PUT /profile": ("signed_in", {"bio": "x"}, (200, None)),
    "PATCH /profile": ("signed_in", {"bio": "x"}, (200, None)),
    "GET /api/auth/me": ("signed_in", None, (200, None)),
    "DELETE /profile/picture": ("signed_in", None, (204, None)),
    "GET /uploads/profile_pictures/<name>": ("anyone", None, (404, "not_found")),
    "GET /mfa": ("signed_in", None, (200, None)),
    "POST /mfa": ("recently_signed_in", {}, (200, None)),
    "DELETE /mfa": ("recently_signed_in", CODE, (401, "reauthentication_required")),
    "PATCH /mfa/<id>": ("recently_signed_in", {"name": "x"}, (404, "not_found")),
    "DELETE /mfa/<id>": ("recently_signed_in", None, (404, "not_found")),
    "POST /mfa/recovery-codes": ("recently_signed_in", CODE, (401, "reauthentication_required")),
    "POST /send-otp": ("perhaps_signed_in", {"email": SOMEBODY}, (202, None)),
    "POST /verify-otp": ("anyone", {"otp_token": "something", **CODE}, (401, "mfa_invalid_code")),
    "POST /reauthenticate": ("signed_in", {"password": "a wrong password"}, (401, "invalid_credentials")),
    "GET /auth/<provider>": ("anyone", None, (404, "not_found")),
    "GET /auth/<provider>/auth-url": ("anyone", None, (404, "not_found")),
    "GET /auth/<provider>/callback": ("anyone", None, (404, "not_found")),
    "POST /auth/exchange": ("anyone", {"code": "something", "code_verifier": "x" * 43}, (400, "link_invalid")),
    "GET /profile/identities": ("signed_in", None, (200, None)),
    "POST /profile/identities/<provider>": ("recently_signed_in", {}, (404, "not_found")),
    "DELETE /profile/identities/<provider>": ("recently_signed_in", None, (404, "not_found")),
    "GET /healthz": ("anyone", None, (200, None)),
    "GET /readyz": ("anyone", None, (200, None)),
    "GET /metrics": ("scraping", None, (404, "not_found")),
    "GET /openapi.json": ("anyone", None, (200, None)),
    "GET /docs": ("anyone", None, (200, None)),
    "GET /docs/<name>": ("anyone", None, (404, "not_found")),
}
# Rows with an id: what the owner of a factor gets there, so that the stranger's 404 says something.
OWNED = {"PATCH /mfa/<id>": 200, "DELETE /mfa/<id>": 200}
BY_NAME = {"<token>", "<name>", "<provider>"}  # Parts that are nobody's id.
TABLE = {f"{route.method} {route.urls[0]}": route for route in ROUTES}


def path_of(route, part="something"):
    return re.sub(r"<[^>]+>", part, route.urls[0])


def ask(server, name, token, part="something"):
    """What a row answers to a caller."""
    _, body, _ = ROWS[name]
    return server.request(TABLE[name].method, path_of(TABLE[name], part), body, token=token)


def over(token):
    """The same token, a minute after its end."""
    key = config.keys(config.settings.JWT_SECRET_KEY)[0]
    past = {**claims(token), "iat": int(time.time()) - 120, "exp": int(time.time()) - 60}
    return jwt.encode(past, key, "HS256", {"kid": jwt.get_unverified_header(token)["kid"]})


@pytest.fixture(scope="module")
def credentials(server):
    """Every kind of credential that stays as it is whatever the rows do with it."""
    server.sign_up("link@example.com")
    with_factor = server.member("factor@example.com")
    server.turn_on_totp(with_factor["access_token"])
    revoked = server.member()
    server.post("/logout", token=revoked["access_token"])
    deactivated = server.member("deactivated@example.com")
    accounts.deactivate("deactivated@example.com")
    return {
        "nothing": None,
        "a ticket": ticket(server, "factor@example.com"),
        "an otp_token": server.post("/send-otp", {"email": "factor@example.com"}).json["otp_token"],
        "a link": server.mailbox.last("link@example.com").path.split("/")[-1],
        "a session's id": with_factor["session_id"],
        "a word": "x",
        "a revoked access token": revoked["access_token"],
        "a revoked refresh token": revoked["refresh_token"],
        "a deactivated user's access token": deactivated["access_token"],
        "a deactivated user's refresh token": deactivated["refresh_token"],
    }


def callers(server, credentials):
    """The same, and those of a new session, which the row may end."""
    fresh = server.login("member@example.com").json
    return credentials | {
        "an access token": fresh["access_token"],
        "an old access token": aged(fresh["access_token"]),
        "an expired access token": over(fresh["access_token"]),
        "a refresh token": fresh["refresh_token"],
        "an expired refresh token": over(fresh["refresh_token"]),
    }


@pytest.fixture(scope="module", autouse=True)
def member(server):
    """A user without a factor."""
    return server.member("member@example.com")


def test_every_row_is_expected_and_nothing_else():
    assert {name: route.access.name for name, route in TABLE.items()} == {name: rule for name, (rule, _, _) in ROWS.items()}
    assert {rule.name for rule in vars(access).values() if isinstance(rule, access.Rule)} == set(RULES)
    assert {len(expected) for expected in RULES.values()} == {len(SIGNED_IN)}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_lets_in_whom_it_shall_and_nobody_else(server, credentials, name):
    rule, _, admitted = ROWS[name]
    found, expected = {}, {}
    for caller, token in callers(server, credentials).items():
        answer = ask(server, name, token)
        found[caller] = (answer.status, answer.code)
        refusal = RULES[rule][caller]
        expected[caller] = admitted if refusal is IN else (404 if refusal == "not_found" else 401, refusal)
    assert found == expected


def test_a_credential_that_is_not_good_counts_as_none_for_the_status(server, credentials):
    told = {caller: ask(server, "GET /auth/status", token).json["authenticated"] for caller, token in callers(server, credentials).items()}
    assert {caller for caller, signed_in in told.items() if signed_in} == {"an access token", "an old access token"}


@pytest.mark.parametrize("name", [name for name, route in TABLE.items() if set(re.findall(r"<[^>]+>", route.urls[0])) - BY_NAME])
def test_what_belongs_to_somebody_else_is_not_there(server, email, name):
    owner, stranger = server.member(email), server.member()
    server.turn_on_totp(owner["access_token"])
    (factor,) = server.get("/mfa", token=owner["access_token"]).json["methods"]
    refusals = {}
    for part in (factor["id"], "0" * 32):
        answer = ask(server, name, stranger["access_token"], part)
        assert (answer.status, answer.code) == (404, "not_found")
        refusals[part] = re.sub(rb'"request_id":"\w+"', b"", answer.body)
    assert len(set(refusals.values())) == 1
    assert factors_of(email) == 1
    assert server.get("/mfa", token=owner["access_token"]).json["methods"] == [factor]
    assert ask(server, name, owner["access_token"], factor["id"]).status == OWNED[name]


@pytest.mark.parametrize("name", [name for name in TABLE if name.startswith("GET ")])
def test_no_list_and_no_look_shows_a_usable_secret(server, email, name):
    tokens = server.member(email)
    totp, recovery_codes = server.turn_on_totp(tokens["access_token"])
    again = server.login(email, headers={"X-Device-Token": tokens["device_token"]}).json
    secrets = [
        tokens["access_token"],
        tokens["refresh_token"],
        tokens["device_token"],
        again["mfa_token"],
        totp.secret,
        *recovery_codes,
        "$2b$",
    ]
    shown = ask(server, name, tokens["access_token"])
    assert [secret for secret in secrets if secret in shown.text + str(shown.headers)] == []
