"""Threats 1 and 2: whose account a provider's word opens, against the real server with several workers."""

import pytest

from model import Identity, User
from tests.attacks.acts import account, count, live_sessions_of, mails_of, nobody_came_in, refused, statuses, user_of
from tests.provider import MISSING, come_back, enter, exchange, sign_in
from tests.providers import NAMES, OWN, SPEAK_OPENID, new_sub
from tests.serving import at_once
from tests.visitor import code_of

SETTINGS: dict[str, str] = {}
LIARS = {"liar-one": "google", "liar-two": "github"}  # Describe themselves as somebody else.
MORE = (OWN, *LIARS)
pytestmark = pytest.mark.usefixtures("lies")


@pytest.fixture(scope="module")
def lies(stand_ins):
    """Two of them describe themselves as somebody else."""
    for liar, whom in LIARS.items():
        stand_ins[liar].pretends = stand_ins[whom].issuer


ATTACKERS = "the attacker's password"
VOUCHES = [name for name in (*SPEAK_OPENID, OWN) if name != "microsoft"]


every = pytest.mark.parametrize("provider", [*NAMES, OWN], indirect=True)


# 1: somebody was there before with this address.


def test_who_signed_up_first_with_somebody_elses_address_gains_nothing(server, google, email):
    server.sign_up(email, ATTACKERS, username=f"u{email[5:13]}", name="Attacker")
    before = server.mailbox.last(email)
    asked = server.post("/send-otp", {"email": email}).json["otp_token"]
    google.says["email_verified"] = False
    other_identity = {**google.says, "sub": new_sub()}
    google.says = other_identity
    waiting = sign_in(server, google).json
    assert waiting["status"] == "confirmation_required"

    google.says = {**other_identity, "sub": new_sub(), "email_verified": True}
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


UNVOUCHED = [False, MISSING, None, "false", "true", "True", 1, 1.0, [True], {"value": True}]


@pytest.mark.parametrize("verified", UNVOUCHED, ids=str)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "free"])
@pytest.mark.parametrize("provider", [*VOUCHES, "discord"], indirect=True)
def test_only_the_boolean_true_vouches_for_an_address(server, provider, email, verified, taken):
    if taken:
        account(email)
    if provider.name == "discord":
        provider.user["verified"] = verified
    else:
        provider.says["email_verified"] = verified
    waits_for_proof(server, provider, email, taken)


@pytest.mark.parametrize("verified", [True, *UNVOUCHED], ids=str)
@pytest.mark.parametrize("provider", [name for name in NAMES if name in ("microsoft", "facebook")], indirect=True)
def test_who_never_vouches_is_not_believed_whatever_they_say(server, provider, email, verified):
    account(email)
    for name in ("email_verified", "verified", "xms_edov"):
        (provider.says if provider.name == "microsoft" else provider.user)[name] = verified
    waits_for_proof(server, provider, email, taken=True)


def waits_for_proof(server, provider, email, taken):
    """Nobody comes in, nothing is made or joined, and the answer is the same for an address that somebody has."""
    answer = sign_in(server, provider)
    assert (answer.status, answer.json["status"], answer.json["methods"]) == (200, "confirmation_required", ["email"])
    assert set(answer.json) == {"status", "mfa_token", "methods", "expires_in"}
    assert count(Identity, Identity.email == email) == 0
    assert count(User, User.email == email) == int(taken)
    given, verifier = come_back(server, provider)
    assert exchange(server, given["code"], verifier).json["status"] == "confirmation_required"


@pytest.mark.parametrize(
    "change", [{"verified": False}, {"verified": MISSING}, {"verified": "true"}, {"verified": 1}, {"primary": False}], ids=str
)
@pytest.mark.parametrize("shown", [None, "shown"])
@pytest.mark.parametrize("provider", ["github"], indirect=True)
def test_only_the_primary_and_proven_address_of_github_counts(server, provider, email, change, shown):
    user = account(email)
    provider.user["email"] = shown and email  # What /user shows is its owner's choice, and may be unproven.
    provider.emails[1] = {name: value for name, value in {**provider.emails[1], **change}.items() if value is not MISSING}
    assert refused(sign_in(server, provider))
    assert come_back(server, provider)[0] == {"error": "failed"}
    assert count(Identity, Identity.user_id == user) == 0


