"""Threats 30 and 34: every row of the table of routes times every kind of caller. A row that is not named here fails."""

import re

import pytest

from domain import accounts, roles
from domain.database import transaction
from resources import access
from resources.routes import ROUTES
from tests.attacks.acts import aged, factors_of, over, ticket, user_of
from tests.authenticator import Authenticator, add_passkey
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000, "FAILED_ATTEMPTS_LIMIT": 1000}
SOMEBODY = "somebody@example.com"
IN = None  # The caller is let in: what comes then is the row's own answer.

# A new kind of caller is a line in `callers`, one here for what lets in who is signed in, and one wherever a rule says something else.
BY_STRANGERS = dict.fromkeys(("a ticket", "an otp_token", "a link", "a session's id", "a word"), "token_invalid")
SIGNED_IN = {
    "nothing": "token_missing",
    **BY_STRANGERS,
    "an access token": IN,
    "an old access token": IN,
    "an admin's access token": IN,
    "an admin's old access token": IN,
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
TOO_OLD = dict.fromkeys(("an old access token", "an admin's old access token"), "reauthentication_required")
STATUS = {"not_found": 404, "forbidden": 403}  # Of refusals; 401 for every other.
# By the parts of a rule: `expected` puts them together, so that a rule made of these needs no line of its own.
RULES = {
    "anyone": EVERYBODY,
    "whoever_signed_in": EVERYBODY,
    "scraping": dict.fromkeys(SIGNED_IN, "not_found"),  # METRICS_TOKEN is not set.
    "signed_in": SIGNED_IN,
    "recently_signed_in": SIGNED_IN | TOO_OLD,
    "recently_signed_in_or_enrolling": SIGNED_IN | TOO_OLD,  # Without a ticket.
    "with_second_factor": SIGNED_IN,
    "may": SIGNED_IN | {"an access token": "forbidden", "an old access token": "forbidden"},
    "oneself": EVERYBODY,  # Nobody asks about themselves here: the other half of the rule decides.
    "profile_reader": SIGNED_IN,
    "profile_writer": SIGNED_IN,
    "asking_service": {caller: refusal or "token_invalid" for caller, refusal in SIGNED_IN.items()},  # Users are no services.
    "perhaps_signed_in": SIGNED_IN | {"nothing": IN},
    "perhaps_signed_in_or_finishing": SIGNED_IN | {"nothing": IN},  # Without a ticket.
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
RULES |= {"asking_client": dict.fromkeys(SIGNED_IN, "invalid_client"), "forwarded": SIGNED_IN}
CODE = {"code": "123456"}
CHANGES = "recently_signed_in & with_second_factor & "
HELD = "/api/roles/user/<user_id>/service/<service_id>"
WRITES_USERS = "recently_signed_in & with_second_factor & may(users:write)"
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
    "GET /captcha": ("anyone", None, (404, "not_found")),  # CAPTCHA is off.
    "GET /profile": ("profile_reader", None, (200, None)),
    "PUT /profile": ("profile_writer", {"bio": "x"}, (200, None)),
    "PATCH /profile": ("profile_writer", {"bio": "x"}, (200, None)),
    "GET /api/auth/me": ("profile_reader", None, (200, None)),
    "DELETE /profile/picture": ("signed_in", None, (204, None)),
    "GET /uploads/profile_pictures/<name>": ("anyone", None, (404, "not_found")),
    "POST /profile/email": ("recently_signed_in", {"email": SOMEBODY}, (202, None)),
    "GET /profile/email/confirm/<token>": ("anyone", None, (200, None)),
    "POST /profile/email/confirm/<token>": ("anyone", None, (400, "link_invalid")),
    "GET /profile/email/undo/<token>": ("anyone", None, (200, None)),
    "POST /profile/email/undo/<token>": ("anyone", None, (400, "link_invalid")),
    "GET /not-me/<token>": ("anyone", None, (200, None)),
    "POST /not-me/<token>": ("anyone", None, (400, "link_invalid")),
    "DELETE /profile": ("recently_signed_in", {"email": SOMEBODY}, (400, "validation_failed")),
    "GET /profile/restore/<token>": ("anyone", None, (200, None)),
    "POST /profile/restore/<token>": ("anyone", None, (400, "link_invalid")),
    "GET /profile/export": ("recently_signed_in", None, (200, None)),
    "GET /profile/activity": ("signed_in", None, (200, None)),
    "GET /api/roles/services": ("with_second_factor & may(services:read)", None, (200, None)),
    "POST /api/roles/services": (f"{CHANGES}may(services:write)", {"name": "gatehouse"}, (409, "name_taken")),
    "PUT /api/roles/services/<service_id>": (f"{CHANGES}may(services:write)", {"name": "x", "is_active": True}, (404, "not_found")),
    "DELETE /api/roles/services/<service_id>": (f"{CHANGES}may(services:write)", None, (404, "not_found")),
    "GET /api/roles/services/user": ("signed_in", None, (200, None)),
    "GET /api/roles/service/<service_id>": ("with_second_factor & may(roles:read)", None, (404, "not_found")),
    "POST /api/roles/service/<service_id>": (f"{CHANGES}may(roles:write)", {"name": "x"}, (404, "not_found")),
    "PUT /api/roles/<role_id>": (f"{CHANGES}may(roles:write)", {"name": "x", "permissions": []}, (404, "not_found")),
    "DELETE /api/roles/<role_id>": (f"{CHANGES}may(roles:write)", None, (404, "not_found")),
    "GET /api/roles/permissions": ("with_second_factor & may(roles:read)", None, (200, None)),
    "POST /api/roles/permissions": (f"{CHANGES}may(roles:write)", {"name": "users:read"}, (409, "name_taken")),
    f"GET {HELD}": ("oneself | with_second_factor & may(roles:read)", None, (404, "not_found")),
    f"POST {HELD}/role/<role_id>": (f"{CHANGES}may(roles:write)", None, (404, "not_found")),
    f"DELETE {HELD}/role/<role_id>": (f"{CHANGES}may(roles:write)", None, (404, "not_found")),
    "GET /api/admin/users": ("with_second_factor & may(users:read)", None, (200, None)),
    "POST /api/admin/users": (WRITES_USERS, {"email": "no address"}, (400, "validation_failed")),
    "GET /api/admin/users/<id>": ("with_second_factor & may(users:read)", None, (404, "not_found")),
    "PATCH /api/admin/users/<id>": (WRITES_USERS, {"name": "x"}, (404, "not_found")),
    "DELETE /api/admin/users/<id>": (WRITES_USERS, None, (404, "not_found")),
    "POST /api/admin/users/<id>/unlock": (WRITES_USERS, None, (404, "not_found")),
    "POST /api/admin/users/<id>/reset-password": (WRITES_USERS, None, (404, "not_found")),
    "DELETE /api/admin/users/<id>/sessions": (WRITES_USERS, None, (404, "not_found")),
    "DELETE /api/admin/users/<id>/mfa": (WRITES_USERS, None, (404, "not_found")),
    "GET /api/admin/jobs": ("with_second_factor & may(jobs:read)", None, (200, None)),
    "POST /api/admin/jobs/<name>/run": ("recently_signed_in & with_second_factor & may(jobs:run)", None, (404, "not_found")),
    "POST /keys/create": ("recently_signed_in", {"expires_in_days": 91}, (400, "validation_failed")),
    "GET /keys/list": ("signed_in", None, (200, None)),
    "POST /keys/revoke/<key>": ("signed_in", None, (404, "not_found")),
    "GET /keys/status/<key>": ("signed_in", None, (404, "not_found")),
    "POST /api/tokens": (
        "recently_signed_in & with_second_factor & may(tokens:write)",
        {"service_id": "nobody", "name": "x"},
        (404, "not_found"),
    ),
    "GET /api/tokens/service/<service_id>": ("with_second_factor & may(tokens:read)", None, (404, "not_found")),
    "POST /api/tokens/<token_id>/revoke": ("with_second_factor & may(tokens:write)", None, (404, "not_found")),
    "DELETE /api/tokens/<token_id>": ("with_second_factor & may(tokens:write)", None, (404, "not_found")),
    "GET /api/tokens/validate": ("asking_service", None, (200, None)),
    "GET /api/admin/audit": ("with_second_factor & may(audit:read)", None, (200, None)),
    "GET /mfa": ("signed_in", None, (200, None)),
    "POST /mfa": ("recently_signed_in_or_enrolling", {}, (200, None)),
    "DELETE /mfa": ("recently_signed_in", CODE, (401, "reauthentication_required")),
    "PATCH /mfa/<id>": ("recently_signed_in", {"name": "x"}, (404, "not_found")),
    "DELETE /mfa/<id>": ("recently_signed_in", None, (404, "not_found")),
    "POST /mfa/recovery-codes": ("recently_signed_in", CODE, (401, "reauthentication_required")),
    "POST /send-otp": ("perhaps_signed_in", {"email": SOMEBODY}, (202, None)),
    "POST /verify-otp": ("anyone", {"otp_token": "something", **CODE}, (401, "mfa_invalid_code")),
    "POST /reauthenticate": ("signed_in", {"password": "a wrong password"}, (401, "invalid_credentials")),
    "POST /passkeys/options": ("recently_signed_in", {}, (200, None)),
    "GET /passkeys": ("signed_in", None, (200, None)),
    "POST /passkeys": ("recently_signed_in", {"credential": {}}, (400, "validation_failed")),
    "PATCH /passkeys/<id>": ("recently_signed_in", {"name": "x"}, (404, "not_found")),
    "DELETE /passkeys/<id>": ("recently_signed_in", None, (404, "not_found")),
    "POST /passkeys/sign-in/options": ("perhaps_signed_in_or_finishing", {"unknown": "x"}, (400, "validation_failed")),
    "POST /passkeys/sign-in": ("perhaps_signed_in_or_finishing", {"credential": {}}, (400, "validation_failed")),
    "GET /api/auth/sessions": ("signed_in", None, (200, None)),
    "DELETE /api/auth/sessions": ("signed_in", None, (200, None)),
    "DELETE /api/auth/sessions/<id>": ("signed_in", None, (404, "not_found")),
    "GET /api/auth/sessions/stats": ("signed_in", None, (200, None)),
    "GET /profile/devices": ("signed_in", None, (200, None)),
    "DELETE /profile/devices/<id>": ("signed_in", None, (404, "not_found")),
    "GET /auth/<provider>": ("anyone", None, (404, "not_found")),
    "GET /auth/<provider>/auth-url": ("anyone", None, (404, "not_found")),
    "GET /auth/<provider>/callback": ("anyone", None, (404, "not_found")),
    "POST /auth/<provider>/callback": ("anyone", None, (404, "not_found")),
    "POST /auth/exchange": ("anyone", {"code": "something", "code_verifier": "x" * 43}, (400, "link_invalid")),
    "GET /profile/identities": ("signed_in", None, (200, None)),
    "POST /profile/identities/<provider>": ("recently_signed_in", {}, (404, "not_found")),
    "DELETE /profile/identities/<provider>": ("recently_signed_in", None, (404, "not_found")),
    "POST /oauth/token": ("asking_client", {}, (400, "invalid_request")),
    "POST /oauth/introspect": ("asking_client", {}, (400, "invalid_request")),
    "POST /oauth/revoke": ("asking_client", {}, (400, "invalid_request")),
    "GET /verify": ("forwarded", None, (204, None)),
    "GET /.well-known/jwks.json": ("anyone", None, (200, None)),
    "GET /.well-known/oauth-authorization-server": ("anyone", None, (200, None)),
    "GET /.well-known/security.txt": ("anyone", None, (404, "not_found")),
    "GET /healthz": ("anyone", None, (200, None)),
    "GET /readyz": ("anyone", None, (200, None)),
    "GET /metrics": ("scraping", None, (404, "not_found")),
    "GET /openapi.json": ("anyone", None, (200, None)),
    "GET /docs": ("anyone", None, (200, None)),
    "GET /docs/<name>": ("anyone", None, (404, "not_found")),
}
# Rows with an id: whose ids, and what their owner gets there, so that the stranger's 404 says something.
OWNED = {
    "PATCH /mfa/<id>": ("factor", 200),
    "DELETE /mfa/<id>": ("factor", 200),
    "PATCH /passkeys/<id>": ("passkey", 200),
    "DELETE /passkeys/<id>": ("passkey", 200),
    "DELETE /api/auth/sessions/<id>": ("session", 204),
    "DELETE /profile/devices/<id>": ("device", 204),
}
BY_NAME = {"<token>", "<name>", "<provider>", "<service_id>", "<role_id>", "<user_id>"}  # Parts that are no id of one's own.
BY_NAME = {"<token>", "<name>", "<provider>", "<key>", "<token_id>", "<service_id>"}  # Nobody's ids; of <key>, `test_keys`.
TABLE = {f"{route.method} {route.urls[0]}": route for route in ROUTES}
WITH_AN_ID = [name for name, route in TABLE.items() if set(re.findall(r"<[^>]+>", route.urls[0])) - BY_NAME]


def parts_of(rule):
    """The names of what a rule is made of."""
    return [re.sub(r"\(.*\)", "", part) for part in re.split(r" & | \| ", rule)]


def expected(rule):
    """Why each caller is refused, or that they are let in: of several refusals the first, and rights are judged before proofs."""
    met = [RULES[part] for part in sorted(parts_of(rule), key=lambda part: part == "recently_signed_in")]
    return {caller: next((one[caller] for one in met if one[caller] is not IN), IN) for caller in SIGNED_IN}


def path_of(route, part="something"):
    return re.sub(r"<[^>]+>", part, route.urls[0])


def ask(server, name, token, part="something"):
    """What a row answers to a caller."""
    _, body, _ = ROWS[name]
    return server.request(TABLE[name].method, path_of(TABLE[name], part), body, token=token)


def belongings(server, tokens):
    """The one factor, passkey, session and device of a user, as they see them."""
    lists = {
        "factor": "/mfa methods",
        "passkey": "/passkeys passkeys",
        "session": "/api/auth/sessions sessions",
        "device": "/profile/devices devices",
    }
    found = {}
    for kind, (path, field) in ((kind, words.split()) for kind, words in lists.items()):
        (found[kind],) = server.get(path, token=tokens["access_token"]).json[field]
    found["session"].pop("last_seen_at")
    return found


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
    admin = server.login("admin@example.com").json["access_token"]
    return credentials | {
        "an access token": fresh["access_token"],
        "an old access token": aged(fresh["access_token"]),
        "an admin's access token": admin,
        "an admin's old access token": aged(admin),
        "an expired access token": over(fresh["access_token"]),
        "a refresh token": fresh["refresh_token"],
        "an expired refresh token": over(fresh["refresh_token"]),
    }


@pytest.fixture(scope="module", autouse=True)
def member(server):
    """A user without a factor, and an administrator."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    return server.member("member@example.com")


def test_every_row_is_expected_and_nothing_else():
    assert {name: route.access.name for name, route in TABLE.items()} == {name: rule for name, (rule, _, _) in ROWS.items()}
    named = {rule.name for rule in vars(access).values() if isinstance(rule, access.Rule)}
    assert named | {part for rule, _, _ in ROWS.values() for part in parts_of(rule)} == set(RULES)
    assert {len(expected) for expected in RULES.values()} == {len(SIGNED_IN)}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_lets_in_whom_it_shall_and_nobody_else(server, credentials, name):
    rule, _, admitted = ROWS[name]
    found, wanted, refusals = {}, {}, expected(rule)
    for caller, token in callers(server, credentials).items():
        answer = ask(server, name, token)
        found[caller] = (answer.status, answer.code)
        refusal = refusals[caller]
        wanted[caller] = admitted if refusal is IN else (STATUS.get(refusal, 401), refusal)
    assert found == wanted


def test_a_credential_that_is_not_good_counts_as_none_for_the_status(server, credentials):
    told = {caller: ask(server, "GET /auth/status", token).json["authenticated"] for caller, token in callers(server, credentials).items()}
    assert {caller for caller, signed_in in told.items() if signed_in} == {
        "an access token",
        "an old access token",
        "an admin's access token",
        "an admin's old access token",
    }


@pytest.mark.parametrize("name", [name for name in WITH_AN_ID if "may(" not in TABLE[name].access.name])
def test_what_belongs_to_somebody_else_is_not_there(server, email, name):
    owner, stranger = server.member(email), server.member()
    server.turn_on_totp(owner["access_token"])
    add_passkey(server, owner["access_token"], Authenticator("https://app.example.com"))
    before = belongings(server, owner)
    kind, admitted = OWNED[name]
    refusals = {}
    for part in (before[kind]["id"], "0" * 32):
        answer = ask(server, name, stranger["access_token"], part)
        assert (answer.status, answer.code) == (404, "not_found")
        refusals[part] = re.sub(rb'"request_id":"\w+"', b"", answer.body)
    assert len(set(refusals.values())) == 1
    assert factors_of(email) == 1
    assert belongings(server, owner) == before
    assert ask(server, name, owner["access_token"], before[kind]["id"]).status == admitted


@pytest.mark.parametrize("name", [name for name in TABLE if name.startswith("GET ")])
def test_no_list_and_no_look_shows_a_usable_secret(server, email, name):
    tokens = server.member(email)
    with transaction() as db:
        roles.make_admin(db, user_of(email))  # Who sees the most.
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
