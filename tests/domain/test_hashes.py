"""Stored hashes: ours of every scheme, other makers', what is made anew, and what is never computed."""

import base64
import hashlib
import hmac
import logging
import threading
import time
import unicodedata

import argon2
import bcrypt
import pytest
from passlib.hash import pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512, phpass, scrypt
from werkzeug.security import generate_password_hash

import config
from domain import hash_formats, hashes, passwords
from tests.serving import PATIENCE, at_once

pytestmark = pytest.mark.once

PASSWORD = "seven quiet lanterns"
SCHEMES = ("bcrypt", "argon2id", "scrypt")
COMPOSED = unicodedata.normalize("NFC", "Ångström über façade")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.fixture(autouse=True)
def house(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path)
    hashes._warn.cache_clear()


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


def others(password):
    """The same password as other makers keep it."""
    raw = password.encode()
    plain = bcrypt.hashpw(raw[:72], bcrypt.gensalt(4)).decode()
    cheap = {"time_cost": 1, "memory_cost": 64, "parallelism": 1}
    return {
        "bcrypt 2b": plain,
        "bcrypt 2a": plain.replace("$2b$", "$2a$"),
        "bcrypt 2y": plain.replace("$2b$", "$2y$"),
        "argon2id": argon2.PasswordHasher(**cheap).hash(raw),
        "argon2i": argon2.PasswordHasher(**cheap, type=argon2.Type.I).hash(raw),
        "argon2d": argon2.PasswordHasher(**cheap, type=argon2.Type.D).hash(raw),
        "Werkzeug scrypt": generate_password_hash(password, "scrypt:1024:8:1"),
        "Werkzeug PBKDF2": generate_password_hash(password, "pbkdf2:sha256:1000"),
        "Werkzeug PBKDF2 with SHA-1": generate_password_hash(password, "pbkdf2:sha1:1000"),
        "Werkzeug PBKDF2 with SHA-512": generate_password_hash(password, "pbkdf2:sha512:1000"),
        "passlib PBKDF2 with SHA-1": pbkdf2_sha1.using(rounds=1000).hash(raw),
        "passlib PBKDF2 with SHA-256": pbkdf2_sha256.using(rounds=1000).hash(raw),
        "passlib PBKDF2 with SHA-512": pbkdf2_sha512.using(rounds=1000).hash(raw),
        "passlib scrypt": scrypt.using(rounds=4).hash(raw),
        "phpass": phpass.using(rounds=7).hash(raw),
        "phpass of phpBB": phpass.using(rounds=7, ident="H").hash(raw),
    }


