"""What the letters say, and what a stranger can't make them say."""

import re

import pytest
from jinja2 import UndefinedError

import config
from domain import letters, limits, templates

pytestmark = pytest.mark.once

MAILS = templates.BUILT_IN[templates.MAILS]
TO = "jo@example.com"
TOKEN = "tOkEn-9f8e7d6c5b4a-secret"
ORIGIN = {"at": "2026-11-03T14:05:11+00:00", "ip": "203.0.113.7", "user_agent": "Firefox/130.0"}
NOT_ME = {"not_me": f"https://auth.example/not-me/{TOKEN}"}
ENDS = "2026-12-24T00:00:00+00:00"
VALUES = {
    "confirmation": {"link": f"https://auth.example/confirm/{TOKEN}", "code": "042137", "minutes": "10", "hours": "24"},
    "sign_up_exists": {},
    "reset": {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"},
    "invitation": {"link": f"https://auth.example/reset-password/{TOKEN}", "hours": "24"},
    "reset_by_admin": {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"},
    "code": {"code": "042137", "minutes": "10", "purpose": "second_factor"},
    "password_changed": NOT_ME,
    "new_device": {"device": "Firefox on Linux", "country": "AT", **NOT_ME},
    "factor_on": {"factor": "totp", **NOT_ME},
    "factor_off": {"factor": "email", **NOT_ME},
    "recovery_codes_renewed": NOT_ME,
    "recovery_code_used": {"left": "9", **NOT_ME},
    "factors_reset": NOT_ME,
    "identity_linked": {"provider": "Google", "email": "jo@gmail.example", **NOT_ME},
    "passkey_added": {"passkey": "My laptop", **NOT_ME},
    "passkey_removed": {"passkey": "My laptop", **NOT_ME},
    "email_confirm": {"link": f"https://auth.example/profile/email/confirm/{TOKEN}", "hours": "24"},
    "email_taken": {},
    "email_changed": {"undo": f"https://auth.example/profile/email/undo/{TOKEN}"},
    "alert": {"rule": "new_country", "account": "jo@example.com", "country": "AT", "ended": "0"},
    "key_created": {"key": "Backup", "last8": "k3yEnd42", "scopes": "profile:read", "ends": ENDS, **NOT_ME},
    "key_ends": {"key": "Backup", "last8": "k3yEnd42", "ends": ORIGIN["at"]},
    "provider_changed": {
        "provider": "Google",
        "url": "https://accounts.example/.well-known/openid-configuration",
        "changes": [["token_endpoint", "https://accounts.example/token", "https://elsewhere.example/token"]],
    },
    "account_deletion": {"link": f"https://auth.example/profile/restore/{TOKEN}", "ends": ENDS},
    "email_in_force": {},
    "email_undone": {},
    "new_password": {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"},
}
BY_NOBODY = ("key_ends",)  # They tell of a day, not of what somebody did.
WHEN = {"en": "Tuesday, 3 November 2026, 14:05 UTC", "de": "Dienstag, 3. November 2026, 14:05 Uhr (UTC)"}


@pytest.fixture(autouse=True)
def settings(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path)


@pytest.mark.parametrize("language", WHEN)
@pytest.mark.parametrize("template", VALUES)
def test_every_letter_has_a_subject_and_says_when_and_from_where(template, language):
    letter = letters.render(template, TO, VALUES[template] | ORIGIN, language)
    assert letter.subject
    assert "\n" not in letter.subject
    for body in (letter.text, letter.html):
        assert WHEN[language] in body
        assert template in BY_NOBODY or "203.0.113.7" in body
        assert template in BY_NOBODY or "Firefox/130.0" in body
        assert body.isascii() or language != "en", "so that it travels in 7 bits and can be read as it stands"
        assert "{" not in re.sub(r"<style>.*?</style>", "", body, flags=re.DOTALL)
        assert max(map(len, body.splitlines())) < 900
    assert f'<html lang="{language}">' in letter.html
    assert not re.search(r"<img|<script|src=|url\(|@import", letter.html)
    for value in VALUES[template].values():
        if str(value).startswith("http"):
            assert letter.text.count(value) == 1
            assert f'href="{value}"' in letter.html
            assert f">{value}</a>" in letter.html


@pytest.mark.parametrize("template", ["sign_up_exists", "code", "email_taken", "email_in_force", "email_undone"])
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


@pytest.mark.parametrize("locale", ["en", "de"])
def test_values_with_line_breaks_and_tags_break_nothing(locale):
    evil = "\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>{{7*7}}\u2028\u202e\x1b[31m\ud800\x00"
    letter = letters.render("identity_linked", TO, {"provider": evil, "email": f"<b>{evil}", "at": None, **NOT_ME}, locale)
    assert "\nBcc:" not in letter.text
    assert "Bcc: all@example.com <script>" in letter.text
    assert "<script>" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert "{{7*7}}" in letter.html
    assert not set("\r\u2028\u202e\x1b\ud800\x00") & set(letter.text + letter.html)
    coded = letters.render("code", TO, VALUES["code"] | {"purpose": "x\r\nBcc: all@example.com"}, locale)
    assert coded.subject == f"{'Ihr Code' if locale == 'de' else 'Your code to'} x Bcc: all@example.com"


@pytest.mark.parametrize("locale", ["en", "de"])
def test_a_strangers_user_agent_never_becomes_a_link(locale):
    evil = 'You won! https://evil.example/x www.evil.example evil.example a@evil.example //evil.example "><a href=x>' + "A" * 5000
    letter = letters.render("confirmation", TO, VALUES["confirmation"] | ORIGIN | {"user_agent": evil, "ip": evil}, locale)
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


def test_every_letter_that_there_is_stands_in_every_language_and_is_tried_here():
    for language in WHEN:
        found = sorted(path.name for path in (MAILS / language).iterdir())
        assert found == sorted([f"{name}.{kind}" for name in VALUES for kind in ("html", "txt")] + ["code_sms.txt"])


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de", "de"), ("de-AT", "de"), ("DE-at", "de"), ("de-Latn-CH-1996", "de"), ("fr", "en"), ("", "en"), (None, "en"), ("../de", "en")],
)
def test_a_letter_is_in_the_nearest_language_that_there_is(locale, language):
    assert WHEN[language] in letters.render("password_changed", TO, NOT_ME | ORIGIN, locale).text


def test_who_has_not_chosen_a_language_gets_the_default_one(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, DEFAULT_LOCALE="de-AT")
    assert letters.render("password_changed", TO, NOT_ME).subject == "Ihr Passwort wurde geändert"
    assert letters.render("password_changed", TO, NOT_ME, "fr").subject == "Ihr Passwort wurde geändert"
    assert letters.render("password_changed", TO, NOT_ME, "en-GB").subject == "Your password was changed"


@pytest.mark.parametrize("template", [name for name, values in VALUES.items() if "not_me" in values])
@pytest.mark.parametrize(("language", "label"), [("en", "This was not me"), ("de", "Das war ich nicht")])
def test_a_notice_holds_the_link_for_this_was_not_me(template, language, label):
    letter = letters.render(template, TO, VALUES[template], language)
    assert f"\n{NOT_ME['not_me']}\n" in letter.text
    assert f'href="{NOT_ME["not_me"]}"' in letter.html
    assert f">{label}</a>" in letter.html
    assert "7 " in letter.text


def test_the_words_of_the_notices_tell_how_long_their_links_work():
    assert limits.REMEDY_SECONDS == 7 * 86400
