"""Threats 9 and 14 against the real server: odd passwords, and what the end of a password ends."""

import unicodedata
from collections import Counter

import pytest

import config
from domain import accounts, hashes, passwords
from tests.attacks.acts import OTHER, account, aged, live_sessions_of, statuses, ticket, user_of
from tests.serving import at_once
from tests.visitor import PASSWORD, code_of

NEW = "a brand new password of mine"
REFUSED_TEXTS = {"NUL": "a password with\x00a NUL in it", "half a surrogate pair": "a password with \ud800 in it", "empty": ""}


TEXT = "seven quiet lanterns over the harbour wall, and nobody there to see them but a heron; " * 3
UMLAUTS = "zwölf Bösewichte grübeln über öde Flöße; "
LONG_PASSWORDS = [
    *(TEXT[:length] for length in (71, 72, 73, 100, 256)),
    UMLAUTS + "ä" * 12,
    UMLAUTS + "ä" * 13,
    UMLAUTS + "€" * 8 + "x",
    "seven keys " + "🔑" * 245,
    "seven accents " + "\u0301" * 30,
]


@pytest.fixture(params=["bcrypt", "argon2id", "scrypt"])
def scheme(request):
    """New hashes here are made by this scheme; the server, whose own is bcrypt, has them all verify."""
    before = config.settings
    config.settings = before.model_copy(update={"PASSWORD_SCHEME": request.param})
    yield request.param
    config.settings = before


@pytest.mark.parametrize("password", LONG_PASSWORDS, ids=lambda password: f"{len(password.encode())} bytes to {password[-1]!a}")
def test_every_byte_of_a_password_counts(server, email, password):
    server.join(email, password)
    assert server.login(email, password).status == 200
    for other in (password[:-1] + "?", password[:-1], password + "?"):
        assert server.login(email, other).code == "invalid_credentials"
    assert server.login(email, password).status == 200


@pytest.mark.parametrize("length", [71, 72, 73, 100, 256])
def test_every_byte_counts_under_every_scheme(server, email, scheme, length):
    password = TEXT[:length]
    account(email, password)
    assert user_of(email).password_hash.split("$")[2] == {"bcrypt": "2b"}.get(scheme, scheme)
    for other in (password[:-1] + "?", password[:-1], password + "?"):
        assert server.login(email, other).code == "invalid_credentials"
    assert server.login(email, password).status == 200


def test_a_password_is_the_same_however_its_letters_are_composed_under_every_scheme(server, email, scheme):
    composed = unicodedata.normalize("NFC", "Ångström über façade €")
    account(email, composed)
    assert server.login(email, unicodedata.normalize("NFD", composed)).status == 200
    assert server.login(email, composed).status == 200


@pytest.mark.parametrize("text", REFUSED_TEXTS.values(), ids=REFUSED_TEXTS)
def test_what_can_be_no_password_is_refused_clearly(server, email, text):
    tokens = server.member(email)
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    answers = {
        "/signup": server.sign_up(f"other.{email}", text),
        link: server.post(link, {"password": text}),
        "/api/password/reset": server.post("/api/password/reset", {"token": link.split("/")[-1], "password": text}),
        "/change-password": server.post(
            "/change-password", {"current_password": PASSWORD, "new_password": text}, token=tokens["access_token"]
        ),
    }
    assert {path: one.status for path, one in answers.items()} == dict.fromkeys(answers, 400)
    assert {one.code for one in answers.values()} == {"weak_password" if text == "" else "validation_failed"}
    assert server.login(email).status == 200
    assert server.post(link, {"password": NEW}).status == 200


@pytest.mark.parametrize("text", [one for one in REFUSED_TEXTS.values() if one], ids=[name for name, one in REFUSED_TEXTS.items() if one])
def test_what_can_be_no_password_signs_nobody_in(server, email, text):
    server.join(email)
    answer = server.login(email, text)
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert text[2:5] not in answer.text.replace("password", "")


def test_a_password_is_the_same_however_its_letters_are_composed(server, email):
    composed = unicodedata.normalize("NFC", "Ångström über façade €")
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    server.join(email, composed)
    server.join(f"other.{email}", decomposed)
    for address in (email, f"other.{email}"):
        assert server.login(address, composed).status == 200
        assert server.login(address, decomposed).status == 200


