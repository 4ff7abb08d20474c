"""Tokens as they are made and judged in one process: every claim, its bounds to the second, and what verifies under which key.

`tests/attacks/test_tokens.py` sends its forgeries over HTTP as well; here the verdicts stand alone, so that they can be many.
"""

import time
from datetime import timedelta

import jwt
import pytest
from flask import Flask
from flask_jwt_extended import get_csrf_token

import config
from domain import clock, limits, signing
from domain.database import transaction
from domain.errors import TokenInvalid
from domain.sessions import Grant
from model import Session, SigningKey, User
from resources import signatures, tokens
from tests.attacks.acts import claims
from tests.attacks.test_key_pairs import PairForger
from tests.attacks.test_tokens import EXPIRED, FORGERIES, GOOD, INVALID, RUN_OUT, Forger, encoded, verdict, verdicts

ACCESS, REFRESH = 1800, 86400
DISTANT = 10**6
IN_PAIRS = [pytest.param(one, marks=pytest.mark.settings(JWT_ALGORITHM=one)) for one in ("ES256", "EdDSA")]
BY_ALL = [pytest.param("HS256"), *IN_PAIRS]


@pytest.fixture
def app(cellar, still_clock):
    """An application set up as the server has it, while no time passes."""
    still_clock()
    made = Flask("tokens")
    tokens.register(made)
    with made.app_context():
        yield made


def grant(generation=3, lasts=None, **more):
    now = clock.now()
    times = {"authenticated_at": now - timedelta(seconds=77), "expires_at": lasts and now + timedelta(seconds=lasts)}
    return Grant(Session(id="s" * 32, amr="pwd otp mfa", **times), User(id="u" * 32), generation, **more)


def forger(kind="access"):
    pair = tokens.mint(grant())
    token = pair.access if kind == "access" else pair.refresh
    return (PairForger if signing.is_on() else Forger)(token)


def test_a_pair_says_what_it_is_and_no_more(app):
    pair = tokens.mint(grant())
    access, refresh = claims(pair.access), claims(pair.refresh)
    now, common = (
        clock.epoch(),
        {"iss": config.settings.JWT_ISSUER, "aud": config.settings.JWT_AUDIENCE, "sub": "u" * 32, "sid": "s" * 32, "gen": 3},
    )
    fresh = {"jti", "csrf"}
    assert {name: access[name] for name in access.keys() - fresh} == common | {
        "iat": now, "exp": now + ACCESS, "type": "access", "amr": ["pwd", "otp", "mfa"], "auth_time": now - 77,
    }  # fmt: skip
    assert {name: refresh[name] for name in refresh.keys() - fresh} == common | {"iat": now, "exp": now + REFRESH, "type": "refresh"}
    assert pair.expires_in == ACCESS
    assert jwt.get_unverified_header(pair.access) == {"alg": "HS256", "kid": signatures.signer().kid, "typ": "JWT"}
    assert tokens.expiry(pair.refresh) == now + REFRESH


def test_names_of_tokens_are_the_same_again_and_each_pair_and_kind_has_its_own_while_csrf_words_are_always_new(app):
    pairs = [tokens.mint(grant(generation)) for generation in (3, 3, 4)]
    names = [[claims(one)["jti"] for one in pair[:2]] for pair in pairs]
    assert names[0] == names[1]
    assert len({*names[0], *names[2]}) == 4
    assert {len(name) for name in names[0]} == {32}
    words = {get_csrf_token(one) for pair in pairs for one in pair[:2]}
    assert len(words) == 6
    assert {len(word) for word in words} == {43}


def test_roles_are_for_services_and_the_binding_is_in_both(app):
    plain = tokens.mint(grant())
    assert not {"roles", "bound"} & {*claims(plain.access), *claims(plain.refresh)}
    pair = tokens.mint(grant(), "this client", {})
    assert (claims(pair.access)["roles"], claims(pair.access)["bound"]) == ({}, "this client")
    assert claims(pair.refresh)["bound"] == "this client"
    assert "roles" not in claims(pair.refresh)


