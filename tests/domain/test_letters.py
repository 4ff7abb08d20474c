"""What the letters say, and what a stranger can't make them say."""

import re

import pytest
from jinja2 import UndefinedError

import config
from domain import letters

TO = "jo@example.com"
TOKEN = "tOkEn-9f8e7d6c5b4a-secret"
ORIGIN = {"at": "2026-11-03T14:05:11+00:00", "ip": "203.0.113.7", "user_agent": "Firefox/130.0"}
VALUES = {
    "confirmation": {"link": f"https://auth.example/confirm/{TOKEN}", "code": "042137", "minutes": "10", "hours": "24"},
    "sign_up_exists": {},
    "reset": {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"},
    "code": {"code": "042137", "minutes": "10", "purpose": "second_factor"},
    "password_changed": {},
    "factor_on": {"factor": "totp"},
    "factor_off": {"factor": "email"},
    "identity_linked": {"provider": "Google", "email": "jo@gmail.example"},
}


@pytest.fixture(autouse=True)
def settings(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path)


@pytest.mark.parametrize("template", VALUES)
def test_every_letter_has_a_subject_and_says_when_and_from_where(template):
    letter = letters.render(template, TO, VALUES[template] | ORIGIN)
    assert letter.subject
    assert "\n" not in letter.subject
    for body in (letter.text, letter.html):
        assert "Tuesday, 3 November 2026, 14:05 UTC" in body
        assert "203.0.113.7" in body
        assert "Firefox/130.0" in body
        assert body.isascii(), "so that it travels in 7 bits and can be read as it stands"
        assert max(map(len, body.splitlines())) < 900
    assert not re.search(r"<img|<script|src=|url\(|@import", letter.html)
    for value in VALUES[template].values():
        if str(value).startswith("http"):
            assert letter.text.count(value) == 1
            assert f'href="{value}"' in letter.html
            assert f">{value}</a>" in letter.html


@pytest.mark.parametrize("template", ["sign_up_exists", "password_changed", "code", "factor_on", "identity_linked"])
def test_letters_without_a_link_hold_none(template):
    letter = letters.render(template, TO, VALUES[template] | ORIGIN)
    assert "http" not in letter.text + letter.html


def test_the_confirmation_tells_how_long_link_and_code_work():
    letter = letters.render("confirmation", TO, VALUES["confirmation"] | ORIGIN | {"minutes": 1, "hours": "0"})
    assert letter.subject == "Confirm your address"
    assert "less than 1 hour" in letter.text
    assert "within 1 minute:" in letter.text
    assert "If this was not you" in letter.text
    assert re.findall(r"(?<!\d)\d{6}(?!\d)", letter.text) == ["042137"]


def test_the_code_is_for_a_purpose_in_words():
    assert letters.render("code", TO, VALUES["code"]).subject == "Your code to finish signing in"
    assert letters.render("code", TO, VALUES["code"] | {"purpose": "open the door"}).subject == "Your code to open the door"


def test_values_with_line_breaks_and_tags_break_nothing():
    evil = "\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>{{7*7}}\u2028\u202e\x1b[31m\ud800\x00"
    letter = letters.render("identity_linked", TO, {"provider": evil, "email": f"<b>{evil}", "at": None})
    assert "\nBcc:" not in letter.text
    assert "Bcc: all@example.com <script>" in letter.text
    assert "<script>" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert "{{7*7}}" in letter.html
    assert not set("\r\u2028\u202e\x1b\ud800\x00") & set(letter.text + letter.html)
    coded = letters.render("code", TO, VALUES["code"] | {"purpose": "x\r\nBcc: all@example.com"})
    assert coded.subject == "Your code to x Bcc: all@example.com"


def test_a_strangers_user_agent_never_becomes_a_link():
    evil = 'You won! https://evil.example/x www.evil.example evil.example a@evil.example //evil.example "><a href=x>' + "A" * 5000
    letter = letters.render("confirmation", TO, VALUES["confirmation"] | ORIGIN | {"user_agent": evil, "ip": evil})
    for body in (letter.text, letter.html):
        assert "evil.example" not in body
        assert "https://evil" not in body
        assert "<a href=x>" not in body
        assert len(body) < 6000


def test_an_ordinary_user_agent_and_address_are_shown_as_they_are():
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
    letter = letters.render("reset", TO, VALUES["reset"] | {"user_agent": agent, "ip": "2001:db8::1"})
    assert f"With: {agent}\n" in letter.text
    assert "From: 2001:db8::1\n" in letter.text


def test_a_missing_value_is_an_error_and_no_hole_in_a_letter():
    with pytest.raises(UndefinedError):
        letters.render("reset", TO, ORIGIN)
