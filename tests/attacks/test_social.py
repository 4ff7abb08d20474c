"""Threats 1, 2, 31, 32 and 33: hostile visitors and hostile providers, against the real server with several workers."""

import base64
import hmac
import json
import time
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import OctKey
from sqlalchemy import delete, update

from domain import accounts, clock
from domain.database import new_id, transaction
from model import Identity, SocialFlow, User
from tests.attacks.acts import account, aged, count, live_sessions_of, mails_of, statuses, user_of
from tests.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    FRONT_END,
    MISSING,
    Provider,
    away,
    come_back,
    exchange,
    new_key,
    s256,
    sign_in,
)
from tests.serving import at_once

SETTINGS: dict[str, str] = {}
ATTACKERS = "the attacker's password"


@pytest.fixture(scope="module", autouse=True)
def provider():
    """Google, for the server of this module, which is started after it."""
    with Provider() as running:
        SETTINGS.update(running.settings)
        yield running


@pytest.fixture
def google(provider, email):
    """Google, honest again for each test, with a user that no other test has."""
    provider.says = {"sub": new_id(), "email": email}
    provider.signs, provider.published, provider.described, provider.is_forgetful = provider.sign, None, {}, False
    return provider


def refused(answer, code="provider_failed", status=400):
    return (answer.status, answer.code) == (status, code)


def nobody_came_in(email):
    """Neither an account nor an identity came of it."""
    return not count(User, User.email == email) and not count(Identity, Identity.email == email)


# 1: somebody was there before with this address.


def test_who_signed_up_first_with_somebody_elses_address_gains_nothing(server, google, email):
    server.sign_up(email, ATTACKERS, username=f"u{email[5:13]}", name="Attacker")
    before = server.mailbox.last(email)
    asked = server.post("/send-otp", {"email": email}).json["otp_token"]
    google.says["email_verified"] = False
    other_identity = {**google.says, "sub": new_id()}
    google.says = other_identity
    waiting = sign_in(server, google).json
    assert waiting["status"] == "confirmation_required"

    google.says = {**other_identity, "sub": new_id(), "email_verified": True}
    victim = sign_in(server, google).json
    assert (victim["status"], victim["user"]["username"], victim["user"]["name"]) == ("signed_in", None, "Robin")

    assert server.login(email, ATTACKERS).code == "invalid_credentials"
    assert server.post(before.path).code == "link_invalid"
    assert server.post("/confirm", {"email": email, "code": before.code}).code == "mfa_invalid_code"
    assert server.post("/verify-otp", {"otp_token": asked, "code": "000000"}).code == "mfa_invalid_code"
    guess = {"mfa_token": waiting["mfa_token"], "method": "email", "code": "000000"}
    assert server.post("/verify-otp", guess).code == "mfa_invalid_code"
    google.says = other_identity
    assert sign_in(server, google).json["status"] == "confirmation_required"
    assert user_of(email).password_hash is None
    assert live_sessions_of(email) == 1


def test_an_attempt_that_waits_ends_when_a_provider_vouches_for_the_address(server, google, email):
    server.sign_up(email, ATTACKERS)
    server.sign_up(email, ATTACKERS + "!")
    assert sign_in(server, google).status == 200
    assert mails_of(email, "queued") == 0  # Its mails, which had not left yet, never do.
    assert {server.login(email, one).code for one in (ATTACKERS, ATTACKERS + "!")} == {"invalid_credentials"}


# 2: what counts as vouched for, and as somebody.


@pytest.mark.parametrize("verified", [False, MISSING, None, "false", "true", "True", 1, 1.0, [True], {"value": True}], ids=str)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "free"])
def test_only_the_boolean_true_vouches_for_an_address(server, google, email, verified, taken):
    if taken:
        account(email)
    google.says["email_verified"] = verified
    answer = sign_in(server, google)
    assert (answer.status, answer.json["status"], answer.json["methods"]) == (200, "confirmation_required", ["email"])
    assert set(answer.json) == {"status", "mfa_token", "methods", "expires_in"}
    assert count(Identity, Identity.sub == google.says["sub"]) == 0
    assert count(User, User.email == email) == int(taken)
    given, verifier = come_back(server, google)
    assert exchange(server, given["code"], verifier).json["status"] == "confirmation_required"