@pytest.mark.parametrize(
    ("lasts", "access", "refresh"),
    [(REFRESH + 1, ACCESS, REFRESH), (REFRESH - 1, ACCESS, REFRESH - 1), (ACCESS - 1, ACCESS - 1, ACCESS - 1), (0, 0, 0), (-5, 0, 0)],
)
def test_no_token_outlives_its_session_or_ends_before_it_begins(app, lasts, access, refresh):
    pair = tokens.mint(
        Grant(Session(id="s", amr="", authenticated_at=clock.now(), expires_at=clock.now() + timedelta(seconds=lasts)), User(id="u"), 1)
    )
    now = clock.epoch()
    assert (tokens.expiry(pair.access), tokens.expiry(pair.refresh), pair.expires_in) == (now + access, now + refresh, access)


@pytest.mark.parametrize(("ends", "lasts"), [(None, 600), (601, 600), (599, 599)])
def test_a_service_gets_ten_minutes_and_never_more_than_its_application_token_has(app, ends, lasts):
    now = clock.epoch()
    made = tokens.mint_service("the service", "its token", {"b:2", "a:1"}, ends and now + ends)
    told = tokens.verify(made.token, "service")
    assert (made.scope, made.expires_in, told.pop("jti") != "") == ("a:1 b:2", lasts, True)
    assert told == {
        "iss": config.settings.JWT_ISSUER, "aud": config.settings.JWT_AUDIENCE, "sub": "the service", "client_id": "the service",
        "tid": "its token", "scope": "a:1 b:2", "iat": now, "exp": now + lasts, "type": "service",
    }  # fmt: skip
    assert claims(tokens.mint_service("the service", "its token", ()).token)["jti"] != claims(made.token)["jti"]


@pytest.mark.parametrize("algorithm", BY_ALL)
def test_forgeries_are_invalid_old_ones_have_expired_and_the_rest_is_good_whoever_judges(app, algorithm, monkeypatch):
    monkeypatch.setattr(time, "time", clock.epoch)
    for kind in ("access", "refresh"):
        made = forger(kind)
        said = {name: verdicts(forge(made), kind) for name, forge in (FORGERIES | RUN_OUT | GOOD).items()}
        wanted = dict.fromkeys(FORGERIES, [INVALID] * 2) | dict.fromkeys(RUN_OUT, [EXPIRED] * 2) | dict.fromkeys(GOOD, [None] * 2)
        assert {name: one for name, one in said.items() if one != wanted[name]} == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": 1}, None), ({"exp": 0}, EXPIRED), ({"exp": -1}, EXPIRED), ({"iat": 5}, None), ({"iat": 6}, INVALID),
        ({"nbf": 5}, None), ({"nbf": 6}, INVALID), ({"iat": -DISTANT}, None), ({"nbf": -DISTANT, "iat": 6}, INVALID),
    ],
)  # fmt: skip
def test_times_are_judged_to_the_second(app, changes, code):
    token = forger().with_claims(**{name: clock.epoch() + value for name, value in changes.items()})
    assert verdict(tokens.verify, token, "access") == code


def test_what_has_run_out_is_taken_where_age_does_not_matter_and_nothing_else_is(app):
    over = forger().with_claims(exp=clock.epoch() - 1)
    assert tokens.verify(over, "access", expired_too=True)["sid"] == "s" * 32
    for other in (forger().with_claims(exp=clock.epoch() - 1, iss="https://evil.example"), forger("refresh").with_claims(exp=1)):
        with pytest.raises(TokenInvalid):
            tokens.verify(other, "access", expired_too=True)


def test_of_several_kinds_each_is_taken_and_judged_by_its_own_claims(app):
    service = Forger(tokens.mint_service("the service", "its token", {"a:1"}).token)
    access = forger()
    for made in (service, access):
        assert verdict(lambda token, _: tokens.verify(token, "access", "service"), made.with_claims(), None) is None
    assert verdict(tokens.verify, service.with_claims(), "access") == INVALID
    assert verdict(tokens.verify, service.with_claims(type="access"), "access") == INVALID
    for name, value in (("tid", None), ("tid", 1), ("scope", None), ("scope", ["a:1"]), ("jti", 1), ("sub", None)):
        assert verdict(tokens.verify, service.with_claims(**{name: value}), "service") == INVALID, name


def test_a_token_that_is_too_long_is_not_even_looked_at(app, monkeypatch):
    token = tokens.mint(grant()).access
    monkeypatch.setattr(limits, "HEADER_TOKEN_BYTES", len(token))
    assert verdict(tokens.verify, token, "access") is None
    monkeypatch.setattr(limits, "HEADER_TOKEN_BYTES", len(token) - 1)
    assert verdict(tokens.verify, token, "access") == INVALID