# Made elsewhere, so that this is not only the libraries agreeing with themselves; the password is in the name.
KNOWN = {
    "U*U": "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "test12345": "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0",
    "password": "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_hash_of_every_scheme_verifies_under_every_other(scheme):
    settings(PASSWORD_SCHEME=scheme)
    stored = hashes.make(PASSWORD)
    assert hashes.is_current(stored)
    for other in SCHEMES:
        settings(PASSWORD_SCHEME=other)
        assert hashes.verify(stored, PASSWORD)
        assert not hashes.verify(stored, PASSWORD + " ")
        assert hashes.is_current(stored) == (other == scheme)
        assert hashes.flaw(stored) is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_hashes_of_one_password_differ_and_fit_the_column(scheme):
    settings(PASSWORD_SCHEME=scheme, PASSWORD_PEPPER="a pepper")
    one, two = hashes.make(PASSWORD), hashes.make(PASSWORD)
    assert one != two
    assert len(one) <= hashes.LONGEST


@pytest.mark.parametrize("maker", others(PASSWORD))
def test_a_hash_of_another_maker_verifies_and_is_not_of_the_present_kind(maker):
    stored = others(PASSWORD)[maker]
    assert hashes.flaw(stored) is None
    assert hashes.verify(stored, PASSWORD)
    for wrong in (PASSWORD + "!", PASSWORD[:-1], "", stored):
        assert not hashes.verify(stored, wrong)
    for scheme in SCHEMES:
        settings(PASSWORD_SCHEME=scheme)
        assert not hashes.is_current(stored)


@pytest.mark.parametrize("password", KNOWN)
def test_hashes_from_elsewhere_verify(password):
    assert hashes.verify(KNOWN[password], password)
    assert not hashes.verify(KNOWN[password], password + "?")


@pytest.mark.parametrize("maker", ["bcrypt 2b", "argon2id", "Werkzeug scrypt", "passlib PBKDF2 with SHA-256", "phpass"])
def test_another_makers_hash_may_be_of_letters_composed_either_way(maker):
    assert hashes.verify(others(COMPOSED)[maker], COMPOSED)
    assert hashes.verify(others(COMPOSED)[maker], DECOMPOSED)
    assert hashes.verify(others(DECOMPOSED)[maker], DECOMPOSED)


def test_another_makers_bcrypt_saw_72_bytes_and_ours_all_of_them():
    long = "x" * 72 + "tail"
    assert hashes.verify(others(long)["bcrypt 2b"], long)
    ours = hashes.make(long)
    assert not hashes.verify(ours, "x" * 72)
    assert not hashes.verify(ours, "x" * 72 + "other")


@pytest.mark.parametrize("maker", others(""))
def test_nobody_signs_in_with_an_empty_password(maker):
    assert not hashes.verify(others("")[maker], "")


def test_a_hash_is_of_the_present_kind_only_at_the_present_cost():
    stored = hashes.make(PASSWORD)
    settings(BCRYPT_ROUNDS=5)
    assert not hashes.is_current(stored)
    assert hashes.verify(stored, PASSWORD)


def test_the_first_version_of_the_digest_is_as_it_always_was():
    digest = base64.b64encode(hmac.digest(b"gatehouse password v1", COMPOSED.encode(), "sha256"))
    assert hashes.verify("v1$" + bcrypt.hashpw(digest, bcrypt.gensalt(4)).decode(), DECOMPOSED)


# Peppers


def test_every_pepper_of_the_list_verifies_and_the_first_makes():
    bare = hashes.make(PASSWORD)
    settings(PASSWORD_PEPPER="the first pepper")
    first = hashes.make(PASSWORD)
    settings(PASSWORD_PEPPER="the second pepper, the first pepper")
    second = hashes.make(PASSWORD)
    assert len({stored[:12] for stored in (bare, first, second)}) == 3
    for stored in (bare, first, second):
        assert hashes.verify(stored, PASSWORD)
        assert not hashes.verify(stored, PASSWORD + "!")
        assert hashes.is_current(stored) == (stored is second)


def test_a_pepper_is_needed_and_no_part_of_it_is_stored():
    pepper = "gu8Eiwoo4thaeQu9oJ2Ahth1aeNg3ohd"
    settings(PASSWORD_PEPPER=pepper)
    stored = hashes.make(PASSWORD)
    assert not any(pepper[start : start + 4] in stored for start in range(len(pepper) - 3))
    settings(PASSWORD_PEPPER="another")
    relabelled = stored.replace(stored.split("$")[1], hashes._name("another"), 1)
    assert not hashes.verify(relabelled, PASSWORD)


def test_a_hash_under_a_pepper_that_is_gone_verifies_for_nobody_and_is_warned_of_once(caplog):
    settings(PASSWORD_PEPPER="a pepper that gets lost")
    stored = hashes.make(PASSWORD)
    settings(PASSWORD_PEPPER="")
    with caplog.at_level(logging.WARNING):
        assert [hashes.verify(stored, PASSWORD) for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1
    assert not any(word in caplog.text for word in ("gets lost", PASSWORD, stored[14:]))
    assert hashes.flaw(stored) == "is under a pepper that PASSWORD_PEPPER does not list"


# What is never computed

SALT, DIGEST = "c29tZXNhbHRzb21lc2FsdA", "A" * 43
GREEDY = {
    "bcrypt of 2^31 rounds": "$2b$31$" + "." * 53,
    "bcrypt of 2^17 rounds": "$2b$17$" + "." * 53,
    "bcrypt of 2^3 rounds": "$2b$03$" + "." * 53,
    "ours with bcrypt of 2^31 rounds": "v1$$2b$31$" + "." * 53,
    "argon2 of 64 GB": f"$argon2id$v=19$m=67108864,t=3,p=1${SALT}${DIGEST}",
    "ours with argon2 of 64 GB": f"v1$$argon2id$v=19$m=67108864,t=3,p=1${SALT}${DIGEST}",
    "argon2 of a million passes": f"$argon2id$v=19$m=65536,t=1000000,p=1${SALT}${DIGEST}",
    "argon2 of many lanes": f"$argon2id$v=19$m=131072,t=1,p=1000${SALT}${DIGEST}",
    "argon2 without memory": f"$argon2id$v=19$m=0,t=1,p=1${SALT}${DIGEST}",
    "Werkzeug scrypt of N=2^30": "scrypt:1073741824:8:1$salt$" + "0" * 128,
    "Werkzeug scrypt of large blocks": "scrypt:32768:1000000:1$salt$" + "0" * 128,
    "Werkzeug scrypt of many lanes": "scrypt:32768:8:1000000$salt$" + "0" * 128,
    "Werkzeug scrypt of no power of two": "scrypt:32769:8:1$salt$" + "0" * 128,
    "Werkzeug scrypt of N=0": "scrypt:0:8:1$salt$" + "0" * 128,
    "passlib scrypt of N=2^31": f"$scrypt$ln=31,r=8,p=1${SALT}${DIGEST}",
    "passlib scrypt of N=2^99": f"$scrypt$ln=99,r=8,p=1${SALT}${DIGEST}",
    "Werkzeug PBKDF2 of 10^9 rounds": "pbkdf2:sha256:1000000000$salt$" + "0" * 64,
    "Werkzeug PBKDF2 of no rounds": "pbkdf2:sha256:0$salt$" + "0" * 64,
    "passlib PBKDF2 of 10^9 rounds": f"$pbkdf2-sha256$1000000000${SALT}${DIGEST}",
    "passlib PBKDF2 with SHA-1 of 10^9 rounds": f"$pbkdf2$1000000000${SALT}${'A' * 27}",
    "passlib PBKDF2 with SHA-512 of 10^9 rounds": f"$pbkdf2-sha512$1000000000${SALT}${'A' * 86}",
    "phpass of 2^30 rounds": "$P$S" + "A" * 30,
}
NONE_AT_ALL = {
    "nothing": "",
    "a password": "correct horse battery staple",
    "our label alone": "v1$",
    "MD5": "5f4dcc3b5aa765d61d8327deb882cf99",
    "LDAP in clear": "{CLEAR}secret",
    "Werkzeug in clear": "plain$$secret",
    "crypt's MD5": "$1$abcdefgh$0123456789abcdefghijkl",
    "digits of another script": "pbkdf2:sha256:\u0661\u0660\u0660\u0660$salt$" + "0" * 64,
    "a number without end": "pbkdf2:sha256:" + "9" * 5000 + "$salt$" + "0" * 64,
    "an odd digest": "pbkdf2:md4:1000$salt$" + "0" * 64,
    "two labels": "v1$v1$$2b$04$" + "." * 53,
    "a line break": "$2b$04$" + "." * 53 + "\n",
}


@pytest.fixture
def no_work(monkeypatch):
    """Fails the test where a hash is computed."""

    def computed(*_, **__):
        raise AssertionError("a hash was computed")

    for place, name in ((bcrypt, "hashpw"), (hashlib, "scrypt"), (hashlib, "pbkdf2_hmac")):
        monkeypatch.setattr(place, name, computed)
    refusing = [one._replace(matches=computed) for one in hash_formats.FORMATS]
    monkeypatch.setattr(hash_formats, "FORMATS", tuple(refusing))


@pytest.mark.parametrize("stored", [*GREEDY.values(), *NONE_AT_ALL.values()], ids=[*GREEDY, *NONE_AT_ALL])
def test_what_asks_for_too_much_or_is_no_hash_is_refused_and_never_computed(no_work, stored):
    assert hashes.flaw(stored) == ("asks for more or less work than is served" if stored in GREEDY.values() else "is of no known form")
    assert not hashes.verify(stored, PASSWORD)


def test_a_hash_that_is_too_long_for_its_column_is_refused():
    assert hashes.flaw(generate_password_hash(PASSWORD, "pbkdf2:sha256:1000").replace("$", "$" + "s" * 200, 1)) is not None


UNREADABLE = [f"$argon2id$v=19$m=64,t=1,p=1${'A' * 4}${'A' * 4}", f"$pbkdf2-sha256$01000${SALT}${DIGEST}", "$scrypt$ln=1,r=8,p=1$AAAA$AAAA"]


@pytest.mark.parametrize("stored", UNREADABLE)
def test_what_its_library_can_not_read_verifies_for_nobody(stored):
    assert not hashes.verify(stored, PASSWORD)


# The same work for everybody


@pytest.fixture
def made(monkeypatch):
    """The schemes of the hashes that are made or compared from now on; what they cost is levelled."""
    done = []

    def counted(name, act):
        def count(*given):
            done.append(name)
            return act(*given)

        return count

    schemes = {name: scheme._replace(make=counted(name, scheme.make)) for name, scheme in hash_formats.SCHEMES.items()}
    formats = [one._replace(matches=counted(one.pattern[:8], one.matches)) for one in hash_formats.FORMATS]
    monkeypatch.setattr(hash_formats, "SCHEMES", schemes)
    monkeypatch.setattr(hash_formats, "FORMATS", tuple(formats))
    return done


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("pepper", ["", "a pepper"])
def test_for_nobody_the_same_hash_is_computed_as_for_an_account(made, scheme, pepper):
    settings(PASSWORD_SCHEME=scheme, PASSWORD_PEPPER=pepper)
    stored = passwords.hash(PASSWORD)
    del made[:]
    assert not passwords.verify(stored, "wrong")
    known = list(made)
    del made[:]
    assert not passwords.verify(None, "wrong")
    assert made == known
    assert len(made) == 1


def test_no_password_is_nobodys():
    for scheme in SCHEMES:
        settings(PASSWORD_SCHEME=scheme)
        assert hashes.is_current(hashes.nobody())
        assert hashes.flaw(hashes.nobody()) is None


def test_a_wrong_password_costs_an_account_of_another_kind_what_a_right_one_does(made):
    stored = others(PASSWORD)["phpass"]
    assert not passwords.verify(stored, "wrong")
    assert made == ["\\$[PH]\\$", "bcrypt"]
    del made[:]
    assert passwords.verify(stored, PASSWORD)  # `renew` makes the other hash.
    assert made == ["\\$[PH]\\$"]


def test_a_pepper_that_is_gone_costs_the_same_hash(made):
    settings(PASSWORD_PEPPER="gone")
    stored = passwords.hash(PASSWORD)
    settings(PASSWORD_PEPPER="")
    del made[:]
    assert not passwords.verify(stored, PASSWORD)
    assert made == ["bcrypt"]


# Bounded memory


@pytest.mark.parametrize(("scheme", "most"), [("bcrypt", 16), ("argon2id", 4), ("scrypt", 4)])
def test_only_so_many_hashes_run_at_once(monkeypatch, scheme, most):
    running, seen, lock, full = [], [], threading.Lock(), threading.Event()

    def slow(_):
        with lock:
            running.append(1)
            seen.append(len(running))
            if len(running) == most:
                full.set()
        full.wait(PATIENCE)
        time.sleep(0.05)  # One too many would come in now.
        with lock:
            running.pop()
        return "made"

    schemes = {scheme: hash_formats.SCHEMES[scheme]._replace(make=slow)}
    monkeypatch.setattr(hash_formats, "SCHEMES", schemes)
    settings(PASSWORD_SCHEME=scheme)
    at_once(40, lambda _: hashes.make(PASSWORD))
    assert max(seen) == most
