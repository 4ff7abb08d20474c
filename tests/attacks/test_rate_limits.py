"""Threat 12: limits by address, in one process; `test_rate_limits_of_all_workers` has the same for several."""

import pytest

from domain import activity, cache, database, limits
from resources.routes import ROUTES
from tests.attacks.acts import OTHER, account
from tests.attacks.strangers import FLOWS, everybody, told
from tests.conftest import opened
from tests.mailbox import Mailbox
from tests.serving import free_port
from tests.visitor import PASSWORD, Visitor, in_process

pytestmark = pytest.mark.settings(RATE_LIMIT_ENABLED=True)
SENSITIVE = 5
WHO = {"email": "somebody@example.com"}
# What a stranger sends to each operation that has a budget of its own: every address and form of it.
ANSWER = {"clientDataJSON": "AA", "authenticatorData": "AA", "signature": "AA"}
SHOWN = {"id": "AA", "rawId": "AA", "type": "public-key", "response": ANSWER}
CALLS = {
    limits.LOGIN: [(path, {**WHO, "password": OTHER}) for path in ("/login", "/api/auth/login", "/auth/login")],
    limits.SEND_OTP: [("/send-otp", WHO), ("/send-otp", {"mfa_token": "x", "method": "email"}), ("/send-otp", {"method": "email"})],
    limits.VERIFY_OTP: [
        ("/verify-otp", {"otp_token": "x", "code": "1"}),
        ("/verify-otp", {"mfa_token": "x", "method": "totp", "code": "1"}),
    ],
    limits.ENROL: [
        ("/mfa", {"mfa_token": "x"}),
        ("/mfa", {"mfa_token": "x", "code": "1"}),
        ("/mfa", {"mfa_token": "x", "method": "email"}),
    ],
    limits.PASSKEY: [("/passkeys/sign-in", {"credential": SHOWN}), ("/passkeys/sign-in", {"credential": SHOWN, "mfa_token": "x"})],
    limits.RESEND: [("/resend-confirmation", WHO)],
    limits.FORGOT: [("/forgot-password", WHO), ("/api/password/forgot", WHO)],
    limits.CONFIRM: [("/confirm", {**WHO, "code": "1"}), ("/confirm/some-token", None), ("/api/auth/verify-email/another-token", None)],
    limits.RESET: [
        ("/reset-password/some-token", {"password": PASSWORD}),
        ("/api/password/reset", {"token": "another-token", "password": PASSWORD}),
        ("/reset-password/a-third-token", {"password": PASSWORD}),
    ],
}
CLAIMS_TO_BE_SOMEBODY = (
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Originating-IP",
    "X-Remote-Addr",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Client-IP",
    "Via",
)


@pytest.mark.parametrize("name", CALLS)
def test_a_sensitive_operation_takes_five_a_minute_under_all_of_its_addresses(house, name):
    answers = [house.post(*CALLS[name][number % len(CALLS[name])]) for number in range(SENSITIVE + 3)]
    assert [one.status == 429 for one in answers] == [False] * SENSITIVE + [True] * 3
    assert answers[-1].code == "rate_limited"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 61


def test_every_operation_with_a_budget_of_its_own_is_attacked_here():
    named = {row.limit for row in ROUTES} - {None, limits.FREE, limits.EXCHANGE, limits.CAPTCHA}  # The last is a GET: `test_captcha`.
    assert named == set(CALLS)


def test_one_operations_budget_is_not_anothers(house):
    for calls in CALLS.values():
        assert house.post(*calls[0]).code != "rate_limited"


def test_other_spellings_of_an_address_are_the_same_operation_or_none(house):
    body = {**WHO, "password": OTHER}
    for path in ("/login", "/login/", "/%6cogin", "/api/auth/login/", "/auth/login"):
        assert house.post(path, body).code == "invalid_credentials"
    for path in ("/login", "/login/", "/%6cogin", "/api/auth/login/", "/login?x=1", "/login%2f"):
        assert house.post(path, body).code == "rate_limited"
    for path in (
        "//login",
        "/./login",
        "/x/../login",
        "/LOGIN",
        "/Login",
        "/login//",
        "/login;x=1",
        "/login%00",
        "/login.json",
    ):
        assert house.post(path, body).status in (404, 405, 308), path
    assert house.request("HEAD", "/login").status == 405
    for name in ("X-HTTP-Method-Override", "X-Method-Override"):
        assert house.get("/login", headers={name: "POST"}).status == 405


@pytest.mark.parametrize("name", CLAIMS_TO_BE_SOMEBODY)
def test_no_header_of_a_direct_client_says_who_it_is(house, name):
    answers = [house.login("a@example.com", headers={name: f"198.51.100.{number}"}) for number in range(SENSITIVE + 1)]
    assert answers[-1].code == "rate_limited"


def test_forwarded_says_nothing_either(house):
    claims = [{"Forwarded": f"for=198.51.100.{number};proto=https;host=example.com"} for number in range(SENSITIVE + 1)]
    assert [house.login("a@example.com", headers=claim) for claim in claims][-1].code == "rate_limited"


@pytest.mark.settings(TRUSTED_PROXIES=1)
def test_behind_a_proxy_the_right_most_address_counts(house):
    made_up = [f"203.0.113.{number}, 198.51.100.7" for number in range(SENSITIVE + 1)]
    answers = [house.login("a@example.com", headers={"X-Forwarded-For": one}) for one in made_up]
    assert answers[-1].code == "rate_limited"
    assert house.login("b@example.com", headers={"X-Forwarded-For": "198.51.100.7, 198.51.100.8"}).code == "invalid_credentials"
    assert house.login("b@example.com").code == "invalid_credentials"  # Without the header it is the proxy itself that asks.


