"""Threats 24, 25 and 29: forged, re-written and malformed tokens, judged by the short way, by the library, and over HTTP."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

import config
from domain.errors import Refused
from resources import tokens
from tests.attacks.acts import claims, raw
from tests.visitor import code_of

HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
PUBLIC_KEY = (
    rsa.generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
INVALID, EXPIRED = "token_invalid", "token_expired"
DEEP = "[" * 2500 + "]" * 2500


def encoded(part):
    """One part of a token: bytes as they are, everything else as JSON."""
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header, payload, key, hash_="sha256"):
    """A token made by hand, so that nothing is too odd to be made."""
    text = f"{header}.{payload}"
    return f"{text}.{encoded(hmac.digest(key.encode(), text.encode(), hash_))}"


class Forger:
    """What somebody can make of a token; with `key` it is signed as ours are."""

    def __init__(self, token):
        self.parts = token.split(".")
        self.header = json.loads(base64.urlsafe_b64decode(self.parts[0] + "=="))
        self.claims = claims(token)
        self.key = config.keys(config.settings.JWT_SECRET_KEY)[0]

    def with_claims(self, **changes):
        """Our header and signature over other claims; None takes a claim away."""
        return self.with_payload({name: value for name, value in (self.claims | changes).items() if value is not None})

    def with_payload(self, payload):
        """Our header and signature over anything."""
        return signed(self.parts[0], encoded(payload), self.key)

    def with_header(self, *, key=None, hash_="sha256", **changes):
        """Another header over our claims; None takes a field away."""
        header = {name: value for name, value in (self.header | changes).items() if value is not None}
        return signed(encoded(header), self.parts[1], self.key if key is None else key, hash_)

    def with_header_reversed(self):
        """The same header, written in another order."""
        return signed(encoded(dict(reversed(self.header.items()))), self.parts[1], self.key)


def unsigned(forger, algorithm):
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{forger.parts[1]}."


BY_STRANGERS = {
    **{f"alg {one}, no signature": lambda f, one=one: unsigned(f, one) for one in ("none", "None", "NONE", "nOnE", "", "HS256")},
    **{f"alg {one}, old signature": lambda f, one=one: unsigned(f, one) + f.parts[2] for one in ("none", "nOnE", "HS384")},
    "no alg": lambda f: f.with_header(alg=None, key="x"),
    **{f"{alg} by a public key": lambda f, alg=alg: f.with_header(alg=alg, key=PUBLIC_KEY, hash_=HASHES[alg]) for alg in HASHES},
    "RS256 by our own words": lambda f: f.with_header(alg="RS256", key=PUBLIC_KEY),
    "a key in the header": lambda f: f.with_header(jwk={"kty": "oct", "k": encoded(b"mine")}, key="mine"),
    "a key at an address": lambda f: f.with_header(jku="https://evil.example/keys.json", kid="mine", key="mine"),
    "a certificate at an address": lambda f: f.with_header(x5u="https://evil.example/mine.pem", key="mine"),
    "a certificate in the header": lambda f: f.with_header(x5c=[encoded(b"mine")], key="mine"),
    **{
        f"kid {kid!r}": lambda f, kid=kid: f.with_header(kid=kid, key="")
        for kid in ("../../../../dev/null", "/dev/null", "' OR '1'='1", "x' UNION SELECT '", "https://evil.example/key", "", "\0", "nobody")
    },
    **{f"kid {kid!r}": lambda f, kid=kid: f.with_header(kid=kid, key="") for kid in (0, True, [], {}, ["x"], 1.5)},
    "no kid": lambda f: f.with_header(kid=None, key=""),
    "signed with nothing": lambda f: f.with_header(key=""),
    **{
        f"signed with {key!r}": lambda f, key=key: f.with_header(key=key)
        for key in (*sorted(config.SAMPLES), "super-secret", "gatehouse", " ")
    },
    "signed with the other secret": lambda f: f.with_header(key=config.settings.SECRET_KEY),
    "signed with the encryption key": lambda f: f.with_header(key=config.settings.FERNET_KEY),
    "signed with the name of the key": lambda f: f.with_header(key=f.header["kid"]),
    "other claims below our signature": lambda f: f"{f.parts[0]}.{encoded(f.claims | {'sub': '0' * 32})}.{f.parts[2]}",
    "half a signature": lambda f: f"{f.parts[0]}.{f.parts[1]}.{f.parts[2][:20]}",
    "no signature": lambda f: f"{f.parts[0]}.{f.parts[1]}.",
    "two parts": lambda f: f"{f.parts[0]}.{f.parts[1]}",
    "four parts": lambda f: ".".join([*f.parts, f.parts[2]]),
    "five parts": lambda f: ".".join([*f.parts, *f.parts[:2]]),
    "a header that is no object": lambda f: signed(encoded([]), f.parts[1], f.key),
    "a header that is no JSON": lambda f: signed(encoded(b"{"), f.parts[1], f.key),
    "a deep header": lambda f: signed(encoded(DEEP.encode()), f.parts[1], f.key),
    "points": lambda f: "..",
    "a word": lambda f: "x",
}
WITH_OUR_KEY = {
    "HS384 by our key": lambda f: f.with_header(alg="HS384", hash_="sha384"),
    "HS512 by our key": lambda f: f.with_header(alg="HS512", hash_="sha512"),
    "hs256 by our key": lambda f: f.with_header(alg="hs256"),
    "an unknown crit": lambda f: f.with_header(crit=["unknown"], unknown=1),
    "crit of exp": lambda f: f.with_header(crit=["exp"], exp=1),
    "an empty crit": lambda f: f.with_header(crit=[]),
    "a crit that is no list": lambda f: f.with_header(crit="exp"),
    "a payload that is not encoded": lambda f: f.with_header(b64=False, crit=["b64"]),
    **{
        f"no {name}": lambda f, name=name: f.with_claims(**{name: None})
        for name in ("iss", "aud", "sub", "sid", "jti", "type", "iat", "exp", "gen")
    },
    **{
        f"{name} {value!r}": lambda f, name=name, value=value: f.with_claims(**{name: value})
        for name in ("iss", "aud", "sub", "sid", "jti", "type")
        for value in (0, True, [], {}, ["x"], "")
        if (name, value) not in (("sub", ""), ("sid", ""), ("jti", ""))  # Of the right type; there is no such session.
    },
    **{
        f"{name} {value!r}": lambda f, name=name, value=value: f.with_claims(**{name: value})
        for name in ("iat", "exp", "gen")
        for value in ("1", True, [], {}, 1.5, float("nan"), float("inf"), "9" * 30)
    },
    "exp beyond all numbers": lambda f: f.with_payload(json.dumps(f.claims).encode().replace(b'"exp": ', b'"exp": ' + b"9" * 400)),
    "nulls": lambda f: f.with_payload(dict.fromkeys(f.claims)),
    "somebody else's issuer": lambda f: f.with_claims(iss="https://evil.example"),
    "our issuer and a slash": lambda f: f.with_claims(iss=f"{f.claims['iss']}/"),
    "somebody else's audience": lambda f: f.with_claims(aud="another service"),
    "our audience in a list": lambda f: f.with_claims(aud=["gatehouse"]),
    "another type": lambda f: f.with_claims(type="service"),
    "made in the future": lambda f: f.with_claims(iat=int(time.time()) + 60),
    "good from tomorrow": lambda f: f.with_claims(nbf=int(time.time()) + 86400),
    "good from a word": lambda f: f.with_claims(nbf="tomorrow"),
    "claims that are a list": lambda f: f.with_payload([]),
    "claims that are a word": lambda f: f.with_payload("x"),
    "claims that are null": lambda f: f.with_payload(b"null"),
    "claims that are nothing": lambda f: f.with_payload(b""),
    "claims that are no JSON": lambda f: f.with_payload(b"{"),
    "claims that are not UTF-8": lambda f: f.with_payload(b'{"a": "\xff"}'),
    "deep claims": lambda f: f.with_payload(DEEP.encode()),
}
FORGERIES = BY_STRANGERS | WITH_OUR_KEY
RUN_OUT = {
    "over": lambda f: f.with_claims(exp=int(time.time()) - 1),
    "over this second": lambda f: f.with_claims(exp=int(time.time())),
    "over since 1970": lambda f: f.with_claims(exp=0, iat=0),
    "over before 1970": lambda f: f.with_claims(exp=-1),
    "over, of a session that there never was": lambda f: f.with_claims(exp=1, sid="0" * 32),
}
GOOD = {
    "as it is": lambda f: ".".join(f.parts),
    "made anew": lambda f: f.with_claims(),
    "another order of the header": lambda f: f.with_header_reversed(),
    "our key's name alone": lambda f: f.with_header(typ=None),
    "a clock that is 4 seconds ahead": lambda f: f.with_claims(iat=int(time.time()) + 4),
}


@pytest.fixture(scope="module")
def pair(server):
    """The tokens of one session."""
    return server.member()


@pytest.fixture
def library(server):
    """Flask-JWT-Extended, set up as the server has it."""
    app = Flask("library")
    tokens.register(app)
    with app.app_context():
        yield


def verdict(judge, token, kind):
    """What a way of judging says: None if it takes the token, else the refusal's code."""
    try:
        judge(token, kind)
    except Refused as refused:
        return refused.code
    return None