def test_a_compatible_letter_is_another_letter(server, email):
    server.join(email, "ﬁne words of some length")
    assert server.login(email, "fine words of some length").status == 401


@pytest.mark.parametrize("path", ["/signup", "/login", "/reset-password/some-token", "/api/password/reset"])
def test_a_megabyte_is_refused_however_it_comes(server, email, path):
    body = b'{"email": "%s", "password": "%s"}' % (email.encode(), b"x" * 1_000_000)
    headers = {"Content-Type": "application/json"}
    assert server.post(path, data=body, headers=headers).code == "too_large"
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    assert server.post(path, data=chunks, headers=headers).status == 413


def test_a_hash_is_not_the_password(server, email):
    server.join(email)
    stored = user_of(email).password_hash
    for guess in (stored, stored.removeprefix(hashes.PLAIN)):
        assert server.login(email, guess).code == "invalid_credentials"


@pytest.fixture
def life(server, email):
    """A user in the middle of everything: two sessions, a trusted device, a pending sign-in, a reset link, a code to sign in."""
    one = server.member(email)
    app, _ = server.turn_on_totp(one["access_token"])
    proof = {"mfa_token": ticket(server, email), "method": "totp", "code": code_of(app), "trust_device": True}
    two = server.post("/verify-otp", proof).json
    assert server.login(email, headers={"X-Device-Token": two["device_token"]}).json["status"] == "signed_in"
    pending = ticket(server, email)
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    code = server.mailbox.last(email).code
    return {"one": one, "two": two, "app": app, "pending": pending, "link": link, "otp": {"otp_token": token, "code": code}}


def test_a_changed_password_ends_everything_but_the_session_that_changed_it(server, email, life):
    # The proof that turned the factor on stands in this session, so it is a recent sign-in with a factor.
    mine = life["one"]["access_token"]
    answer = server.post("/change-password", {"current_password": PASSWORD, "new_password": NEW}, token=mine)
    assert answer.status == 200, answer.body
    _is_over(server, life["two"])
    _nothing_pending_is_left(server, life)
    assert server.login(email).code == "invalid_credentials"
    assert server.login(email, NEW, headers={"X-Device-Token": life["two"]["device_token"]}).json["status"] == "mfa_required"
    assert server.get("/mfa", token=mine).status == 200


def test_a_reset_ends_everything(server, email, life):
    server.post("/forgot-password", {"email": email})
    link = server.mailbox.last(email).path
    assert server.post(link, {"password": NEW}).json == {"status": "password_reset"}
    for tokens in (life["one"], life["two"]):
        _is_over(server, tokens)
    _nothing_pending_is_left(server, life)
    assert server.login(email).code == "invalid_credentials"
    device = {"X-Device-Token": life["two"]["device_token"]}
    assert server.login(email, NEW, headers=device).json["status"] == "mfa_required"
    for _ in range(4):
        assert server.login(email, OTHER).code == "invalid_credentials"
    assert server.login(email, OTHER, headers=device).code == "invalid_credentials"
    assert server.login(email, NEW, headers=device).code == "too_many_attempts"  # The device is a stranger again.


def test_a_deactivation_ends_everything_and_an_activation_brings_nothing_back(server, email, life):
    accounts.deactivate(email)
    for tokens in (life["one"], life["two"]):
        _is_over(server, tokens)
    assert server.login(email).code == "account_disabled"
    accounts.activate(email)
    for tokens in (life["one"], life["two"]):
        _is_over(server, tokens)
    _nothing_pending_is_left(server, life)
    assert server.login(email, headers={"X-Device-Token": life["two"]["device_token"]}).json["status"] == "mfa_required"


def test_a_sign_in_that_races_a_reset_does_not_outlive_it(server, email):
    account(email)
    for round_ in range(4):
        old, new = f"password of round {round_}", f"password of round {round_ + 1}"
        if round_ == 0:
            server.post("/forgot-password", {"email": email})
            assert server.post(server.mailbox.last(email).path, {"password": old}).status == 200
        server.post("/forgot-password", {"email": email})
        link = server.mailbox.last(email).path
        answers = at_once(20, lambda number: server.post(link, {"password": new}) if number == 9 else server.login(email, old))  # noqa: B023
        assert answers[9].status == 200
        _none_is_left(server, answers)
        accounts.unlock(email)
        assert live_sessions_of(email) == 0