@pytest.mark.settings(TRUSTED_PROXIES=2)
def test_behind_two_proxies_the_second_from_the_right_counts(house):
    made_up = [f"203.0.113.{number}, 198.51.100.7, 192.0.2.1" for number in range(SENSITIVE + 1)]
    answers = [house.login("a@example.com", headers={"X-Forwarded-For": one}) for one in made_up]
    assert answers[-1].code == "rate_limited"
    too_few = [house.login("b@example.com", headers={"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(SENSITIVE + 1)]
    assert too_few[-1].code == "rate_limited"


def test_an_ipv6_network_is_one_address(house):
    in_one = [f"2001:db8:0:1:{number:x}::1" for number in range(SENSITIVE + 1)]
    assert [_from(house, one) for one in in_one][-1].code == "rate_limited"
    assert _from(house, "2001:db8:0:2::1").code != "rate_limited"


def test_an_ipv4_address_written_as_ipv6_is_the_same_address(house):
    for one in ("198.51.100.7", "::ffff:198.51.100.7", "::ffff:c633:6407", "198.51.100.7", "::ffff:198.51.100.7"):
        assert _from(house, one).code != "rate_limited"
    assert {_from(house, one).code for one in ("198.51.100.7", "::ffff:198.51.100.7")} == {"rate_limited"}
    assert _from(house, "::ffff:198.51.100.8").code != "rate_limited"


def test_a_stranger_has_fifty_requests_an_hour_over_all_operations(house):
    kinds = [
        lambda: house.get("/password-policy"),
        lambda: house.get("/profile", token="garbage"),
        lambda: house.post("/signup", {}),
        lambda: house.post("/refresh"),
        lambda: house.get("/reset-password/some-token"),
    ]
    assert 429 not in {kinds[number % 5]().status for number in range(50)}
    refused = [kind() for kind in kinds]
    assert {one.code for one in refused} == {"rate_limited"}
    assert int(refused[0].headers["Retry-After"]) > 60
    assert house.get("/healthz").status == 200
    assert house.get("/auth/status").json == {"authenticated": False}


def test_who_is_signed_in_is_not_counted_with_the_strangers_at_the_same_address(house, email):
    account(email)
    tokens = house.login(email).json
    assert [house.get("/password-policy").status for _ in range(60)][-1] == 429
    assert house.get("/mfa", token=tokens["access_token"]).status == 200
    assert house.post("/refresh", token=tokens["refresh_token"]).status == 200
    assert house.get("/mfa", token=tokens["access_token"] + "x").code == "rate_limited"
    assert house.get("/mfa", token=tokens["refresh_token"]).code == "rate_limited"


@pytest.mark.settings(RATE_LIMIT_REQUESTS=8, RATE_LIMIT_WINDOW=10**9)  # A window that nobody sees the end of.
def test_a_user_has_one_budget_for_all_sessions(house, email):
    account(email)
    tokens = [house.login(email).json["access_token"] for _ in range(2)]
    answers = [house.get("/mfa", token=tokens[number % 2]) for number in range(10)]
    assert [one.code for one in answers] == [None] * 8 + ["rate_limited"] * 2
    account(f"other.{email}")
    assert house.get("/mfa", token=house.login(f"other.{email}").json["access_token"]).status == 200


@pytest.mark.parametrize("flow", FLOWS)
def test_the_limits_do_not_tell_what_an_address_has(house, email, flow):
    whos = everybody(_asking_from(house, *(f"198.51.{number // 250}.{number % 250}" for number in range(500))), email)
    asking = {who: _asking_from(house, *[f"203.0.113.{number}"] * 100) for number, who in enumerate(whos.values())}
    for _ in range(SENSITIVE + 2):
        told(whos, lambda who: FLOWS[flow].act(asking[who], who))


@pytest.fixture
def lonely(settings):
    """A house whose Redis does not answer."""
    app = opened(settings | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"})
    yield Visitor(in_process(app), Mailbox())
    activity.forget()
    cache.client.close()
    database.disconnect()


def test_without_its_redis_a_process_is_stricter_and_never_fails(lonely, email):
    account(email)
    first, *later = [lonely.login(email) for _ in range(4)]
    assert first.status == 200
    assert [one.code for one in later] == ["rate_limited"] * 3
    policies = [lonely.get("/password-policy").status for _ in range(20)]
    assert set(policies) == {200, 429}
    assert policies.count(200) + 4 == 50 // 4
    assert lonely.get("/mfa", token=first.json["access_token"]).status == 200
    assert lonely.get("/healthz").status == 200


@pytest.mark.settings(RATE_LIMIT_REQUESTS=8)
def test_without_its_redis_a_process_is_stricter_with_users_too(lonely, email):
    account(email)
    token = lonely.login(email).json["access_token"]
    assert [lonely.get("/mfa", token=token).code for _ in range(4)] == [None, None, "rate_limited", "rate_limited"]


@pytest.mark.settings(RATE_LIMIT_ENABLED=False)
def test_switched_off_the_limits_by_address_are_off_and_the_failure_budgets_are_not(house, email):
    assert {house.get("/password-policy").status for _ in range(60)} == {200}
    codes = [house.login(email).code for _ in range(6)]
    assert codes == ["invalid_credentials"] * 5 + ["too_many_attempts"]


def _from(house, address):
    return house.post("/verify-otp", {"otp_token": "x", "code": "1"}, environ_overrides={"REMOTE_ADDR": address})


def _asking_from(house, *addresses):
    """A visitor whose every request comes from the next of these addresses."""
    place = iter(addresses)
    return Visitor(lambda *what, **more: house._send(*what, environ_overrides={"REMOTE_ADDR": next(place)}, **more), house.mailbox)