@pytest.mark.parametrize(
    "sub",
    [MISSING, None, "", 0, 1, 1234, True, [], ["a"], {}, " ", "a ", " a", "\t", "a\u0000", "\u0430", "x" * 256],
    ids=lambda sub: ascii(sub)[:20],
)
def test_without_a_subject_nobody_is_anybody(server, google, email, sub):
    google.says["sub"] = sub
    assert refused(sign_in(server, google))
    google.says["email"] = "second-" + email
    assert refused(sign_in(server, google))
    assert come_back(server, google)[0] == {"error": "failed"}
    assert nobody_came_in(email)
    assert nobody_came_in("second-" + email)


def test_two_people_with_subjects_that_look_alike_are_two(server, google, email):
    sub = "Ab" + google.says["sub"]
    users = set()
    for number, one in enumerate((sub, sub.lower(), sub + "0")):
        google.says = {"sub": one, "email": f"{number}-{email}"}
        users.add(sign_in(server, google).json["user"]["id"])
    assert len(users) == 3


def test_an_address_in_other_spellings_is_the_same_account(server, google, email):
    user = account(email)
    for spelling in (email.upper(), email.replace("@example.com", "@EXAMPLE.com")):
        google.says["email"] = spelling
        assert sign_in(server, google).json["user"]["id"] == user
    for lookalike in (email.replace("u", "\uff55", 1), email + ".", email.replace("@", "@@"), email.replace("e", "\u200be", 1)):
        google.says = {"sub": new_id(), "email": lookalike}
        assert refused(sign_in(server, google))


def test_a_burst_of_first_visits_makes_one_account(server, google, email):
    starts = [server.get("/auth/google") for _ in range(20)]
    backs = [google.visit(one.headers["Location"]) for one in starts]
    answers = at_once(20, lambda n: server.get(backs[n], cookies=starts[n].cookies))
    assert statuses(answers) == {200: 20}
    assert len({one.json["user"]["id"] for one in answers}) == 1
    assert count(Identity, Identity.sub == google.says["sub"]) == count(User, User.email == email) == 1


def test_a_burst_of_first_visits_joins_one_account_once(server, google, email):
    user = account(email)
    starts = [server.get("/auth/google") for _ in range(20)]
    backs = [google.visit(one.headers["Location"]) for one in starts]
    answers = at_once(20, lambda n: server.get(backs[n], cookies=starts[n].cookies))
    assert statuses(answers) == {200: 20}
    assert {one.json["user"]["id"] for one in answers} == {user}
    assert mails_of(email) == 1


# 31: state.


def test_a_state_belongs_to_the_browser_that_began(server, google, email):
    mine, other = server.get("/auth/google"), server.get("/auth/google")
    back = google.visit(mine.headers["Location"])
    stolen = dict(zip(mine.cookies, other.cookies.values(), strict=True))
    for cookies in ({}, other.cookies, stolen, dict.fromkeys(mine.cookies, "")):
        assert refused(server.get(back, cookies=cookies))
    assert nobody_came_in(email)
    assert server.get(back, cookies=mine.cookies).json["status"] == "signed_in"  # Strangers have not used it up.


def test_a_state_belongs_to_its_provider(server, google, email):
    begun = server.get("/auth/google")
    back = google.visit(begun.headers["Location"])
    move_visits("another")
    assert refused(server.get(back, cookies=begun.cookies))
    assert refused(server.get(back.replace("google", "another"), cookies=begun.cookies), "not_found", 404)
    assert nobody_came_in(email)
    move_visits("google")
    assert server.get(back, cookies=begun.cookies).json["status"] == "signed_in"  # The other one has not used it up.


