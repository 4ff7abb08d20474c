"""Threat 31: ID tokens that lie, at every provider that gives one."""

import base64
import hmac
import json
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import OctKey

from tests.attacks.acts import nobody_came_in, refused
from tests.provider import CLIENT_ID, CLIENT_SECRET, MISSING, come_back, new_key, sign_in
from tests.providers import OWN, SPEAK_OPENID, TENANT

SETTINGS: dict[str, str] = {}
pytestmark = pytest.mark.usefixtures("stand_ins")
every = pytest.mark.parametrize("provider", [*SPEAK_OPENID, OWN], indirect=True)


# 31: the ID token.


def claims_of(**more):
    return lambda provider: provider.says.update(more)


def signed_by(sign):
    return lambda provider: setattr(provider, "signs", lambda claims: sign(provider, claims))


def handmade(header, claims, signature=b""):
    """A token of our own hand: whatever header and signature."""
    parts = [base64.urlsafe_b64encode(one).rstrip(b"=") for one in (json.dumps(header).encode(), json.dumps(claims).encode())]
    signed = b".".join(parts)
    made = signature(signed) if callable(signature) else signature
    return b".".join([signed, base64.urlsafe_b64encode(made).rstrip(b"=")]).decode()


def unsigned(alg):
    return signed_by(lambda provider, claims: handmade({"alg": alg, "kid": provider.keys[0].kid}, claims))


def by_secret(secret):
    """HS256 with something that is no secret between us and the provider alone."""

    def sign(provider, claims):
        key = secret(provider)
        return handmade({"alg": "HS256", "kid": provider.keys[0].kid}, claims, lambda signed: hmac.digest(key, signed, "sha256"))

    return signed_by(sign)


def pem(provider):
    return provider.keys[0].raw_value.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def by_strange_key(**header):
    stranger = new_key()

    def sign(provider, claims):
        named = {name: value(provider, stranger) if callable(value) else value for name, value in header.items()}
        return jws.serialize_compact({"alg": "RS256", **named}, json.dumps(claims), stranger)

    return signed_by(sign)


def critical(provider, claims):
    return jws.serialize_compact(
        {"alg": "RS256", "kid": provider.keys[0].kid, "b64": True, "crit": ["b64"]}, json.dumps(claims), provider.keys[0]
    )


NOW = int(time.time())
LIES = {
    "another issuer": claims_of(iss="https://accounts.google.com"),
    "an issuer with a slash more": lambda provider: provider.says.update(iss=provider.issuer + "/"),
    "no issuer": claims_of(iss=MISSING),
    "several issuers": lambda provider: provider.says.update(iss=[provider.issuer]),
    "for somebody else": claims_of(aud="another-client"),
    "for nobody": claims_of(aud=MISSING),
    "for an empty list": claims_of(aud=[]),
    "for several, and not saying for whom": claims_of(aud=[CLIENT_ID, "another-client"]),
    "for us, issued to another": claims_of(azp="another-client"),
    "for several, issued to another": claims_of(aud=[CLIENT_ID, "another-client"], azp="another-client"),
    "over": claims_of(exp=NOW - 60),
    "over for six seconds": lambda provider: provider.says.update(exp=int(time.time()) - 6),
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
    "another key under the name of ours": by_strange_key(kid=lambda provider, _: provider.keys[0].kid),
    "another key, without a name": by_strange_key(),
    "its own key in the header": by_strange_key(kid="own", jwk=lambda _, stranger: stranger.as_dict(private=False)),
    "its own key set's address": by_strange_key(kid="own", jku="http://127.0.0.1:1/keys"),
    "a path for a name": by_strange_key(kid="../../../../dev/null"),
    "another algorithm": signed_by(
        lambda provider, claims: jws.serialize_compact(
            {"alg": "PS256", "kid": provider.keys[0].kid}, json.dumps(claims), provider.keys[0], algorithms=["PS256"]
        )
    ),
    "an extension": signed_by(critical),
    "no token": signed_by(lambda *_: None),
    "a number": signed_by(lambda *_: 1),
    "two parts": signed_by(lambda provider, claims: provider.sign(claims).rsplit(".", 1)[0]),
    "a list of claims": signed_by(lambda provider, _: provider.sign([])),
    "a changed claim": signed_by(
        lambda provider, claims: ".".join(
            [provider.sign(claims).split(".")[0], provider.sign({**claims, "sub": "x"}).split(".")[1], provider.sign(claims).split(".")[2]]
        )
    ),
}