def test_a_sign_in_that_races_a_changed_password_does_not_outlive_it(server, email):
    account(email)
    mine = server.login(email).json["access_token"]
    for round_ in range(4):
        old, new = (PASSWORD, NEW) if round_ % 2 == 0 else (NEW, PASSWORD)
        change = {"current_password": old, "new_password": new}
        answers = at_once(
            20,
            lambda number: server.post("/change-password", change, token=mine) if number == 9 else server.login(email, old),  # noqa: B023
        )
        assert answers[9].status == 200
        _none_is_left(server, answers)
        accounts.unlock(email)
        assert live_sessions_of(email) == 1


def test_a_sign_in_that_races_a_deactivation_does_not_outlive_it(server, email):
    account(email)
    for _ in range(4):
        answers = at_once(20, lambda number: accounts.deactivate(email) if number == 9 else server.login(email))
        _none_is_left(server, [one for one in answers if one])
        assert live_sessions_of(email) == 0
        accounts.activate(email)
        accounts.unlock(email)


def test_a_first_password_asks_for_a_recent_sign_in(server, email):
    account(email, None)
    token = server.post("/send-otp", {"email": email}).json["otp_token"]
    tokens = server.post("/verify-otp", {"otp_token": token, "code": server.mailbox.last(email).code}).json
    answer = server.post("/change-password", {"new_password": NEW}, token=aged(tokens["access_token"]))
    assert (answer.code, answer.json["methods"]) == ("reauthentication_required", ["email"])
    assert server.post("/change-password", {"new_password": NEW}, token=tokens["access_token"]).status == 200
    assert server.login(email, NEW).status == 200


def test_with_a_factor_on_the_password_alone_does_not_change_the_password(server, email):
    tokens = server.member(email)
    server.turn_on_totp(tokens["access_token"])
    change = {"current_password": PASSWORD, "new_password": NEW}
    answer = server.post("/change-password", change, token=aged(tokens["access_token"]))
    assert (answer.code, answer.json["methods"]) == ("reauthentication_required", ["totp", "recovery_code"])
    assert server.post("/change-password", change, token=tokens["access_token"]).status == 200


def test_the_old_password_is_needed_for_a_new_one(server, email):
    token = server.member(email)["access_token"]
    answer = server.post("/change-password", {"new_password": NEW}, token=token)
    assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", "current_password")
    assert server.post("/change-password", {"current_password": OTHER, "new_password": NEW}, token=token).code == "invalid_credentials"
    assert server.login(email).status == 200


def test_of_many_changes_at_once_one_is_told_and_it_is_the_password(server, email):
    token = server.member(email)["access_token"]
    words = [f"password {number} of those at once" for number in range(20)]
    change = [{"current_password": PASSWORD, "new_password": word} for word in words]
    answers = at_once(20, lambda number: server.post("/change-password", change[number], token=token))
    told = [word for word, answer in zip(words, answers, strict=True) if answer.status == 200]
    assert set(statuses(answers)) <= {200, 401, 429}
    assert len(told) == 1
    assert Counter(passwords.verify(user_of(email).password_hash, word) for word in told)[True] == 1


def _is_over(server, tokens):
    """Every worker refuses the tokens at once."""
    answers = [server.get("/mfa", token=tokens["access_token"]) for _ in range(20)]
    assert Counter(one.code for one in answers) == {"token_revoked": 20}
    assert server.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"


def _nothing_pending_is_left(server, life):
    proof = {"mfa_token": life["pending"], "method": "totp", "code": code_of(life["app"], 1)}
    assert server.post("/verify-otp", proof).code == "mfa_ticket_expired"
    assert server.post(life["link"], {"password": OTHER}).code == "link_invalid"
    assert server.post("/verify-otp", life["otp"]).code == "mfa_invalid_code"


def _none_is_left(server, answers):
    """Of the sign-ins among these answers none has a token that still works."""
    tokens = [one.json["access_token"] for one in answers if "access_token" in one.text]
    assert {server.get("/mfa", token=token).code for token in tokens} <= {"token_revoked"}
