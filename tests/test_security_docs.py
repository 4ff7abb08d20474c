"""docs/security.md has every row of OWASP ASVS 5.0 at levels 1 and 2 once, and every test that it names is there."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()
HEADING = "# OWASP ASVS 5.0, levels 1 and 2"
# By chapter, how many rows the standard has at level 1 and at level 2.
FIRST = {1: 8, 2: 4, 3: 8, 4: 2, 5: 4, 6: 13, 7: 6, 8: 4, 9: 4, 10: 5, 11: 3, 12: 3, 13: 1, 14: 2, 15: 3, 16: 0, 17: 0}
SECOND = {1: 19, 2: 7, 3: 11, 4: 8, 5: 5, 6: 22, 7: 12, 8: 3, 9: 3, 10: 24, 11: 11, 12: 6, 13: 12, 14: 7, 15: 10, 16: 16, 17: 7}
ID = re.compile(r"(\*\*)?((\d+)\.\d+\.\d+)(?(1)\*\*)")  # Level 1 in bold.
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


class Row(NamedTuple):
    """A line of one of the tables: its ids, whether they are level 1, and its cells."""

    heading: str
    ids: list[tuple[str, bool]]
    cells: list[str]


def _rows() -> list[Row]:
    heading, found = "", []
    for line in TEXT.partition(HEADING)[2].splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        if line.startswith("| ") and not line.startswith(("| id |", "| --- |")):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            ids = [ID.fullmatch(one.strip()) for one in cells[0].split(",")]
            assert all(ids), line
            found.append(Row(heading, [(one[2], bool(one[1])) for one in ids if one], cells))
    return found


TABLE = _rows()


@cache
def _tests_of(path: str) -> set[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_levels_1_and_2_stands_there_once():
    ids = [one for row in TABLE for one in row.ids]
    assert [one for one, times in Counter(name for name, _ in ids).items() if times > 1] == []
    counted = Counter((int(name.split(".")[0]), first) for name, first in ids)
    assert {chapter: counted[chapter, True] for chapter in FIRST} == FIRST
    assert {chapter: counted[chapter, False] for chapter in SECOND} == SECOND


def test_a_row_stands_in_its_chapter():
    for row in TABLE:
        chapter = re.match(r"V(\d+) ", row.heading)
        assert chapter is None or {name.split(".")[0] for name, _ in row.ids} == {chapter[1]}, row


def test_every_test_that_is_named_is_there():
    named = set(TEST.findall(TEXT))
    assert len(named) > 150
    assert sorted(f"{path}::{name}" for path, name in named if name not in _tests_of(path)) == []


def test_what_is_met_is_shown_and_what_is_not_has_its_reason():
    headings = {row.heading for row in TABLE}
    assert {"What we do not meet", "What the operator sees to", "What does not apply"} < headings
    for row in TABLE:
        if row.heading.startswith("V"):
            # A row that asks for a text is shown by the text, which the row leads to.
            assert TEST.search(row.cells[2]) or (row.cells[2] == "the text" and "](" in row.cells[1]), row
        if row.heading == "What we do not meet":
            assert min(map(len, row.cells[1:])) > 20, row
        if row.heading == "What does not apply":
            assert row.cells[1], row


def test_security_md_says_how_soon():
    text = (ROOT / "SECURITY.md").read_text()
    assert re.search(r"## .*package", text, re.IGNORECASE)
    assert re.search(r"\| critical \| .*\d+ days", text)
    assert "@" not in text  # No address is promised that nobody reads.
