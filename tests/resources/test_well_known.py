"""What programs look up: keys as RFC 7517 writes them, metadata as RFC 8414 does, both free and for everybody."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from domain import signing
from tests.resources.test_credentials import restarted

ES256 = pytest.mark.settings(JWT_ALGORITHM="ES256")


def keys_of(house):
    return house.get("/.well-known/jwks.json").json["keys"]


def test_under_hs256_there_are_no_public_keys(house):
    answer = house.get("/.well-known/jwks.json")
    assert answer.json == {"keys": []}
    assert answer.headers["Cache-Control"] == "public, max-age=30"


@pytest.mark.parametrize("algorithm", [pytest.param(one, marks=pytest.mark.settings(JWT_ALGORITHM=one)) for one in ("ES256", "EdDSA")])
def test_a_service_checks_a_token_with_the_keys_alone(house, algorithm):
    tokens = house.member()
    keys = {one.key_id: one for one in jwt.PyJWKSet(keys_of(house)).keys}
    header = jwt.get_unverified_header(tokens["access_token"])
    assert header == {"alg": algorithm, "kid": header["kid"], "typ": "JWT"}
    claims = jwt.decode(
        tokens["access_token"], keys[header["kid"]], algorithms=[algorithm], audience="gatehouse", issuer="http://127.0.0.1:5000"
    )
    assert claims["sub"] == tokens["user"]["id"]
    assert claims["type"] == "access"


@ES256
def test_no_private_half_leaves_the_server(house):
    house.member()
    signing.rotate()
    assert [set(one) for one in keys_of(house)] == [{"kty", "crv", "x", "y", "kid", "alg", "use"}] * 2


@ES256
@pytest.mark.settings(JWT_ISSUER="https://id.example.com", BASE_URL="https://gatehouse.example.com")
def test_the_metadata_tell_where_to_ask(house):
    base = "https://gatehouse.example.com"
    found = house.get("/.well-known/oauth-authorization-server").json
    assert found["issuer"] == "https://id.example.com"
    assert found["token_endpoint"] == f"{base}/oauth/token"
    assert found["introspection_endpoint"] == f"{base}/oauth/introspect"
    assert found["revocation_endpoint"] == f"{base}/oauth/revoke"
    assert found["jwks_uri"] == f"{base}/.well-known/jwks.json"
    assert found["grant_types_supported"] == ["client_credentials"]
    assert found["response_types_supported"] == []
    for name in ("token", "introspection", "revocation"):
        assert found[f"{name}_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]


@pytest.mark.settings(JWT_SECRET_KEY="a key of 0123456789abcdefghijklmnopq")
def test_a_change_of_the_algorithm_throws_nobody_out(house, settings, email):
    first = house.member(email)
    for algorithm in ("ES256", "EdDSA", "HS256"):
        house = restarted(house, settings, JWT_ALGORITHM=algorithm)
        assert house.get("/mfa", token=first["access_token"]).status == 200
        renewed = house.post("/refresh", token=first["refresh_token"])
        assert renewed.status == 200
        assert jwt.get_unverified_header(renewed.json["access_token"])["alg"] == algorithm
        first = renewed.json
    without = restarted(house, settings, JWT_ALGORITHM="ES256", JWT_SECRET_KEY="another key of 0123456789abcdefghijk")
    assert without.get("/mfa", token=first["access_token"]).code == "token_invalid"


@ES256
@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="1 per hour")
def test_keys_and_metadata_are_not_counted(house):
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
        assert [house.get(path).status for _ in range(5)] == [200] * 5


@pytest.mark.settings(SECURITY_CONTACT="mailto:security@example.com, https://example.com/report", BASE_URL="https://gatehouse.example")
def test_whom_to_tell_of_a_weakness_is_told_until_when(house):
    answer = house.get("/.well-known/security.txt")
    *contacts, expires, canonical = answer.text.splitlines()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert contacts == ["Contact: mailto:security@example.com", "Contact: https://example.com/report"]
    assert timedelta(days=80) < datetime.fromisoformat(expires.removeprefix("Expires: ")) - datetime.now(UTC) < timedelta(days=365)
    assert canonical == "Canonical: https://gatehouse.example/.well-known/security.txt"


def test_where_nobody_is_named_there_is_nobody_to_tell(house):
    assert house.get("/.well-known/security.txt").code == "not_found"
