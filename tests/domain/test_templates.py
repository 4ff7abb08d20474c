"""An operator's own mails, pages and words go before the built-in ones, and a broken one stops nothing."""

import logging
import os
import re

import pytest
from jinja2 import Environment, UndefinedError, meta

import config
from domain import languages, letters, templates
from tests.serving import ROOT

pytestmark = pytest.mark.once

TO = "jo@example.com"
GIVEN = {"not_me": "https://auth.example/not-me/token"}
EVERYWHERE = {"site", "to", "problem", "parts"}  # What every mail has or imports, and what the page of a refusal is about.


@pytest.fixture
def own(tmp_path):
    """TEMPLATES_DIR: `own("mails/de/reset.txt", "…")` writes a file there."""
    folder = tmp_path / "own"
    folder.mkdir()
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path / "instance", TEMPLATES_DIR=folder)

    def write(path, text):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        return str(folder / path)

    return write


def subject(locale=None, template="password_changed"):
    return letters.render(template, TO, GIVEN, locale).subject


def test_an_own_template_goes_before_the_built_in_one_of_its_language(own):
    own("mails/de/password_changed.txt", "Subject: Neues Passwort\n\nHallo {{ to }}")
    letter = letters.render("password_changed", TO, GIVEN, "de-AT")
    assert (letter.subject, letter.text) == ("Neues Passwort", "Hallo jo@example.com\n")
    assert "Ihr Passwort wurde geändert" in letter.html
    assert subject("en") == "Your password was changed"


def test_a_narrow_language_goes_before_the_wider_one(own):
    own("mails/de-AT/password_changed.txt", "Subject: Servus")
    assert [subject(one) for one in ("de-AT", "de-at", "de", "de-CH")] == ["Servus", "Servus", *["Ihr Passwort wurde geändert"] * 2]


def test_a_language_that_is_not_built_in_is_written_in_own_templates_and_words(own):
    own(
        "mails/fr/password_changed.txt",
        '{% extends "layout.txt" %}{% block subject %}Mot de passe{% endblock %}{% block content %}{{ at | when }}{% endblock %}',
    )
    assert subject("fr") == "Your password was changed"  # Half a mail is none.
    own("mails/fr/password_changed.html", "<p>{{ words.not_me.label }}</p>")
    own("words/fr.yaml", "weekdays: [lundi, mardi, mercredi, jeudi, vendredi, samedi, dimanche]\nsent: '{site} pour {to}'")
    letter = letters.render("password_changed", TO, GIVEN | {"at": "2026-11-03T14:05:11+00:00"}, "fr-CA")
    assert letter.subject == "Mot de passe"
    assert "mardi, 3 November 2026" in letter.text  # What the own words leave out is said in English.
    assert "pour jo@example.com" in letter.text


def test_the_default_language_may_be_an_own_one(own):
    own("mails/fr/password_changed.txt", "Subject: Mot de passe")
    own("mails/fr/password_changed.html", "")
    config.load(**{**config.settings.model_dump(), "DEFAULT_LOCALE": "fr"})
    assert [subject(one) for one in (None, "it", "de")] == ["Mot de passe", "Mot de passe", "Ihr Passwort wurde geändert"]


def test_a_layout_alone_makes_a_narrow_language(own):
    own("mails/de-AT/layout.txt", "Subject: {% block subject %}{% endblock %}\n\n{{ language }}: {% block content %}{% endblock %}")
    assert letters.render("password_changed", TO, GIVEN, "de-AT").text.startswith("de-AT: Das Passwort")
    assert letters.render("password_changed", TO, GIVEN, "de").text.startswith("Das Passwort")


def test_what_all_mails_share_can_be_changed_for_all_or_for_a_language(own):
    own("mails/layout.txt", "Subject: {% block subject %}{% endblock %}\n\nAcme: {% block content %}{% endblock %}")
    own("mails/de/layout.txt", "Subject: {% block subject %}{% endblock %}\n\nAcme GmbH: {% block content %}{% endblock %}")
    assert letters.render("password_changed", TO, GIVEN, "en").text.startswith("Acme: The password")
    assert letters.render("password_changed", TO, GIVEN, "de").text.startswith("Acme GmbH: Das Passwort")


