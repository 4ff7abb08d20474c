"""Threats 24 and 28 under ES256 and EdDSA: forged tokens, public keys as secrets, and keys that change under running requests."""

import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask
from sqlalchemy import func, select, update

from domain import accounts, clock, signing
from domain.database import reading, transaction
from model import SigningKey
from resources import tokens
from tests.attacks.test_tokens import BY_STRANGERS, EXPIRED, FORGERIES, GOOD, INVALID, RUN_OUT, Forger, encoded, verdicts
from tests.conftest import serving
from tests.serving import at_once
from tests.visitor import PASSWORD

ENCODING, FORMAT = serialization.Encoding, serialization.PublicFormat


class PairForger(Forger):
    """The same as for tokens under a secret; with our key means with the private half."""

    def __init__(self, token):
        super().__init__(token)
        self.pair = signing.find(self.header["kid"])

    def with_payload(self, payload):
        return self.by_pair(self.parts[0], encoded(payload))

    def with_header(self, *, key=None, hash_="sha256", **changes):
        if key is not None:
            return super().with_header(key=key, hash_=hash_, **changes)
        header = {name: value for name, value in (self.header | changes).items() if value is not None}
        return self.by_pair(encoded(header), self.parts[1])

    def with_header_reversed(self):
        return self.by_pair(encoded(dict(reversed(self.header.items()))), self.parts[1])

    def by_pair(self, header, payload):
        text = f"{header}.{payload}"
        return f"{text}.{encoded(jwt.get_algorithm_by_name(self.pair.algorithm).sign(text.encode(), self.pair.private))}"

    def by_public(self, key, **changes):
        """HMAC with a public key, in one of the forms in which it is known."""
        header = {name: value for name, value in (self.header | {"alg": "HS256"} | changes).items() if value is not None}
        text = f"{encoded(header)}.{self.parts[1]}"
        return f"{text}.{encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def forms(pair):
    """A public key in every form that somebody may take for a secret."""
    public = pair.public
    made = {"der": public.public_bytes(ENCODING.DER, FORMAT.SubjectPublicKeyInfo)}
    made["pem"] = public.public_bytes(ENCODING.PEM, FORMAT.SubjectPublicKeyInfo)
    made["pem without its end"] = made["pem"].strip()
    made["raw"] = public.public_bytes(ENCODING.X962, FORMAT.UncompressedPoint) if pair.algorithm == "ES256" else public.public_bytes_raw()
    made["jwk"] = json.dumps(pair.jwk).encode()
    made["jwk, compact"] = json.dumps(pair.jwk, separators=(",", ":"), sort_keys=True).encode()
    made["x"] = pair.jwk["x"].encode()
    made["kid"] = pair.kid.encode()
    return made


@pytest.fixture(scope="module", params=["ES256", "EdDSA"])
def server(request, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), {"JWT_ALGORITHM": request.param}) as running:
        signing.forget()
        yield running
        signing.forget()


@pytest.fixture(scope="module")
def pair(server):
    return server.member()


@pytest.fixture(autouse=True)
def library(server):
    app = Flask("library")
    tokens.register(app)
    with app.app_context():
        yield


def test_forged_tokens_get_the_same_verdict_from_both_ways_of_judging(pair):
    forger = PairForger(pair["access_token"])
    for cases, verdict in ((FORGERIES, INVALID), (RUN_OUT, EXPIRED), (GOOD, None)):
        found = {name: verdicts(make(forger)) for name, make in cases.items()}
        assert {name: one for name, one in found.items() if one != [verdict, verdict]} == {}


def test_forged_tokens_open_nothing(server, pair):
    forger = PairForger(pair["access_token"])
    found = {name: server.get("/mfa", token=forge(forger)).code for name, forge in BY_STRANGERS.items()}
    assert found == dict.fromkeys(BY_STRANGERS, INVALID)
    assert server.get("/mfa", token=GOOD["made anew"](forger)).status == 200


def test_a_public_key_is_no_secret(server, pair):
    forger = PairForger(pair["access_token"])
    hmac_kid = next(iter(tokens.signatures._secrets.values())).kid
    for name, key in forms(forger.pair).items():
        for changes in ({}, {"kid": hmac_kid}, {"kid": None}, {"jwk": forger.pair.jwk}, {"jku": f"{server.base}/.well-known/jwks.json"}):
            forged = forger.by_public(key, **changes)
            assert verdicts(forged) == [INVALID, INVALID], (name, changes)
            assert server.get("/mfa", token=forged).code == INVALID, (name, changes)


def test_a_key_of_ones_own_is_none_of_ours(server, pair):
    """Also with its public half in the header, or under the name of ours."""
    forger = PairForger(pair["access_token"])
    row = signing._new()
    own = signing._opened(row, None)
    for header in ({"kid": own.kid}, {}, {"jwk": own.jwk}, {"kid": own.kid, "jku": "https://evil.example/keys"}):
        text = f"{encoded(forger.header | header)}.{forger.parts[1]}"
        forged = f"{text}.{encoded(jwt.get_algorithm_by_name(own.algorithm).sign(text.encode(), own.private))}"
        assert verdicts(forged) == [INVALID, INVALID]
        assert server.get("/mfa", token=forged).code == INVALID


def test_names_of_keys_that_are_made_up_do_not_stop_the_server(server, pair):
    forger = PairForger(pair["access_token"])
    answers = at_once(20, lambda number: [server.get("/mfa", token=forger.with_header(kid=f"{number}-{n}")).status for n in range(10)])
    assert {status for some in answers for status in some} == {401}
    assert server.get("/mfa", token=pair["access_token"]).status == 200


def test_all_workers_sign_with_one_key_from_the_start(server):
    kids = {jwt.get_unverified_header(server.member()["access_token"])["kid"] for _ in range(6)}
    assert kids == {one["kid"] for one in server.get("/.well-known/jwks.json").json["keys"]}
    with reading() as db:
        assert db.scalar(select(func.count()).select_from(SigningKey)) == 1 == len(kids)


def kid_of(token):
    return jwt.get_unverified_header(token)["kid"]


def kid_of_a_sign_in(server, email):
    answer = server.login(email)
    assert answer.status == 200, answer.body
    return kid_of(answer.json["access_token"])


def test_a_rotation_under_running_requests_refuses_nobody(server, email):
    """Tokens of before, of meanwhile and of afterwards are good at every worker, and all workers get to the new key."""
    many = [f"{number}.{email}" for number in range(12)]  # One account has five tries at once.
    for one in many:
        accounts.create(one, PASSWORD)
    before, made, statuses, going = server.member(), [server.member()], set(), [True]

    def use():
        while going:
            answer = server.post("/refresh", token=made[-1]["refresh_token"])
            made.append(answer.json)
            statuses.add(answer.status)
            statuses.update(server.get("/mfa", token=one["access_token"]).status for one in (before, made[-1]))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(use)
        try:
            new = signing.rotate()
            with transaction() as db:  # As if it had been told long enough ago.
                db.execute(update(SigningKey).where(SigningKey.kid == new).values(created_at=clock.now() - timedelta(minutes=1)))
            for _ in range(100):
                kids = set(at_once(len(many), lambda number: kid_of_a_sign_in(server, many[number])))
                if kids == {new}:
                    break
                time.sleep(0.5)
        finally:
            going.clear()
        running.result()
    assert kids == {new}
    assert statuses == {200}
    assert {one["kid"] for one in server.get("/.well-known/jwks.json").json["keys"]} == {new, kid_of(before["access_token"])}
