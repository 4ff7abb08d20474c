"""Templates of mails and pages by language: the operator's own in TEMPLATES_DIR over the built-in ones.

A mail or page is in one language throughout: the first wanted one that has it. An own template that fails never stops a
mail: the built-in one takes its place, and the log says which it was.
"""

import logging
import re
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateSyntaxError, UndefinedError, select_autoescape

import config
from domain import languages

MAILS, PAGES = "mails", "pages"
BUILT_IN = {MAILS: config.HERE / "domain" / "mails", PAGES: config.HERE / "pages" / "templates"}
UNDEFINED = re.compile(r"'\w+' is undefined")  # The name of a value that is not there.

logger = logging.getLogger(__name__)


class Rendered(NamedTuple):
    """The texts of some templates, and the language that they are in."""

    language: str
    texts: list[str]


def render(kind: str, names: Sequence[str], values: Mapping[str, Any], wanted: Sequence[str]) -> Rendered:
    """Fill these templates of `MAILS` or `PAGES`, in the first of the wanted languages that has them all.

    A value that a built-in template needs and does not get raises jinja2's UndefinedError.
    """
    own = config.settings.TEMPLATES_DIR
    if own is not None:
        try:
            return _fill(kind, own, names, values, wanted)
        except Exception as error:  # Whatever an operator wrote, a mail must leave and a page must come.
            _complain(error, own, names[0])
    return _fill(kind, None, names, values, wanted)


def environment(kind: str, own: Path | None, language: str) -> Environment:
    """Where the templates of a language are found: its own before those of the wider ones, and those for all at last."""
    made = _environment(kind, own, language)
    made.globals["words"] = languages.words(language, own)
    return made


def _fill(kind: str, own: Path | None, names: Sequence[str], values: Mapping[str, Any], wanted: Sequence[str]) -> Rendered:
    roots = _roots(kind, own)
    language = next((tag for tag in languages.to_try(wanted) if _has(roots, tag, names)), languages.ENGLISH)
    found = environment(kind, own, language)
    return Rendered(language, [found.get_template(name).render(values) for name in names])


def _has(roots: Sequence[Path], tag: str, names: Sequence[str]) -> bool:
    """Whether there is a folder of this language, and all of these templates in it or in those of the wider ones."""
    wider = languages.widened(tag)
    found = (any((root / one / name).is_file() for root in roots for one in wider) for name in names)
    return any((root / tag).is_dir() for root in roots) and all(found)


def _roots(kind: str, own: Path | None) -> list[Path]:
    return [*([own / kind] if own else []), BUILT_IN[kind]]


@lru_cache(maxsize=64)
def _environment(kind: str, own: Path | None, language: str) -> Environment:
    """Kept, with the templates that it has compiled; one that is changed on disk is compiled anew."""
    roots = _roots(kind, own)
    made = Environment(
        loader=FileSystemLoader([*(root / tag for tag in languages.widened(language) for root in roots), *roots]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["language"] = language
    made.filters |= {name: partial(_say, made, name) for name in ("when", "count", "purpose", "factor")}
    return made


def _say(made: Environment, name: str, value: Any, unit: str = "") -> str:
    """What a filter says, by the words of the language."""
    known: languages.Words = made.globals["words"]  # type: ignore[assignment]
    if name == "when":
        return languages.when(value, known)
    if name == "count":
        return languages.count(value, unit, known)
    return str(known[f"{name}s"].get(value, value))


def _complain(error: Exception, own: Path, name: str) -> None:
    """Name the place in the operator's files that an error came from, as far as it can be told."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, TemplateSyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    place = next((f"{file}:{line}" for file, line in reversed(places) if Path(file).is_relative_to(own)), name)
    logger.error("The template %s failed (%s); the built-in one is used", place, _said(error))


def _said(error: Exception) -> str:
    """What is wrong, without a value, which may be a secret: only what stands in the template itself."""
    safe = isinstance(error, TemplateSyntaxError) or (isinstance(error, UndefinedError) and UNDEFINED.fullmatch(str(error)))
    return f"{type(error).__name__}: {error}" if safe else type(error).__name__