def by_library(token, kind):
    """The library's own decode, and what the contract asks of claims."""
    tokens._judge(tokens.by_library(token), kind, expired_too=False)


def verdicts(token, kind="access"):
    """The verdicts of the short way and of the library."""
    return [verdict(tokens.verify, token, kind), verdict(by_library, token, kind)]


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_opens_nothing(server, pair, library, forge):
    for kind, method, path in (("access", "GET", "/mfa"), ("refresh", "POST", "/refresh")):
        token = forge(Forger(pair[f"{kind}_token"]))
        assert verdicts(token, kind) == [INVALID, INVALID]
        answer = server.request(method, path, token=token)
        assert (answer.status, answer.code) == (401, INVALID)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_signs_nobody_out(server, pair, forge):
    answer = server.post("/logout", token=forge(Forger(pair["access_token"])))
    assert (answer.status, answer.code) == (401, INVALID)


@pytest.mark.parametrize("make", RUN_OUT.values(), ids=RUN_OUT)
def test_a_token_that_has_run_out_is_told_so(server, pair, library, make):
    for kind, method, path in (("access", "GET", "/mfa"), ("refresh", "POST", "/refresh")):
        token = make(Forger(pair[f"{kind}_token"]))
        assert verdicts(token, kind) == [EXPIRED, EXPIRED]
        assert server.request(method, path, token=token).code == EXPIRED


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_a_token_that_is_ours_is_taken(server, pair, library, make):
    """Else the tests above would show nothing."""
    token = make(Forger(pair["access_token"]))
    assert verdicts(token) == [None, None]
    assert server.get("/mfa", token=token).status == 200