NOBODY = [MISSING, None, "", 0, True, [], ["a"], {}, " ", "a ", " a", "\t", "a\u0000", "\u0430", "x" * 256]
NUMBERS = ["0", "-1", -1, 1.5, "1e3", "007", "a", "\uff11", "1" * 41, 10**41]


@pytest.mark.parametrize("sub", [*NOBODY, 1, 1234], ids=lambda sub: ascii(sub)[:20])
@pytest.mark.parametrize("provider", [*SPEAK_OPENID, OWN], indirect=True)
def test_without_a_subject_nobody_is_anybody(server, provider, email, sub):
    provider.says["sub"] = sub
    assert_nobody(server, provider, email)
    provider.says["email"] = "second-" + email
    assert_nobody(server, provider, "second-" + email)


@pytest.mark.parametrize("number", [*NOBODY, *NUMBERS], ids=lambda number: ascii(number)[:20])
@pytest.mark.parametrize("provider", [name for name in NAMES if name not in SPEAK_OPENID], indirect=True)
def test_without_a_number_nobody_is_anybody(server, provider, email, number):
    provider.user["id"] = number
    assert_nobody(server, provider, email)


def assert_nobody(server, provider, email):
    assert refused(sign_in(server, provider))
    assert come_back(server, provider)[0] == {"error": "failed"}
    assert nobody_came_in(email)
    assert mails_of(email) == 0


@every
def test_who_comes_back_is_the_same_whatever_the_address_is_by_then(server, provider, email):
    sub = new_sub()
    provider.known_as(sub, email)
    first = enter(server, provider, email)["user"]["id"]
    provider.known_as(sub, "new-" + email, vouched=False)
    assert sign_in(server, provider).json["user"]["id"] == first
    provider.known_as(new_sub(), "new-" + email)
    assert enter(server, provider, "new-" + email)["user"]["id"] != first


def test_two_providers_with_one_subject_know_two_people(server, stand_ins, email):
    sub, users = new_sub(), set()
    honest = [stand_ins[name] for name in (*NAMES, OWN)]
    for number, provider in enumerate(honest):
        provider.known_as(sub, f"{number}-{email}")
        users.add(enter(server, provider, f"{number}-{email}")["user"]["id"])
    assert len(users) == len(honest)


@pytest.mark.parametrize("provider", ["microsoft"], indirect=True)
def test_two_tenants_with_one_subject_know_two_people(server, provider, email):
    mine = enter(server, provider, email)["user"]["id"]
    other = "00000000-0000-4000-8000-000000000001"
    provider.says |= {"tid": other, "iss": provider.of_tenant(other), "email": "other-" + email}
    assert enter(server, provider, "other-" + email)["user"]["id"] != mine
    assert count(Identity, Identity.sub == provider.says["sub"]) == 2


@pytest.mark.parametrize("victim", LIARS.values())
def test_a_provider_that_says_it_is_another_one_opens_none_of_its_accounts(server, stand_ins, email, victim):
    (liar,) = [stand_ins[name] for name, whom in LIARS.items() if whom == victim]
    sub = new_sub()
    stand_ins[victim].known_as(sub, email)
    member = enter(server, stand_ins[victim], email)
    liar.known_as(sub, "liar-" + email)
    assert liar.issuer == stand_ins[victim].issuer
    assert refused(sign_in(server, liar))
    assert come_back(server, liar)[0] == {"error": "failed"}
    assert live_sessions_of(email) == 1
    assert server.delete(f"/profile/identities/{liar.name}", token=member["access_token"]).code == "not_found"


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
        google.says = {"sub": new_sub(), "email": lookalike}
        assert refused(sign_in(server, google))


@every
def test_a_provider_does_not_skip_the_second_factor(server, provider, email):
    tokens = enter(server, provider, email)
    app, _ = server.turn_on_totp(tokens["access_token"])
    answer = sign_in(server, provider)
    assert (answer.json["status"], answer.cookies.get("access_token_cookie")) == ("mfa_required", None)
    assert live_sessions_of(email) == 1
    proof = {"mfa_token": answer.json["mfa_token"], "method": "totp", "code": code_of(app)}
    assert server.post("/verify-otp", proof).json["status"] == "signed_in"
    assert live_sessions_of(email) == 2


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
    assert server.mailbox.subjects(email).count("A way to sign in was added") == 1


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
