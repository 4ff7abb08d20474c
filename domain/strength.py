"""Which passwords are acceptable: long enough, not known to guessers, not made of what everybody knows of their owner.

NIST SP 800-63B 5.1.1.2 and ASVS 6.2: length and a blocklist, no composition. Each rule gives its reasons, with what helps.
"""

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from email.utils import parseaddr
from typing import NamedTuple
from urllib.parse import urlsplit

from zxcvbn import zxcvbn

import config
from domain import blocklist, limits
from domain.errors import Fault

JUDGED = 40  # Characters that zxcvbn sees: its work grows with their square, and what is strong so far stays strong.
# zxcvbn tries every reading of the signs that stand for letters (seconds, for all of them at once); of many kinds none is read.
SIGNS, STAND_INS = "@({[<!|$+%", "~^&*?_=:;-"
SIGNS_READ = 2
SHORTEST_WORD = 3  # Shorter names and parts of names are in any text.
LEAST_BESIDES = 5  # Letters and digits that a password has besides words that anybody knows.
LONGEST_DECORATION = 6  # Digits and signs before and after a common password that make it no better.
DISGUISES = str.maketrans("4@8(3!1|05$7", "aabceiiiosst")  # Digits and signs that stand for letters.
ADVICE = "Use a few words that do not belong together."
KINDS = {
    "lower": ("a lower-case letter", str.islower),
    "upper": ("an upper-case letter", str.isupper),
    "digit": ("a digit", str.isdigit),
    "symbol": ("a sign that is no letter and no digit", lambda one: not one.isalnum()),
}
_zxcvbn = threading.Lock()  # It keeps the words of a call where other threads' calls read them.

Reason = tuple[str, str]  # A stable code, and a sentence.


class Policy(NamedTuple):
    """The rules in force. Lengths are in code points, after NFC; `breaches` tells whether a service for them is asked."""

    min_length: int
    max_length: int
    min_score: int
    blocklist: bool
    own_words: bool
    breaches: bool
    composition: list[str]
    history: int
    max_age_days: int


def policy() -> Policy:
    """What a new password is held to."""
    settings = config.settings
    return Policy(
        min_length=_shortest(),
        max_length=limits.PASSWORD_MAX_LENGTH,
        min_score=settings.PASSWORD_MIN_SCORE,
        blocklist=True,
        own_words=True,
        breaches=bool(settings.PASSWORD_RANGE_URL),
        composition=config.keys(settings.PASSWORD_COMPOSITION),
        history=settings.PASSWORD_HISTORY,
        max_age_days=settings.PASSWORD_MAX_AGE_DAYS,
    )


def faults(field: str, password: str, known: Iterable[str | None]) -> list[Fault]:
    """Every reason against a password, under the name of the field that it came in; `known` is what is known of its owner.

    It takes some milliseconds of the interpreter: not for inside a transaction.
    """
    normal = unicodedata.normalize("NFC", password)[: limits.PASSWORD_MAX_LENGTH + 1]  # What is too long is not read to its end.
    words = _words([*known, *_words_of_service()])
    reasons = [*_length(normal), *_common(normal), *_own(normal, words), *_guessable(normal, words), *_composition(normal)]
    return [Fault(field, code, sentence) for code, sentence in reasons]


def _shortest() -> int:
    """Longer where nobody has to have a second factor, if that is asked for (NIST SP 800-63B)."""
    settings = config.settings
    alone = settings.PASSWORD_MIN_LENGTH_WITHOUT_MFA if settings.REQUIRE_MFA != "all" else 0
    return max(settings.PASSWORD_MIN_LENGTH, alone)


def _length(password: str) -> Iterator[Reason]:
    if len(password) < _shortest():
        yield "too_short", f"Use at least {_shortest()} characters; a few words are fine."
    if len(password) > limits.PASSWORD_MAX_LENGTH:
        yield "too_long", f"Use at most {limits.PASSWORD_MAX_LENGTH} characters."


def _common(password: str) -> Iterator[Reason]:
    if blocklist.holds(password):
        yield "common", f"This is one of the most common passwords, which are tried first. {ADVICE}"
    elif any(len(password) - len(core) <= LONGEST_DECORATION and blocklist.holds(core) for core in _cores(password)):
        yield "common", f"This is one of the most common passwords, with digits or signs around it. {ADVICE}"


def _cores(password: str) -> list[str]:
    """What is left without the signs, and without the signs and digits, at both ends."""
    return [re.sub(rf"^{ends}+|{ends}+$", "", password) for ends in (r"[\W_]", r"[\W\d_]")]


def _own(password: str, words: Sequence[str]) -> Iterator[Reason]:
    plain = _plain(password)
    if any(_is_little_more(plain.translate(reading), [word.translate(reading) for word in words]) for reading in ({}, DISGUISES)):
        yield "own_words", f"This is little more than your name or address, or the name of this service. {ADVICE}"


def _is_little_more(password: str, words: Sequence[str]) -> bool:
    rest = password
    for word in words:
        rest = rest.replace(word, " ")
    return rest != password and sum(map(str.isalnum, rest)) < LEAST_BESIDES


def _guessable(password: str, words: Sequence[str]) -> Iterator[Reason]:
    least, judged = config.settings.PASSWORD_MIN_SCORE, password[:JUDGED].replace("\n", " ")  # A line break after digits is an error to it.
    if least == 0 or not judged:
        return
    if len(set(judged) & set(SIGNS)) > SIGNS_READ:
        judged = judged.translate(str.maketrans(SIGNS, STAND_INS))
    with _zxcvbn:
        found = zxcvbn(judged, list(words))
    if found["score"] < least:
        hints = " ".join(filter(None, [found["feedback"]["warning"], *found["feedback"]["suggestions"]]))
        yield "too_guessable", f"This is easy to guess. {hints or ADVICE}"


def _composition(password: str) -> Iterator[Reason]:
    for kind in config.keys(config.settings.PASSWORD_COMPOSITION):
        words, belongs = KINDS[kind]
        if not any(map(belongs, password)):
            yield f"composition_{kind}", f"Put {words} in."


def _words_of_service() -> list[str]:
    settings = config.settings
    sender = parseaddr(settings.MAIL_DEFAULT_SENDER)[0]
    return [*config.keys(settings.PASSWORD_OWN_WORDS), urlsplit(settings.BASE_URL).hostname or "", sender]


def _words(known: Iterable[str | None]) -> list[str]:
    """Each of these, and its parts, in their plain form; the longest first, so that a part does not break the whole."""
    whole = [_plain(one) for one in known if one]
    parts = {part for one in whole for part in [one, *re.split(r"[\W_]+", one)]}
    return sorted((part for part in parts if len(part) >= SHORTEST_WORD), key=lambda part: (-len(part), part))


def _plain(text: str) -> str:
    """Without accents and capitals, as guessers level them too."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(one for one in apart if not unicodedata.combining(one)).casefold()