def move_visits(provider):
    """As if every visit that is under way had begun for this provider."""
    with transaction() as db:
        db.execute(update(SocialFlow).where(SocialFlow.used_at.is_(None)).values(provider=provider))


def test_a_state_is_used_once_however_many_bring_it(server, google):
    google.is_forgetful = True  # It would trade its own code any number of times.
    for _ in range(5):
        begun = server.get("/auth/google")
        back = google.visit(begun.headers["Location"])
        answers = at_once(20, lambda _, back=back, begun=begun: server.get(back, cookies=begun.cookies))
        assert statuses(answers) == {200: 1, 400: 19}
        assert refused(server.get(back, cookies=begun.cookies))


def test_a_state_is_used_up_by_a_failure_too(server, google):
    begun = server.get("/auth/google")
    back = google.visit(begun.headers["Location"])
    with away(google, "token"):
        assert refused(server.get(back, cookies=begun.cookies), "unavailable", 503)
    assert refused(server.get(back, cookies=begun.cookies))


def test_a_code_that_was_made_for_another_visit_is_refused(server, google, email):
    mine, other = server.get("/auth/google"), server.get("/auth/google")
    codes = [query_of_back(google.visit(one.headers["Location"])) for one in (mine, other)]
    swapped = {**codes[0], "code": codes[1]["code"]}
    assert refused(server.get("/auth/google/callback?" + urlencode(swapped), cookies=mine.cookies))
    assert nobody_came_in(email)


def test_an_answer_of_another_issuer_is_refused(server, google, email):
    begun = server.get("/auth/google")
    sent = query_of_back(google.visit(begun.headers["Location"])) | {"iss": "https://other.example"}
    assert refused(server.get("/auth/google/callback?" + urlencode(sent), cookies=begun.cookies))
    assert google.asked[-1][0] != "token"
    assert nobody_came_in(email)


def query_of_back(back):
    return dict(parse_qsl(back.split("?")[1]))


# 31: the hand-over.


def test_a_code_is_traded_once_however_many_bring_it(server, google):
    for _ in range(5):
        given, verifier = come_back(server, google)
        answers = at_once(20, lambda _, code=given["code"], verifier=verifier: exchange(server, code, verifier))
        assert statuses(answers) == {200: 1, 400: 19}
        assert {one.code for one in answers if one.status == 400} == {"token_used"}


def test_a_code_without_its_verifier_is_worth_nothing(server, google, email):
    given, verifier = come_back(server, google)
    assert refused(exchange(server, given["code"], s256(verifier)), "link_invalid")
    assert refused(exchange(server, given["code"], verifier), "token_used")
    assert nobody_came_in(email)
    for code in ("", " ", "x" * 43, quote(given["code"]) + "="):
        assert exchange(server, code, verifier).status == 400


def test_one_start_hands_over_nothing_to_another(server, google):
    (_, first), (given, _) = come_back(server, google), come_back(server, google)
    assert refused(exchange(server, given["code"], first), "link_invalid")


# 31: the ID token.


def claims_of(**more):
    return lambda google: google.says.update(more)


def signed_by(sign):
    return lambda google: setattr(google, "signs", lambda claims: sign(google, claims))


def handmade(header, claims, signature=b""):
    """A token of our own hand: whatever header and signature."""
    parts = [base64.urlsafe_b64encode(one).rstrip(b"=") for one in (json.dumps(header).encode(), json.dumps(claims).encode())]
    signed = b".".join(parts)
    made = signature(signed) if callable(signature) else signature
    return b".".join([signed, base64.urlsafe_b64encode(made).rstrip(b"=")]).decode()


def unsigned(alg):
    return signed_by(lambda google, claims: handmade({"alg": alg, "kid": google.keys[0].kid}, claims))


def by_secret(secret):
    """HS256 with something that is no secret between us and the provider alone."""

    def sign(google, claims):
        key = secret(google)
        return handmade({"alg": "HS256", "kid": google.keys[0].kid}, claims, lambda signed: hmac.digest(key, signed, "sha256"))

    return signed_by(sign)