def test_a_token_of_one_kind_is_none_of_another(server, pair, library):
    assert verdicts(pair["access_token"], "refresh") == verdicts(pair["refresh_token"], "access") == [INVALID, INVALID]
    assert server.post("/refresh", token=pair["access_token"]).code == INVALID
    assert server.get("/mfa", token=pair["refresh_token"]).code == INVALID


def rewritten(token):
    """Other strings for the same token: padded, in other letters for the same bytes, with blanks of all kinds."""
    header, payload, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    same_bytes = [signature[:-1] + alphabet[last - last % 4 + number] for number in range(4)]
    return [
        *(f"{header}.{payload}.{one}" for one in same_bytes if one != signature),
        *(token + end for end in ("=", "==", "====", " ", "  ", ".", "\u00a0", "\t", "%20", "\\")),
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}=.{signature}",
        f"{header}.{payload}.{signature[:5]} {signature[5:]}",
        f" {token}",
        f"\u00a0{token}",
        token.replace("-", "+").replace("_", "/") + "=",
        token.swapcase(),
    ]


def test_a_revoked_token_stays_dead_however_it_is_written(server):
    tokens_ = server.member()
    assert server.post("/logout", token=tokens_["access_token"]).status == 200
    for kind, method, path in (("access_token", "GET", "/mfa"), ("refresh_token", "POST", "/refresh")):
        for token in [tokens_[kind], *rewritten(tokens_[kind])]:
            answers = [server.request(method, path, token=token)]
            if token.isascii():
                csrf = {"X-CSRF-TOKEN": claims(tokens_[kind])["csrf"]}
                answers.append(server.request(method, path, cookies={f"{kind}_cookie": token}, headers=csrf))
            assert {one.status for one in answers} <= {401}, token
            assert {one.code for one in answers} <= {"token_revoked", "token_missing", INVALID}, token


