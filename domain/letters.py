"""What the mails say: the Jinja2 pages of `mails/`, filled with values that can't break out of a line, a tag or a sentence.

Some values are a stranger's words, in a mail that carries our name: they are shown, and never become a link.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

import config

CONTROLS = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # Unicode's categories for what steers a line instead of standing in it.
JOINERS = "\u200c\u200d"  # Of these, the two that names of some scripts need.
LONGEST_VALUE = 500
LONGEST_DEVICE = 160
OPTIONAL = {"ip": None, "user_agent": None, "at": None}
PURPOSES = {
    "sign_in": "sign in",
    "second_factor": "finish signing in",
    "step_up": "confirm that it is you",
    "enrol": "turn on codes by mail",
    "prove": "prove that this address is yours",
}
FACTORS = {"totp": "an authenticator app", "email": "codes by mail", "recovery_code": "recovery codes"}


class Letter(NamedTuple):
    """A mail as a person reads it."""

    subject: str
    text: str
    html: str


def render(template: str, to: str, values: Mapping[str, Any]) -> Letter:
    """The letter of a template: `<template>.txt`, whose first line is its subject, and `<template>.html`.

    Times are ISO 8601 and are shown in UTC; a value that a template needs and does not get raises jinja2's UndefinedError.
    """
    shown = OPTIONAL | {name: _clean(name, value) for name, value in values.items()}
    shown |= {"to": _clean("to", to), "site": _site()}
    first, _, text = _pages.get_template(f"{template}.txt").render(shown).partition("\n")
    html = _pages.get_template(f"{template}.html").render(shown)
    return Letter(first.removeprefix("Subject:").strip(), text.strip() + "\n", html)


def _clean(name: str, value: Any) -> str | None:
    """One line of visible text, whatever came."""
    if value is None:
        return None
    line = "".join(_visible(character) for character in str(value)[:LONGEST_VALUE])
    line = " ".join(line.split())
    return _unlinked(line) if name in ("ip", "user_agent") else line


def _visible(character: str) -> str:
    return " " if unicodedata.category(character) in CONTROLS and character not in JOINERS else character


def _unlinked(value: str) -> str:
    """A stranger's words about his own device, so that no mail reader makes a link of them."""
    plain = re.sub(r"[^A-Za-z0-9 ./;:(),_+-]|/(?=/)", "", value)[:LONGEST_DEVICE]
    return re.sub(r"\.(?=[A-Za-z])|:(?=/)", " ", plain)


def _when(value: str) -> str:
    """A moment in words: Tuesday, 3 November 2026, 14:05 UTC."""
    return datetime.fromisoformat(value).astimezone(UTC).strftime("%A, %-d %B %Y, %H:%M UTC")


def _count(value: str, unit: str) -> str:
    """A number with its unit: 1 minute, 24 hours."""
    return f"less than 1 {unit}" if value == "0" else f"{value} {unit}{'' if value == '1' else 's'}"


def _site() -> str:
    """The name that this server goes by: the sender's, else the host of BASE_URL."""
    return parseaddr(config.settings.MAIL_DEFAULT_SENDER)[0] or urlsplit(config.settings.BASE_URL).hostname or ""


_pages = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("mails")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.filters |= {
    "when": _when,
    "count": _count,
    "purpose": lambda word: PURPOSES.get(word, word),
    "factor": lambda word: FACTORS.get(word, word),
}