def pem(google):
    return google.keys[0].raw_value.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def by_strange_key(**header):
    stranger = new_key()

    def sign(google, claims):
        named = {name: value(google, stranger) if callable(value) else value for name, value in header.items()}
        return jws.serialize_compact({"alg": "RS256", **named}, json.dumps(claims), stranger)

    return signed_by(sign)


def critical(google, claims):
    return jws.serialize_compact(
        {"alg": "RS256", "kid": google.keys[0].kid, "b64": True, "crit": ["b64"]}, json.dumps(claims), google.keys[0]
    )


NOW = int(time.time())
LIES = {
    "another issuer": claims_of(iss="https://accounts.google.com"),
    "an issuer with a slash more": lambda google: google.says.update(iss=google.issuer + "/"),
    "no issuer": claims_of(iss=MISSING),
    "several issuers": lambda google: google.says.update(iss=[google.issuer]),
    "for somebody else": claims_of(aud="another-client"),
    "for nobody": claims_of(aud=MISSING),
    "for an empty list": claims_of(aud=[]),
    "for several, and not saying for whom": claims_of(aud=[CLIENT_ID, "another-client"]),
    "for us, issued to another": claims_of(azp="another-client"),
    "for several, issued to another": claims_of(aud=[CLIENT_ID, "another-client"], azp="another-client"),
    "over": claims_of(exp=NOW - 60),
    "over for six seconds": lambda google: google.says.update(exp=int(time.time()) - 6),
    "never over": claims_of(exp=MISSING),
    "over in words": claims_of(exp="2100-01-01"),
    "over at no number": claims_of(exp=float("nan")),
    "over in eternity": claims_of(exp=None),
    "from the future": claims_of(iat=NOW + 3600),
    "from nowhen": claims_of(iat=MISSING),
    "not valid yet": claims_of(nbf=NOW + 3600),
    "another nonce": claims_of(nonce="another"),
    "no nonce": claims_of(nonce=MISSING),
    "an empty nonce": claims_of(nonce=""),
    "unsigned": unsigned("none"),
    "unsigned, in other letters": unsigned("nOnE"),
    "without a signature": unsigned("RS256"),
    "HS256 with the public key": by_secret(pem),
    "HS256 with the client's secret": by_secret(lambda _: CLIENT_SECRET.encode()),
    "HS256 with nothing": by_secret(lambda _: b""),
    "a key that is not published": by_strange_key(kid="unknown"),
    "another key under the name of ours": by_strange_key(kid=lambda google, _: google.keys[0].kid),
    "another key, without a name": by_strange_key(),
    "its own key in the header": by_strange_key(kid="own", jwk=lambda _, stranger: stranger.as_dict(private=False)),
    "its own key set's address": by_strange_key(kid="own", jku="http://127.0.0.1:1/keys"),
    "a path for a name": by_strange_key(kid="../../../../dev/null"),
    "another algorithm": signed_by(
        lambda google, claims: jws.serialize_compact(
            {"alg": "PS256", "kid": google.keys[0].kid}, json.dumps(claims), google.keys[0], algorithms=["PS256"]
        )
    ),
    "an extension": signed_by(critical),
    "no token": signed_by(lambda *_: None),
    "a number": signed_by(lambda *_: 1),
    "two parts": signed_by(lambda google, claims: google.sign(claims).rsplit(".", 1)[0]),
    "a list of claims": signed_by(lambda google, _: google.sign([])),
    "a changed claim": signed_by(
        lambda google, claims: ".".join(
            [google.sign(claims).split(".")[0], google.sign({**claims, "sub": "x"}).split(".")[1], google.sign(claims).split(".")[2]]
        )
    ),
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_id_token_that_lies_is_refused(server, google, email, lie):
    lie(google)
    answer = sign_in(server, google)
    assert refused(answer), answer.body
    assert nobody_came_in(email)
    assert come_back(server, google)[0] == {"error": "failed"}


@pytest.mark.parametrize("seconds", [-1, 4])
def test_clocks_may_differ_by_a_few_seconds(server, google, seconds):
    google.says |= {"exp": int(time.time()) + seconds} if seconds < 0 else {"iat": int(time.time()) + seconds}
    assert sign_in(server, google).status == 200


def test_a_token_for_several_and_issued_to_us_is_ours(server, google):
    google.says |= {"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID}
    assert sign_in(server, google).status == 200


def test_the_secret_key_of_a_symmetric_algorithm_is_no_key_even_if_it_is_published(server, google, email):
    shared = OctKey.import_key("a secret that the provider publishes", {"kid": "shared", "alg": "HS256", "use": "sig"})
    google.published = [shared.as_dict(), *(key.as_dict(private=False) for key in google.keys)]
    google.described = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
    google.signs = lambda claims: jws.serialize_compact({"alg": "HS256", "kid": "shared"}, json.dumps(claims), shared)
    assert refused(sign_in(server, google))
    assert nobody_came_in(email)


# 31: keys that change, and providers that are away.


def test_a_new_key_of_the_provider_is_fetched_when_it_is_first_seen(server, google):
    assert sign_in(server, google).status == 200
    google.keys.insert(0, new_key())
    before = google.times("keys")
    assert statuses([sign_in(server, google) for _ in range(6)]) == {200: 6}
    assert google.times("keys") <= before + 6


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, {}),
        (302, b"http://127.0.0.1:1/keys"),
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (200, {"keys": {}}),
        (200, {"keys": []}),
        (200, {"keys": [1, None, {"kty": "RSA"}, {"kty": "oct", "k": "AA"}]}),
    ],
)
def test_keys_that_can_not_be_had_let_nobody_in(server, google, email, status, body):
    google.keys.insert(0, new_key())  # So that every worker has to ask.
    with away(google, "keys", status, body):
        assert refused(sign_in(server, google), "unavailable", 503)
        assert come_back(server, google)[0] == {"error": "provider_unavailable"}
    assert nobody_came_in(email)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, b"", "unavailable"),
        (503, {"error": "temporarily_unavailable"}, "unavailable"),
        (400, {"error": "invalid_grant"}, "provider_failed"),
        (401, {"error": "invalid_client"}, "provider_failed"),
        (403, b"no", "provider_failed"),
        (302, b"http://127.0.0.1:1/token", "provider_failed"),
        (200, b"<html>", "provider_failed"),
        (200, [], "provider_failed"),
        (200, {}, "provider_failed"),
        (200, {"access_token": "a", "token_type": "Bearer", "expires_in": "soon"}, "provider_failed"),
        (200, b"[" * 100_000, "provider_failed"),
        (200, b" " * 600_000, "unavailable"),
    ],
)
def test_a_token_endpoint_that_fails_lets_nobody_in(server, google, email, status, body, expected):
    with away(google, "token", status, body):
        answer = sign_in(server, google)
        assert refused(answer, expected, 503 if expected == "unavailable" else 400), answer.body
        word = "provider_unavailable" if expected == "unavailable" else "failed"
        assert come_back(server, google)[0] == {"error": word}
    assert nobody_came_in(email)