@every
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_id_token_that_lies_is_refused(server, provider, email, lie):
    lie(provider)
    answer = sign_in(server, provider)
    assert refused(answer), answer.body
    assert nobody_came_in(email)
    assert come_back(server, provider)[0] == {"error": "failed"}


@every
@pytest.mark.parametrize("seconds", [-1, 4])
def test_clocks_may_differ_by_a_few_seconds(server, provider, seconds):
    provider.says |= {"exp": int(time.time()) + seconds} if seconds < 0 else {"iat": int(time.time()) + seconds}
    assert sign_in(server, provider).status == 200


@every
def test_a_token_for_several_and_issued_to_us_is_ours(server, provider):
    provider.says |= {"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID}
    assert sign_in(server, provider).status == 200


@every
def test_the_secret_key_of_a_symmetric_algorithm_is_no_key_even_if_it_is_published(server, provider, email):
    shared = OctKey.import_key("a secret that the provider publishes", {"kid": "shared", "alg": "HS256", "use": "sig"})
    provider.published = [shared.as_dict(), *(key.as_dict(private=False) for key in provider.keys)]
    provider.described = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
    provider.signs = lambda claims: jws.serialize_compact({"alg": "HS256", "kid": "shared"}, json.dumps(claims), shared)
    assert refused(sign_in(server, provider))
    assert nobody_came_in(email)


# Microsoft's many tenants.


OTHER = "72f988bf-86f1-41af-91ab-2d7cd011db47"
TENANTS = {
    "another tenant's issuer": lambda provider: provider.says.update(iss=provider.of_tenant(OTHER)),
    "another tenant": claims_of(tid=OTHER),
    "no tenant": claims_of(tid=MISSING),
    "the gap itself": lambda provider: provider.says.update(tid="{tenantid}", iss=provider.of_tenant("{tenantid}")),
    "all tenants": lambda provider: provider.says.update(tid="common", iss=provider.of_tenant("common")),
    "an empty tenant": lambda provider: provider.says.update(tid="", iss=provider.of_tenant("")),
    "a path for a tenant": lambda provider: provider.says.update(tid=f"{TENANT}/x", iss=provider.of_tenant(f"{TENANT}/x")),
    "a tenant in capitals": lambda provider: provider.says.update(tid=TENANT.upper(), iss=provider.of_tenant(TENANT.upper())),
    "a tenant and a line break": lambda provider: provider.says.update(tid=TENANT + "\n", iss=provider.of_tenant(TENANT + "\n")),
    "a list of tenants": claims_of(tid=[TENANT]),
    "no issuer": claims_of(iss=MISSING),
}


@pytest.mark.parametrize("lie", TENANTS.values(), ids=TENANTS.keys())
@pytest.mark.parametrize("provider", ["microsoft"], indirect=True)
def test_a_token_is_its_own_tenants(server, provider, email, lie):
    lie(provider)
    assert refused(sign_in(server, provider))
    assert nobody_came_in(email)


@pytest.mark.parametrize(("tenant", "status"), [("{tenantid}", 200), (TENANT, 200), (OTHER, 400)])
@pytest.mark.parametrize("provider", ["microsoft"], indirect=True)
def test_the_key_of_one_tenant_signs_for_no_other(server, provider, email, tenant, status):
    provider.keys.insert(0, new_key())  # So that every worker has to ask.
    provider.published = [{**key.as_dict(private=False), "issuer": provider.of_tenant(tenant)} for key in provider.keys]
    assert sign_in(server, provider).status == status
    assert nobody_came_in(email)


# Apple's client secret.


@pytest.mark.parametrize("provider", ["apple"], indirect=True)
def test_apples_client_secret_is_signed_anew_for_each_code_and_lives_for_minutes(server, provider):
    secrets = set()
    for _ in range(2):
        assert sign_in(server, provider).status == 200
        secrets.add([form for word, form, _ in provider.asked if word == "token"][-1]["client_secret"])
        time.sleep(1.1)  # The signature differs anyhow, the time of its making only after a second.
    assert len(secrets) == 2
    for secret in secrets:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in secret.split(".")[:2])
        assert (header["alg"], claims["exp"] - claims["iat"]) == ("ES256", 300)