def test_one_that_is_as_we_write_it_never_needs_the_library(app, monkeypatch):
    made = forger()
    monkeypatch.setattr(tokens, "decode_token", None)
    assert verdict(tokens.verify, made.with_claims(), "access") is None


def test_keys_go_by_their_names_alone_and_with_one_algorithm(app):
    ours = signatures.signer()
    assert signatures.of_names(ours.kid, "HS256") == ours.secret == ours.public
    assert signatures.of_header(ours.header) is ours
    for kid, algorithm in (
        (ours.kid, "ES256"),
        (ours.kid, None),
        (ours.kid, "HS512"),
        (None, "HS256"),
        ("x", "HS256"),
        ("x", "ES256"),
        (7, "ES256"),
    ):
        with pytest.raises(TokenInvalid):
            signatures.of_names(kid, algorithm)
    assert signatures.of_header("") is signatures.of_header(encoded({"alg": "HS256"})) is None


@pytest.mark.parametrize("algorithm", IN_PAIRS)
def test_a_pair_verifies_under_its_own_algorithm_until_it_is_over_whoever_judges(app, algorithm, moved_clock):
    token, first = tokens.mint(grant()).access, signatures.signer()
    assert (first.algorithm, signatures.of_names(first.kid, algorithm)) == (algorithm, signing.find(first.kid).public)
    other = {"ES256": "EdDSA", "EdDSA": "ES256"}[algorithm]
    for kid, name in ((first.kid, other), (first.kid, "HS256"), ([first.kid], algorithm), ("x", algorithm)):
        with pytest.raises(TokenInvalid):
            signatures.of_names(kid, name)
    assert not first.signed(token.rpartition(".")[0], "A" * 86)
    assert not first.signed(token.rpartition(".")[0], "not base 64")
    moved_clock(1)
    signing.rotate()
    assert signatures.signer().kid == first.kid, "the new one does not sign before everybody was told"
    moved_clock(signing.PUBLISHED_SECONDS + 2)
    assert signatures.signer().kid != first.kid
    assert verdicts(token) == [None, None]
    with transaction() as db:
        db.get(SigningKey, first.kid).ends_at = clock.now()
    signing.forget()
    assert verdicts(token) == [INVALID, INVALID]


def test_the_library_is_told_all_that_it_does_not_check_by_itself(app):
    told = {name: value for name, value in app.config.items() if name.startswith("JWT_") and name != "JWT_SECRET_KEY"}
    issuer, audience = config.settings.JWT_ISSUER, config.settings.JWT_AUDIENCE
    assert {name: told.get(name) for name in EXPECTED} == EXPECTED
    assert (told["JWT_ENCODE_ISSUER"], told["JWT_DECODE_ISSUER"]) == (issuer, issuer)
    assert (told["JWT_ENCODE_AUDIENCE"], told["JWT_DECODE_AUDIENCE"]) == (audience, audience)
    assert app.config["JWT_SECRET_KEY"] == config.keys(config.settings.JWT_SECRET_KEY)[0]
    assert told["JWT_DECODE_ALGORITHMS"] == ["HS256", "ES256", "EdDSA"]


EXPECTED = {
    "JWT_ALGORITHM": "HS256",
    "JWT_ENCODE_NBF": False,
    "JWT_DECODE_LEEWAY": 5,
    "JWT_TOKEN_LOCATION": ["headers", "cookies"],
    "JWT_COOKIE_SECURE": False,
    "JWT_COOKIE_SAMESITE": "Lax",
    "JWT_COOKIE_CSRF_PROTECT": True,
    "JWT_SESSION_COOKIE": False,
    "JWT_ACCESS_COOKIE_NAME": "access_token_cookie",
    "JWT_REFRESH_COOKIE_NAME": "refresh_token_cookie",
    "JWT_ACCESS_CSRF_COOKIE_NAME": "csrf_access_token",
    "JWT_REFRESH_CSRF_COOKIE_NAME": "csrf_refresh_token",
}


def test_behind_https_every_cookie_is_secure_and_of_this_host(cellar, monkeypatch):
    monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"BASE_URL": "https://auth.example.com"}))
    app = Flask("tokens")
    tokens.register(app)
    names = [name for name in EXPECTED if name.endswith("COOKIE_NAME")]
    assert {name: app.config[name] for name in names} == {name: f"__Host-{EXPECTED[name]}" for name in names}
    assert app.config["JWT_COOKIE_SECURE"] is True
