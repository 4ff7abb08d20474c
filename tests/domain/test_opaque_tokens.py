"""The form of keys and application tokens: what a scanner finds, and what is refused unread."""

import re
import zlib

import pytest

from domain import opaque_tokens
from domain.opaque_tokens import APP, DIGITS, KEY


def number(text):
    made = 0
    for one in text:
        made = made * 62 + DIGITS.index(one)
    return made


@pytest.mark.parametrize("prefix", [KEY, APP])
def test_every_token_has_the_same_form_whatever_its_bits(prefix, monkeypatch):
    for bits in (0, 1, 2**256 - 1):
        monkeypatch.setattr(opaque_tokens.secrets, "randbits", lambda _, bits=bits: bits)
        token = opaque_tokens.make(prefix)
        assert re.fullmatch(r"gh_(app|key)_[0-9A-Za-z]{49}", token)
        assert opaque_tokens.is_formed(prefix, token)
        assert number(token[7:50]) == bits
        assert number(token[50:]) == zlib.crc32(token[:50].encode())


def test_tokens_are_random_and_none_fits_another_kind():
    made = {opaque_tokens.make(KEY) for _ in range(1000)}
    assert len(made) == 1000
    assert not any(opaque_tokens.is_formed(APP, one) or opaque_tokens.is_formed(APP, APP + one[7:]) for one in made)


def test_what_differs_in_one_character_is_refused():
    token = opaque_tokens.make(KEY)
    for place in range(7, len(token)):
        other = "0" if token[place] != "0" else "1"
        assert not opaque_tokens.is_formed(KEY, token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda one: one[:-1], lambda one: one + "0", lambda one: one + "\n"])
@pytest.mark.parametrize("prefix", [KEY, APP])
def test_what_has_another_form_is_refused(prefix, change):
    token = opaque_tokens.make(prefix)
    assert change(token) != token
    assert not opaque_tokens.is_formed(prefix, change(token))
    assert not opaque_tokens.is_formed(prefix, prefix + "é" * 49)