def test_a_provider_that_does_not_answer_is_not_waited_for_long(server, google, email):
    google.replies["token"] = lambda: time.sleep(8) or (200, {})
    began = time.monotonic()
    try:
        assert refused(sign_in(server, google), "unavailable", 503)
    finally:
        del google.replies["token"]
    assert time.monotonic() - began < 7
    assert nobody_came_in(email)


# 32: where the browser is sent.

TRICKS = [
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://app.example.com@evil.example",
    "https://app.example.com:x@evil.example/",
    "https://evil.example/@app.example.com",
    "https://evil.example#@app.example.com",
    "https://evil.example\\@app.example.com",
    "https://evil.example\0.app.example.com",
    "https://evil.example%00.app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com\\.evil.example",
    "https://app.example.com%2eevil.example",
    "https://app.example.com%2f@evil.example",
    "https://app.example.comevil.example",
    "https://app.example.com:8443/",
    "https://sub.app.example.com/",
    "http://app.example.com/",
    "https://APP.example.com.evil.example/",
    "https://app.example.com\t.evil.example",
    "https://app.example.com\r\nLocation: https://evil.example",
    "https://app.example.com/\r\nSet-Cookie: a=b",
    "https://app.example.com/\\evil.example",
    "https://app.example.com/#/in",
    " https://app.example.com",
    "\thttps://app.example.com",
    "https://app.example.com ",
    "https://app\u3002example.com",
    "https://\uff41pp.example.com",
    "javascript:alert(1)//https://app.example.com",
    "javascript://app.example.com/%0aalert(1)",
    "data:text/html,app.example.com",
    "app.example.com",
    "/signed-in",
    "",
    "null",
    "https://",
    "https://app.example.com/" + "x" * 2000,
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: ascii(trick)[:40])
def test_a_browser_is_sent_nowhere_else(server, google, email, trick):
    before = count(SocialFlow)
    for more in ({"code_challenge": s256("verifier")}, {}):  # It is refused before anything else is looked at.
        query = urlencode({"redirect_to": trick, **more})
        for path in ("/auth/google", "/api/oauth/google", "/auth/google/auth-url"):
            answer = server.get(f"{path}?{query}")
            assert refused(answer, "redirect_not_allowed")
            assert "Location" not in answer.headers
    assert count(SocialFlow) == before


