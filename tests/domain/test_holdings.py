"""Of every column it is said whether the person sees it, or why not. A new one fails here until somebody has decided."""

import pytest

from domain.holdings import HELD, LEFT_OUT
from model import Base
from resources.own_data import ExportOut

pytestmark = pytest.mark.once

COLUMNS = {f"{table.name}.{column.name}" for table in Base.metadata.sorted_tables for column in table.columns}
TABLES = {table.name for table in Base.metadata.sorted_tables}
SHOWN = [f"{held.table.__tablename__}.{column}" for held in HELD for column in held.columns.split()]
REASONED = [name for names in LEFT_OUT.values() for name in names.split()]
SECRET = ("_hash", "_encrypted")


def test_every_column_is_exported_or_left_out_for_a_reason():
    whole = {name for name in REASONED if name in TABLES}
    secret = {name for name in COLUMNS if name.endswith(SECRET) and name.partition(".")[0] not in whole}
    said = {*SHOWN, *(set(REASONED) - whole), *secret, *(name for name in COLUMNS if name.partition(".")[0] in whole)}
    assert said == COLUMNS
    assert len(SHOWN) + len(set(REASONED)) == len({*SHOWN, *REASONED}), "what is said twice is said wrongly"


def test_nothing_that_is_exported_is_a_secret():
    assert [name for name in SHOWN if name.endswith((*SECRET, ".salt", ".seal", ".nonce", ".public_key", ".credential_id"))] == []


def test_whatever_is_collected_has_its_place_in_the_answer():
    assert set(ExportOut.model_fields) == {held.name for held in HELD} | {"exported_at", "picture"}
