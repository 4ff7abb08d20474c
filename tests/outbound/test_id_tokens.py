"""Which keys and algorithms an ID token may be signed with; the lies in its claims are in tests/attacks/test_social.py."""

import json
import time

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from outbound import discovery, id_tokens
from outbound.discovery import Failed
from tests.provider import CLIENT_ID, Provider, new_key

pytestmark = pytest.mark.once

RS256 = ["RS256"]


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider
    discovery.forget()


def judged(google, key, header, algorithms=RS256):
    """What is made of an honest token with this header, signed by this key."""
    about = {"issuer": google.issuer, "jwks_uri": f"{google.issuer}/keys", "id_token_signing_alg_values_supported": algorithms}
    now = int(time.time())
    claims = {"iss": google.issuer, "aud": CLIENT_ID, "exp": now + 60, "iat": now, "nonce": "nonce", "sub": "robin"}
    token = jws.serialize_compact(header, json.dumps(claims), key, algorithms=[header["alg"]])
    return id_tokens.verify(token, about, CLIENT_ID, "nonce")["sub"]


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("RS256", RSAKey.generate_key(2048)),
        ("PS384", RSAKey.generate_key(2048)),
        ("ES256", ECKey.generate_key("P-256")),
        ("ES512", ECKey.generate_key("P-521")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_every_algorithm_that_only_the_provider_can_sign_by_is_taken_where_it_is_listed(google, alg, key):
    google.published = [{**key.as_dict(private=False), "kid": "one"}]
    assert judged(google, key, {"alg": alg, "kid": "one"}, ["none", "HS256", alg]) == "robin"
    with pytest.raises(Failed):
        judged(google, key, {"alg": alg, "kid": "one"}, ["ES384"])


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256", "none"], None, "RS256", {"RS256": True}], ids=str)
def test_without_a_list_of_algorithms_that_can_be_trusted_there_is_no_verdict(google, algorithms):
    with pytest.raises(Failed, match="lists no algorithm"):
        judged(google, google.keys[0], {"alg": "RS256", "kid": google.keys[0].kid}, algorithms)


def test_a_key_that_is_for_something_else_is_none(google):
    key = google.keys[0]
    for more in ({"use": "enc"}, {"alg": "RS512"}):
        google.published = [{**key.as_dict(private=False), **more}]
        discovery.forget()
        with pytest.raises(Failed, match="unknown key"):
            judged(google, key, {"alg": "RS256", "kid": key.kid})


def test_a_token_that_names_no_key_is_taken_where_there_is_only_one(google):
    assert judged(google, google.keys[0], {"alg": "RS256"}) == "robin"
    google.keys.append(new_key())
    discovery.forget()
    with pytest.raises(Failed, match="does not say which key"):
        judged(google, google.keys[0], {"alg": "RS256"})


def test_for_an_unknown_key_the_keys_are_asked_once_more_and_no_oftener(google):
    known, stranger = google.keys[0], new_key()
    assert judged(google, known, {"alg": "RS256", "kid": known.kid}) == "robin"
    with pytest.raises(Failed, match="unknown key"):
        judged(google, stranger, {"alg": "RS256", "kid": "unknown"})
    assert google.times("keys") == 2