@pytest.mark.parametrize("more", ["", "/", "/in?a=b&c=%0d%0a", "?a=b", "/a/../b", "/;x", "/%00"])
def test_our_own_front_end_is_reached(server, google, more):
    given, verifier = come_back(server, google, "https://app.example.com" + more)
    assert exchange(server, given["code"], verifier).status == 200


def test_only_the_first_of_two_addresses_counts(server, google):
    query = urlencode([("redirect_to", FRONT_END), ("redirect_to", "https://evil.example"), ("code_challenge", s256("v"))])
    back = google.visit(server.get(f"/auth/google?{query}").headers["Location"])
    assert server.get(back).headers["Location"].startswith(FRONT_END + "?code=")


# 33: linking.


def begin_link(server, google, token, **more):
    answer = server.post("/profile/identities/google", more, token=token)
    assert answer.status == 200, answer.body
    return server.get(google.visit(answer.json["auth_url"])).json["code"]


def test_linking_and_unlinking_need_a_recent_sign_in(server, google, email):
    member = server.member(email)
    token = member["access_token"]
    code = begin_link(server, google, token)
    old = aged(token)
    answers = [
        server.post("/profile/identities/google", {}, token=old),
        server.post("/profile/identities/google", {"code": code}, token=old),
        server.delete("/profile/identities/google", token=old),
        server.delete("/profile/identities/google", {"current_password": "not the password"}, token=old),
    ]
    assert [one.code for one in answers] == ["reauthentication_required"] * 3 + ["invalid_credentials"]
    assert server.get("/profile/identities", token=old).json == {"identities": []}
    assert server.post("/profile/identities/google", {"code": code}, token=token).status == 201


def test_a_link_belongs_to_who_began_it(server, google, email):
    mine, theirs = server.member(email), server.member("other-" + email)
    again = server.login(email).json
    code = begin_link(server, google, mine["access_token"])
    for token in (theirs["access_token"], again["access_token"]):
        assert refused(server.post("/profile/identities/google", {"code": code}, token=token), "link_invalid")
    assert refused(exchange(server, code, "verifier"), "link_invalid")
    assert count(Identity, Identity.sub == google.says["sub"]) == 0
    answers = at_once(20, lambda _: server.post("/profile/identities/google", {"code": code}, token=mine["access_token"]))
    assert statuses(answers) == {201: 1, 400: 19}


