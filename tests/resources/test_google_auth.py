"""Sign-in by Google, as a client sees it, with a stand-in that keeps to the rules; the hostile ones are in tests/attacks."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import select

from domain import accounts
from domain.database import reading
from model import AuditEvent, Identity, SocialFlow
from tests.attacks.acts import count, user_of
from tests.provider import FRONT_END, MISSING, Provider, away, come_back, exchange, query_of, s256, sign_in
from tests.visitor import code_of

VERIFIER = "a-verifier-that-is-long-enough-to-be-one-of-them"


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider


@pytest.fixture
def settings(settings, google):
    return {**google.settings, **settings}


def query_sent(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# The way out.


@pytest.mark.parametrize("start", ["/auth/google", "/api/oauth/google"])
def test_the_start_sends_the_browser_out_with_state_nonce_and_pkce(house, google, start):
    answer = house.get(start)
    assert (answer.status, answer.headers["Cache-Control"]) == (302, "no-store")
    sent = query_sent(answer.headers["Location"])
    assert answer.headers["Location"].startswith(f"{google.issuer}/authorize?")
    assert (sent["response_type"], sent["code_challenge_method"], sent["scope"]) == ("code", "S256", "openid email profile")
    assert sent["redirect_uri"] == "http://127.0.0.1:5000/auth/google/callback"
    assert len({sent["state"], sent["nonce"], sent["code_challenge"]}) == 3
    again = query_sent(house.get(start).headers["Location"])
    assert {sent[name] for name in ("state", "nonce", "code_challenge")}.isdisjoint(again.values())


def test_the_start_is_bound_to_the_browser_by_a_cookie_that_no_script_reads(house):
    cookie = house.get("/auth/google").headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert house.get("/auth/google/auth-url").cookies.keys()


@pytest.mark.settings(BASE_URL="https://auth.example.com")
def test_under_https_the_cookie_belongs_to_this_host_alone(house):
    answer = house.get("/auth/google")
    assert answer.headers["Set-Cookie"].startswith("__Host-social_")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert query_sent(answer.headers["Location"])["redirect_uri"] == "https://auth.example.com/auth/google/callback"


def test_a_start_for_a_front_end_sets_no_cookie_and_needs_a_challenge(house):
    answer = house.get("/auth/google?" + urlencode({"redirect_to": FRONT_END, "code_challenge": s256(VERIFIER)}))
    assert (answer.status, answer.cookies) == (302, {})
    for challenge in ({}, {"code_challenge": ""}, {"code_challenge": "too-short"}, {"code_challenge": "x" * 42 + "="}):
        refused = house.get("/auth/google?" + urlencode({"redirect_to": FRONT_END, **challenge}))
        assert (refused.code, refused.json["errors"][0]["field"]) == ("validation_failed", "code_challenge")


@pytest.mark.parametrize("path", ["/auth/other", "/auth/other/auth-url", "/auth/other/callback", "/auth/login", "/api/oauth/GOOGLE"])
def test_a_provider_that_is_not_there_is_not_found(house, path):
    assert house.get(path).code == "not_found"


@pytest.mark.settings(GOOGLE_CLIENT_ID="")
def test_a_provider_that_is_not_configured_is_not_found(house, email):
    assert {house.get(f"/auth/google{more}").status for more in ("", "/auth-url", "/callback")} == {404}
    token = house.member(email)["access_token"]
    assert house.post("/profile/identities/google", {}, token=token).status == 404


def test_the_reserved_names_keep_their_own_resources(house, email):
    token = house.member(email)["access_token"]
    assert house.get("/auth/status", token=token).json["authenticated"] is True
    assert house.get("/auth/logout", token=token).json == {"status": "signed_out"}
    assert house.get("/auth/exchange").status == 404


# The way back.


def test_a_new_visitor_with_a_vouched_address_gets_an_account(house, google):
    answer = sign_in(house, google)
    assert (answer.status, answer.json["status"], answer.headers["Cache-Control"]) == (200, "signed_in", "no-store")
    user = answer.json["user"]
    assert (user["email"], user["name"], user["email_confirmed"]) == ("robin@example.com", "Robin", True)
    assert house.mailbox.of("robin@example.com") == []
    assert house.get("/mfa", token=answer.json["access_token"]).status == 200


def test_the_same_visitor_comes_back_to_the_same_account_whatever_the_address_is_now(house, google):
    first = sign_in(house, google).json["user"]["id"]
    for said in ({"email": "new@example.com"}, {"email_verified": False}, {"email": MISSING}, {"email": "no address"}):
        google.says = said
        assert sign_in(house, google).json["user"]["id"] == first
    assert user_of("robin@example.com").id == first


def test_a_vouched_address_joins_its_account_and_the_owner_is_told(house, google):
    member = house.member("robin@example.com")
    google.says = {"email": "Robin@EXAMPLE.com"}
    answer = sign_in(house, google)
    assert answer.json["user"]["id"] == member["user"]["id"]
    (letter,) = [one for one in house.mailbox.of("robin@example.com") if one.subject == "A way to sign in was added"]
    assert "Google" in letter.text
    sign_in(house, google)
    assert house.mailbox.subjects("robin@example.com").count(letter.subject) == 1
    assert house.login("robin@example.com").status == 200


@pytest.mark.parametrize("callback", ["/api/oauth/google/callback", "/auth/google/login/callback"])
def test_the_callbacks_of_earlier_systems_serve_too(house, google, callback):
    begun = house.get("/auth/google")
    back = google.visit(begun.headers["Location"]).replace("/auth/google/callback", callback)
    assert house.get(back, cookies=begun.cookies).json["status"] == "signed_in"


def test_two_windows_of_one_browser_do_not_mix(house, google):
    first, second = house.get("/auth/google"), house.get("/auth/google")
    jar = {**first.cookies, **second.cookies}
    for begun in (first, second):
        assert house.get(google.visit(begun.headers["Location"]), cookies=jar).json["status"] == "signed_in"


def test_a_second_factor_is_asked_after_it(house, google):
    app, _ = house.turn_on_totp(sign_in(house, google).json["access_token"])
    waiting = sign_in(house, google).json
    assert (waiting["status"], waiting["methods"]) == ("mfa_required", ["totp", "recovery_code"])
    answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "totp", "code": code_of(app)})
    assert answer.json["status"] == "signed_in"


def test_an_account_that_is_switched_off_stays_so(house, google):
    sign_in(house, google)
    accounts.deactivate("robin@example.com")
    assert (sign_in(house, google).status, sign_in(house, google).code) == (403, "account_disabled")
    assert come_back(house, google)[0] == {"error": "account_disabled"}
    refused = (AuditEvent.action == "sign_in", AuditEvent.result == "account_disabled", AuditEvent.name == "robin@example.com")
    assert count(AuditEvent, *refused) == 3


def test_an_account_that_is_switched_off_is_not_joined(house, google, email):
    house.join(email)
    accounts.deactivate(email)
    google.says = {"email": email}
    assert sign_in(house, google).code == "account_disabled"
    assert count(Identity) == 0


def test_a_second_identity_of_one_provider_does_not_join(house, google):
    sign_in(house, google)
    google.says = {"sub": "somebody-else"}
    assert (sign_in(house, google).status, sign_in(house, google).code) == (409, "link_taken")
    assert come_back(house, google)[0] == {"error": "link_taken"}


@pytest.mark.parametrize("email", [MISSING, None, "", "robin", "robin@", "a@b@example.com", "ro bin@example.com", ["robin@example.com"], 1])
def test_a_stranger_without_a_usable_address_is_refused(house, google, email):
    google.says = {"email": email}
    assert (sign_in(house, google).status, sign_in(house, google).code) == (400, "provider_failed")
    assert come_back(house, google)[0] == {"error": "failed"}


def test_a_name_that_no_database_takes_does_no_harm(house, google):
    google.says = {"name": "Ro\u0000bin \ud800 \u202e" + "x" * 500}
    assert sign_in(house, google).json["user"]["name"].startswith("Robin xxx")


# By a front end.


def test_a_front_end_trades_its_code_for_tokens_once(house, google):
    given, verifier = come_back(house, google)
    assert set(given) == {"code"}
    answer = exchange(house, given["code"], verifier)
    assert (answer.status, answer.json["user"]["email"]) == (200, "robin@example.com")
    assert (exchange(house, given["code"], verifier).status, exchange(house, given["code"], verifier).code) == (400, "token_used")


def test_a_front_end_may_have_its_tokens_as_cookies(house, google):
    given, verifier = come_back(house, google)
    answer = exchange(house, given["code"], verifier, cookies=True)
    assert "access_token" not in answer.json
    assert "access_token_cookie" in answer.cookies


def test_what_the_front_end_has_in_its_address_stays(house, google):
    given, verifier = come_back(house, google, "https://app.example.com/in?lang=de&x=%20")
    assert (given["lang"], given["x"]) == ("de", " ")
    assert exchange(house, given["code"], verifier).status == 200


def test_a_wrong_verifier_spends_the_code(house, google):
    given, verifier = come_back(house, google)
    assert exchange(house, given["code"], VERIFIER).code == "link_invalid"
    assert exchange(house, given["code"], verifier).code == "token_used"
    assert house.post("/auth/exchange", {"code": given["code"]}).code == "validation_failed"


def test_an_unknown_code_and_one_that_is_over_are_refused(house, google, moved_clock):
    given, verifier = come_back(house, google)
    assert exchange(house, "unknown", verifier).code == "link_invalid"
    moved_clock(61)
    assert exchange(house, given["code"], verifier).code == "link_invalid"


def test_a_second_factor_is_asked_of_a_front_end_too(house, google):
    house.turn_on_totp(sign_in(house, google).json["access_token"])
    given, verifier = come_back(house, google)
    assert exchange(house, given["code"], verifier).json["status"] == "mfa_required"


def test_who_was_switched_off_meanwhile_is_refused_at_the_exchange(house, google):
    sign_in(house, google)
    given, verifier = come_back(house, google)
    accounts.deactivate("robin@example.com")
    assert exchange(house, given["code"], verifier).code == "account_disabled"


def test_what_the_provider_said_is_forgotten_once_it_is_used(house, google):
    given, verifier = come_back(house, google)
    assert count(SocialFlow, SocialFlow.identity.is_not(None)) == 1
    exchange(house, given["code"], verifier)
    with reading() as db:
        assert [flow.identity for flow in db.scalars(select(SocialFlow))] == [None]


# Errors on the way.


def test_a_user_who_says_no_is_told_so(house, google):
    begun = house.get("/auth/google")
    state = query_sent(begun.headers["Location"])["state"]
    refused = house.get(f"/auth/google/callback?error=access_denied&state={state}", cookies=begun.cookies)
    assert (refused.status, refused.code) == (400, "provider_failed")
    for error, word in (("access_denied", "access_denied"), ("server_error", "failed"), ("<script>", "failed")):
        query = urlencode({"redirect_to": FRONT_END, "code_challenge": s256(VERIFIER)})
        state = query_sent(house.get(f"/auth/google?{query}").headers["Location"])["state"]
        answer = house.get("/auth/google/callback?" + urlencode({"error": error, "state": state, "code": "anything"}))
        assert (answer.status, query_of(answer)) == (302, {"error": word})


def test_a_return_that_belongs_to_no_start_is_refused(house):
    for query in ("", "?state=", "?code=a", "?state=unknown&code=a", "?state=%00&code=%00", "?state=%ff&code=a"):
        assert (house.get(f"/auth/google/callback{query}").status, house.get(f"/auth/google/callback{query}").code) == (
            400,
            "provider_failed",
        )


def test_a_start_is_over_in_time(house, google, moved_clock):
    begun = house.get("/auth/google")
    back = google.visit(begun.headers["Location"])
    moved_clock(601)
    assert house.get(back, cookies=begun.cookies).code == "provider_failed"


def test_a_provider_that_is_away_is_told(house, google):
    with away(google, "openid-configuration"):
        for path in ("/auth/google", "/auth/google/auth-url"):
            answer = house.get(path)
            assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "30")
    assert house.get("/auth/google").status == 302  # What failed is not remembered.
    with away(google, "token"):
        assert sign_in(house, google).code == "unavailable"
        assert come_back(house, google)[0] == {"error": "provider_unavailable"}
    with away(google, "token", 400, {"error": "invalid_grant"}):
        assert sign_in(house, google).code == "provider_failed"
        assert come_back(house, google)[0] == {"error": "failed"}
