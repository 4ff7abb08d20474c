"""What the mails say: the templates of `mails/`, filled with values that can't break out of a line, a tag or a sentence.

Some values are a stranger's words, in a mail that carries our name: they are shown, and never become a link.
"""

import re
import unicodedata
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import config
from domain import templates

CONTROLS = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # Unicode's categories for what steers a line instead of standing in it.
JOINERS = "\u200c\u200d"  # Of these, the two that names of some scripts need.
LONGEST_VALUE = 500
LONGEST_DEVICE = 160
LINKING = re.compile(r"[./:@]+(?=\S)")  # What a mail reader might make a link of.
OPTIONAL = {"ip": None, "user_agent": None, "at": None}


class Letter(NamedTuple):
    """A mail as a person reads it."""

    subject: str
    text: str
    html: str


def render(template: str, to: str, values: Mapping[str, Any], locale: str | None = None) -> Letter:
    """The letter of a template in a language (DEFAULT_LOCALE if it is not said, or not there): `<template>.txt`, whose first
    line is its subject, and `<template>.html`.

    Times are ISO 8601 and are shown in UTC; a value that a template needs and does not get raises jinja2's UndefinedError.
    """
    names = (f"{template}.txt", f"{template}.html")
    text, html = templates.render(templates.MAILS, names, _shown(to, values), [locale] if locale else []).texts
    first, _, rest = text.partition("\n")
    return Letter(first.removeprefix("Subject:").strip(), rest.strip() + "\n", html)


def render_text(template: str, to: str, values: Mapping[str, Any], locale: str | None = None) -> tuple[str]:
    """The text message of a template in a language: `<template>.txt`, in one line and without a subject."""
    (text,) = templates.render(templates.MAILS, (f"{template}.txt",), _shown(to, values), [locale] if locale else []).texts
    return (" ".join(text.split()),)


def _shown(to: str, values: Mapping[str, Any]) -> dict[str, Any]:
    shown = OPTIONAL | {name: _clean(name, value) for name, value in values.items()}
    return shown | {"to": _clean("to", to), "site": _site()}


def _clean(name: str, value: Any) -> Any:
    """One line of visible text, whatever came; of a list each."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_clean(name, one) for one in value]
    line = "".join(_visible(character) for character in str(value)[:LONGEST_VALUE])
    line = " ".join(line.split())
    if name == "key":
        return LINKING.sub(" ", line)
    return _unlinked(line) if name in ("ip", "user_agent") else line


def _visible(character: str) -> str:
    return " " if unicodedata.category(character) in CONTROLS and character not in JOINERS else character


def _unlinked(value: str) -> str:
    """A stranger's words about his own device, so that no mail reader makes a link of them."""
    plain = re.sub(r"[^A-Za-z0-9 ./;:(),_+-]|/(?=/)", "", value)[:LONGEST_DEVICE]
    return re.sub(r"\.(?=[A-Za-z])|:(?=/)", " ", plain)


def _site() -> str:
    """The name that this server goes by: the sender's, else the host of BASE_URL."""
    return parseaddr(config.settings.MAIL_DEFAULT_SENDER)[0] or urlsplit(config.settings.BASE_URL).hostname or ""