def test_a_code_to_sign_in_with_links_nothing(server, google, email):
    member = server.member("other-" + email)
    given, verifier = come_back(server, google)
    body = {"code": given["code"], "code_verifier": verifier}
    assert refused(server.post("/profile/identities/google", body, token=member["access_token"]), "link_invalid")
    assert exchange(server, given["code"], verifier).json["user"]["id"] != member["user"]["id"]


def test_a_link_dies_with_the_session_that_began_it(server, google, email):
    token = server.member(email)["access_token"]
    code = begin_link(server, google, token)
    server.post("/logout", token=token)
    assert server.post("/profile/identities/google", {"code": code}, token=token).code == "token_revoked"
    again = server.login(email).json["access_token"]
    assert refused(server.post("/profile/identities/google", {"code": code}, token=again), "link_invalid")


def test_of_many_accounts_that_link_one_identity_at_once_one_gets_it(server, google, email):
    tokens = [server.member(f"{number}-{email}")["access_token"] for number in range(8)]
    codes = [begin_link(server, google, token) for token in tokens]
    answers = at_once(8, lambda n: server.post("/profile/identities/google", {"code": codes[n]}, token=tokens[n]))
    assert statuses(answers) == {201: 1, 409: 7}
    assert {one.code for one in answers if one.status == 409} == {"link_taken"}
    assert count(Identity, Identity.sub == google.says["sub"]) == 1


def test_a_disabled_account_stays_disabled(server, google, email):
    assert sign_in(server, google).status == 200
    given, verifier = come_back(server, google)
    accounts.deactivate(email)
    assert refused(sign_in(server, google), "account_disabled", 403)
    assert refused(exchange(server, given["code"], verifier), "account_disabled", 403)
    assert come_back(server, google)[0] == {"error": "account_disabled"}
    google.says = {"sub": new_id(), "email": email}
    assert refused(sign_in(server, google), "account_disabled", 403)
    assert live_sessions_of(email) == 0
    assert (count(Identity, Identity.email == email), user_of(email).status) == (1, accounts.INACTIVE)


def test_the_last_way_in_stays_however_many_pull_at_it(server, google, email):
    token = sign_in(server, google).json["access_token"]
    user_id = user_of(email).id
    assert statuses(at_once(20, lambda _: server.delete("/profile/identities/google", token=token))) == {409: 20}
    for _ in range(5):
        names = [f"other{number}" for number in range(7)]
        with transaction() as db:
            for name in names:
                row = Identity(id=new_id(), user_id=user_id, provider=name, issuer=new_id(), sub="1")
                row.linked_at = clock.now()
                db.add(row)
        pulled = ["google", *names]
        answers = at_once(8, lambda n, pulled=pulled: server.delete(f"/profile/identities/{pulled[n]}", token=token))
        assert statuses(answers) == {204: 7, 409: 1}
        assert count(Identity, Identity.user_id == user_id) == 1
        with transaction() as db:
            db.execute(delete(Identity).where(Identity.user_id == user_id))
            row = Identity(id=new_id(), user_id=user_id, provider="google", issuer=google.issuer, sub=google.says["sub"])
            row.linked_at = clock.now()
            db.add(row)


def test_no_pending_visit_is_a_ticket_of_another_kind(server, google, email):
    google.says["email_verified"] = False
    ticket = sign_in(server, google).json["mfa_token"]
    assert server.get("/mfa", token=ticket).code == "token_invalid"
    assert refused(exchange(server, ticket, "verifier"), "link_invalid")
    code = server.mailbox.last(email).code
    assert server.post("/confirm", {"email": email, "code": code}).code == "mfa_invalid_code"
    assert server.post("/verify-otp", {"otp_token": ticket, "code": code}).code == "mfa_invalid_code"


def test_one_proof_opens_one_session(server, google, email):
    google.says["email_verified"] = False
    waiting = sign_in(server, google).json
    body = {"mfa_token": waiting["mfa_token"], "method": "email", "code": server.mailbox.last(email).code}
    answers = at_once(4, lambda _: server.post("/verify-otp", body))
    assert sorted(one.status for one in answers) == [200, 401, 401, 401]
    assert live_sessions_of(email) == 1