@pytest.mark.parametrize(
    "text",
    [
        "Subject: {{ broken",
        "Subject: {{ no_such_value }}",
        "Subject: {{ 1 / 0 }}",
        '{% extends "nowhere.txt" %}',
        "{{ to | no_such_filter }}",
    ],
    ids=["syntax", "value", "error", "parent", "filter"],
)
def test_a_broken_own_template_is_named_in_the_log_and_the_built_in_one_leaves(own, caplog, text):
    path = own("mails/de/password_changed.txt", text)
    with caplog.at_level(logging.ERROR, "domain.templates"):
        assert subject("de") == "Ihr Passwort wurde geändert"
    assert any("password_changed.txt" in line for line in caplog.messages)
    assert text in ('{% extends "nowhere.txt" %}',) or path in caplog.text


@pytest.mark.parametrize("text", ["{{ {}[not_me].x }}", "{{ {}[not_me] }}", "{% include not_me %}", "{{ not_me + 1 }}"])
def test_the_log_of_a_broken_template_holds_no_value(own, caplog, text):
    own("mails/en/password_changed.txt", text)
    assert subject() == "Your password was changed"
    assert GIVEN["not_me"] not in caplog.text


@pytest.mark.parametrize("text", ["when: [", "- a list", "when: '{no_such_part}'", "weekdays: []", "\xff"])
def test_broken_words_stop_no_mail(own, text):
    own("words/de.yaml", text)
    letter = letters.render("password_changed", TO, GIVEN | {"at": "2026-11-03T14:05:11+00:00"}, "de")
    assert "3. November 2026, 14:05 Uhr (UTC)" in letter.text


def test_a_changed_template_is_seen_at_once(own):
    path = own("mails/en/password_changed.txt", "Subject: One")
    os.utime(path, (0, 0))
    assert subject() == "One"
    own("mails/en/password_changed.txt", "Subject: Another")
    assert subject() == "Another"


def test_values_are_escaped_in_own_pages_of_mails(own):
    own("mails/en/password_changed.html", "<p>{{ not_me }}</p>")
    assert letters.render("password_changed", TO, {"not_me": "<b>"}).html == "<p>&lt;b&gt;</p>"


def test_a_value_that_the_built_in_template_lacks_is_an_error_all_the_same(own):
    with pytest.raises(UndefinedError):
        letters.render("reset", TO, {})


def test_no_language_leads_out_of_the_folder(own):
    for tag in ("..", "../de", "de/..", "/etc", "de\x00", "x" * 36, "de_AT", ""):
        assert languages.widened(tag) == []


@pytest.mark.parametrize("kind", templates.BUILT_IN)
def test_operating_tells_every_template_and_its_values(kind):
    section = (ROOT / "docs" / "operating.md").read_text().split("## Mails and pages in your words")[1].split("\n## ")[0]
    table = section.split(f"| {kind.removesuffix('s')} | values |")[1].split("\n\n")[0]
    told = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", table, re.MULTILINE))
    made, found = templates.environment(kind, None, "en"), {}
    for path in (templates.BUILT_IN[kind] / "en").iterdir():
        found.setdefault(path.stem, set()).update(_values(made, path.name) - EVERYWHERE)
    found.pop("docs", None)  # The document of the API, for who writes clients.
    assert {name: set(re.findall(r"`(\w+)`", values)) for name, values in told.items()} == found


@pytest.mark.parametrize("kind", templates.BUILT_IN)
def test_a_template_asks_for_the_same_values_in_every_language(kind):
    asked = {}
    for language in ("en", "de"):
        made = templates.environment(kind, None, language)
        names = {path.name for path in (templates.BUILT_IN[kind] / language).iterdir()} - {"docs.html"}
        asked[language] = {name: _values(made, name) for name in names}
    assert asked["en"] == asked["de"]


def _values(made: Environment, name: str) -> set[str]:
    """The values that a template and those that it includes look up."""
    tree = made.parse(made.loader.get_source(made, name)[0])
    inner = [one for one in meta.find_referenced_templates(tree) if one]
    return (meta.find_undeclared_variables(tree) - set(made.globals)).union(*(_values(made, one) for one in inner))
