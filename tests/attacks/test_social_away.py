"""Threat 31: providers that are away, answer nonsense, or change their keys let nobody in."""

import threading

import pytest
from joserfc.jwk import ECKey

from tests.attacks.acts import nobody_came_in, refused, statuses
from tests.provider import away, come_back, new_key, sign_in
from tests.providers import NAMES, SPEAK_OPENID

SETTINGS: dict[str, str] = {}
MORE: tuple[str, ...] = ()
pytestmark = pytest.mark.usefixtures("stand_ins")
EVERY = pytest.mark.parametrize("provider", NAMES, indirect=True)
OPENID = pytest.mark.parametrize("provider", SPEAK_OPENID, indirect=True)
OAUTH = pytest.mark.parametrize("provider", [name for name in NAMES if name not in SPEAK_OPENID], indirect=True)


# 31: keys that change, and providers that are away.


@OPENID
def test_a_new_key_of_the_provider_is_fetched_when_it_is_first_seen(server, provider):
    assert sign_in(server, provider).status == 200
    provider.keys.insert(0, new_key())
    before = provider.times("keys")
    assert statuses([sign_in(server, provider) for _ in range(6)]) == {200: 6}
    assert provider.times("keys") <= before + 6


@OPENID
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
def test_keys_that_can_not_be_had_let_nobody_in(server, provider, email, status, body):
    provider.keys.insert(0, new_key())  # So that every worker has to ask.
    with away(provider, "keys", status, body):
        assert refused(sign_in(server, provider), "unavailable", 503)
        assert come_back(server, provider)[0] == {"error": "provider_unavailable"}
    assert nobody_came_in(email)


@EVERY
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
        (200, {"error": "bad_verification_code"}, "provider_failed"),
        (200, {"error": {"message": "a secret", "code": 190}}, "provider_failed"),
        (200, {"access_token": ""}, "provider_failed"),
        (200, {"access_token": "a\r\nb", "token_type": "Bearer"}, "provider_failed"),
        (200, {"access_token": ["a"], "token_type": "Bearer"}, "provider_failed"),
        (200, {"access_token": "\u20ac", "token_type": "Bearer"}, "provider_failed"),
        (200, {"access_token": "a", "token_type": "Bearer", "expires_in": "soon"}, "provider_failed"),
        (200, b"[" * 100_000, "provider_failed"),
        (200, b" " * 600_000, "unavailable"),
    ],
)
def test_a_token_endpoint_that_fails_lets_nobody_in(server, provider, email, status, body, expected):
    with away(provider, provider.token_word, status, body):
        answer = sign_in(server, provider)
        assert refused(answer, expected, 503 if expected == "unavailable" else 400), answer.body
        word = "provider_unavailable" if expected == "unavailable" else "failed"
        assert come_back(server, provider)[0] == {"error": word}
    assert nobody_came_in(email)


def words_of(provider):
    """The last words of the addresses that its API is asked at."""
    return {"github": ("user", "emails"), "discord": ("@me",), "facebook": ("me",)}[provider.name]


@OAUTH
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, b"", "unavailable"),
        (503, {"message": "try again"}, "unavailable"),
        (429, {"message": "too many"}, "unavailable"),
        (400, {"error": {"message": "Invalid appsecret_proof"}}, "provider_failed"),
        (401, {"message": "Bad credentials"}, "provider_failed"),
        (403, b"no", "provider_failed"),
        (302, b"http://127.0.0.1:1/user", "provider_failed"),
        (204, b"", "provider_failed"),
        (200, b"", "provider_failed"),
        (200, b"<html>", "provider_failed"),
        (200, b"null", "provider_failed"),
        (200, b'"text"', "provider_failed"),
        (200, [1], "provider_failed"),
        (200, {}, "provider_failed"),
        (200, b"[" * 100_000, "provider_failed"),
        (200, b'{"id": ' + b"1" * 5000 + b"}", "provider_failed"),
        (200, b" " * 600_000, "unavailable"),
    ],
)
def test_an_api_that_fails_lets_nobody_in(server, provider, email, status, body, expected):
    for word in words_of(provider):
        with away(provider, word, status, body):
            answer = sign_in(server, provider)
            assert refused(answer, expected, 503 if expected == "unavailable" else 400), answer.body
            assert come_back(server, provider)[0] == {"error": "provider_unavailable" if expected == "unavailable" else "failed"}
    assert nobody_came_in(email)


@OAUTH
@pytest.mark.parametrize("status", [201, 206, 401, 403, 404])
def test_somebody_in_an_answer_that_is_no_success_is_nobody(server, provider, email, status):
    with away(provider, words_of(provider)[0], status, provider.user):
        assert refused(sign_in(server, provider))
    assert nobody_came_in(email)


@OAUTH
def test_what_an_api_answers_to_strangers_is_nobody(server, provider, email):
    provider._tokens.clear()
    with away(provider, provider.token_word, 200, {"access_token": "another", "token_type": "bearer"}):
        assert refused(sign_in(server, provider))
    assert nobody_came_in(email)


@EVERY
def test_a_client_whose_secret_is_wrong_lets_nobody_in(server, provider, email, monkeypatch):
    monkeypatch.setattr("tests.provider.CLIENT_SECRET", "another")
    monkeypatch.setattr("tests.providers.CLIENT_SECRET", "another")
    if provider.name == "apple":
        monkeypatch.setattr(provider, "client_key", ECKey.generate_key("P-256"))
    assert refused(sign_in(server, provider))
    assert come_back(server, provider)[0] == {"error": "failed"}
    assert nobody_came_in(email)


@EVERY
def test_no_secret_and_no_token_is_in_the_log(server, provider, email):
    sign_in(server, provider)
    with away(provider, provider.token_word, 400, {"error": "the code " + email, "error_description": "s3cret"}):
        sign_in(server, provider)
    log = (server.settings["INSTANCE_DIR"] / "app.log").read_text()
    forms = [form for _, form, _ in provider.asked]
    bearers = [given.split()[1] for _, _, given in provider.asked if given.startswith("Bearer ")]
    secret = [form[name] for form in forms for name in ("code", "client_secret", "code_verifier", "state", "nonce") if name in form]
    assert len(secret) >= 6
    assert [one for one in (*secret, *bearers, email) if one in log] == []


@pytest.mark.parametrize(
    ("provider", "where"),
    [*((name, "token") for name in NAMES), *((name, "api") for name in NAMES if name not in SPEAK_OPENID)],
    indirect=["provider"],
)
def test_a_provider_that_does_not_answer_is_not_waited_for_long(server, provider, email, where):
    word = provider.token_word if where == "token" else words_of(provider)[-1]
    asked = provider.times(word)
    provider.replies[word] = lambda: over.wait(20) or (200, {})
    over = threading.Event()
    try:
        assert refused(sign_in(server, provider), "unavailable", 503)  # The stand-in would have let us wait for longer than this.
        assert not over.is_set()
    finally:
        del provider.replies[word]
        over.set()
    assert provider.times(word) == asked + 1
    assert nobody_came_in(email)