def test_the_library_takes_another_writing_for_the_same_token_so_ends_go_by_the_session(server, library, pair):
    """It is this that makes revoking a string, or its hash, worthless."""
    taken = [token for token in rewritten(pair["access_token"]) if token.isascii() and verdicts(token) == [None, None]]
    assert taken
    assert {claims(token)["sid"] for token in taken} == {pair["session_id"]}


def asks(*lines):
    """A request by hand, with header lines of any form."""
    return "\r\n".join(["GET /mfa HTTP/1.1", "Host: gatehouse", "Connection: close", *lines, "", ""])


def test_a_malformed_authorization_is_refused_and_never_an_error(server, pair):
    token = pair["access_token"]
    lines = [
        ["Authorization:"],
        ["Authorization: "],
        ["Authorization: Bearer"],
        ["Authorization: Bearer "],
        ["Authorization: Bearer a b"],
        [f"Authorization: Bearer {token} {token}"],
        [f"Authorization: Bearer {token}, Bearer {token}"],
        [f"Authorization: Bearer,{token}"],
        [f"Authorization: Bearer\t{token}"],
        [f"Authorization: Bearer:{token}"],
        [f"Authorization: Basic {token}"],
        [f"Authorization: Token {token}"],
        [f"Authorization: {token}"],
        [f"Authorization: bearerbearer {token}"],
        ["Authorization: Bearer \xe9\xff\xa0"],
        [f"Authorization: Bearer {token}\xa0"],
        [f"Authorization: \xc2\xa0Bearer {token}"],
        [f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"],
        [f"Authorization: Bearer {token}", "Authorization: Bearer x"],
    ]
    for one in lines:
        answer = raw(server.port, asks(*one))
        assert answer.startswith(b"HTTP/1.1 401 "), (one, answer[:300])
        assert b"token_invalid" in answer, one
    for line in (f"Authorization: Bearer {token}", f"Authorization: bEARER {token}", f"authorization:   BEARER   {token}  "):
        assert raw(server.port, asks(line)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [8_000, 9_000, 60_000, 100_000])
def test_a_huge_token_is_refused_unread(server, pair, size):
    ours = Forger(pair["access_token"]).with_claims(more="x" * (size * 3 // 4))  # In the token it is a third longer.
    for token in ("x" * size, pair["access_token"] + "x" * size, ("x" * (size // 3) + ".") * 3, ours):
        for line in (f"Authorization: Bearer {token}", f"Cookie: access_token_cookie={token}", f"X-Device-Token: {token}"):
            status = raw(server.port, asks(line))[9:12]
            assert status in (b"400", b"401", b"431"), line[:60]


def test_what_is_made_for_one_purpose_is_no_bearer(server, email):
    """Threats 17 and 22: tickets, one-time tokens, links and devices' tokens open nothing on any row."""
    server.sign_up(email)
    link = server.mailbox.last(email).path.split("/")[-1]
    server.post(f"/confirm/{link}")
    signed_in = server.login(email).json
    app, recovery_codes = server.turn_on_totp(signed_in["access_token"])
    server.post("/forgot-password", {"email": email})
    reset = server.mailbox.last(email).path.split("/")[-1]
    bearers = [
        server.login(email).json["mfa_token"],
        server.post("/send-otp", {"email": email}).json["otp_token"],
        link,
        reset,
        signed_in["device_token"],
        recovery_codes[0],
        code_of(app),
        signed_in["session_id"],
        hashlib.sha256(signed_in["access_token"].encode()).hexdigest(),
    ]
    for bearer in bearers:
        for method, path in (("GET", "/mfa"), ("POST", "/refresh"), ("POST", "/logout"), ("POST", "/reauthenticate")):
            assert server.request(method, path, token=bearer).code == INVALID


def test_no_credential_is_read_from_a_query(server, pair):
    token = pair["access_token"]
    for name in ("access_token", "token", "jwt", "authorization", "access_token_cookie"):
        assert server.get(f"/mfa?{name}={token}").code == "token_missing"
        assert server.post(f"/logout?{name}={token}").code == "token_missing"
    assert server.get("/mfa", token=token).status == 200
