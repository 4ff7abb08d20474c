"""The languages of mails and pages: which of them to try, and each one's words for moments, numbers and names.

A language is a BCP 47 tag. `words/<language>.yaml` is its dictionary; one in TEMPLATES_DIR goes before the built-in one,
word by word, and English stands behind them all.
"""

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

import config

ENGLISH = "en"
TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
LONGEST_TAG = 35
MOST_WANTED = 10  # A visitor who names more languages than that is no visitor.
WORDS = Path(__file__).with_name("words")
Words = dict[str, Any]


def to_try(wanted: Iterable[str]) -> list[str]:
    """The languages to look for, best first: those that are wanted, each with what it narrows, then the default, then English."""
    tags = [*list(wanted)[:MOST_WANTED], config.settings.DEFAULT_LOCALE, ENGLISH]
    return list(dict.fromkeys(wider for tag in tags for wider in widened(tag)))


def widened(tag: str) -> list[str]:
    """A language and the wider ones that it belongs to, such as de-AT and de (RFC 4647 3.4); nothing for what is no tag."""
    if len(tag) > LONGEST_TAG or not TAG.fullmatch(tag):
        return []
    first, *rest = tag.split("-")
    parts = [first.lower(), *map(_cased, rest)]
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


def words(language: str, own: Path | None) -> Words:
    """The dictionary of a language, with those of `own`, a folder like TEMPLATES_DIR, over the built-in ones."""
    made: Words = {}
    for tag in [ENGLISH, *reversed(widened(language))]:
        for folder in [WORDS, *([own / "words"] if own else [])]:
            made = _merged(made, _read(folder / f"{tag}.yaml"))
    return made


def when(value: str | datetime, known: Words) -> str:
    """A moment in words, in UTC: Tuesday, 3 November 2026, 14:05 UTC."""
    at = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    weekday, month = known["weekdays"][at.weekday()], known["months"][at.month - 1]
    said: str = known["when"].format(weekday=weekday, day=at.day, month=month, year=at.year, time=f"{at:%H:%M}")
    return said


def count(value: str, unit: str, known: Words) -> str:
    """A number with its unit: 1 minute, 24 hours."""
    one, more = known["counts"][unit]
    return str(known["less_than_one"][unit]) if value == "0" else f"{value} {one if value == '1' else more}"


def _cased(part: str) -> str:
    """As BCP 47 writes it: a region in capitals (AT), a script with one (Latn)."""
    return part.upper() if len(part) == 2 else part.title() if len(part) == 4 and part.isalpha() else part.lower()


def _merged(under: Words, over: Words) -> Words:
    """Both, and where both have a word the second one's."""
    both = {name: _merged(under[name], over[name]) for name in under.keys() & over.keys() if _are_words(under[name], over[name])}
    return under | over | both


def _are_words(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _read(path: Path) -> Words:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError:  # There is none.
        return {}


@lru_cache(maxsize=64)
def _parsed(path: Path, _changed_at: int) -> Words:
    """A dictionary that can't be read counts as empty: no mail waits for it."""
    try:
        read = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeError):
        read = None
    if not isinstance(read, dict):
        logging.getLogger(__name__).error("The words in %s can't be read; the built-in ones are used", path)
        return {}
    return read
