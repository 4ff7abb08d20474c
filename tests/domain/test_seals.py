"""The chain of seals: what is changed, taken out, put in or reordered shows; by SQL, as who has the database would do it."""

import logging
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

import config
from domain import audit, clock, database, seals
from domain.caller import Client
from domain.database import reading, transaction
from model import AuditEvent, Base
from tests import databases

HERE = Client("203.0.113.7", "Firefox/130.0")
MOMENT = datetime(2026, 11, 3, 14, 5, 11, 123000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        yield


def write(number, **more):
    for one in range(number):
        audit.note_alone("sign_in", "u", HERE, name="jo@example.com", actor="u", amr=["pwd"], surplus=one, **more)


def rows():
    with reading() as db:
        return db.scalars(select(AuditEvent).order_by(AuditEvent.number)).all()


def tamper(*statements, **values):
    with transaction() as db:
        for one in statements:
            db.execute(text(one), values)


@pytest.fixture
def sealed():
    """Ten sealed rows; their ids in order."""
    write(10)
    assert seals.seal() == 10
    return [row.id for row in rows()]


def test_rows_are_sealed_in_the_order_of_their_times(monkeypatch):
    monkeypatch.setattr(seals, "BATCH", 3)
    write(8)
    assert seals.seal(dry_run=True) == 8
    assert seals.seal() == 8
    assert [row.number for row in rows()] == list(range(1, 9))
    assert [row.at for row in rows()] == sorted(row.at for row in rows())
    assert seals.seal() == 0
    found = seals.verify()
    assert (found.right, found.unsealed, found.end, found.broken) == (8, 0, seals.End(8, rows()[-1].seal), None)


def test_a_row_that_comes_late_gets_a_later_number(moved_clock):
    write(2)
    seals.seal()
    moved_clock(-3600)
    write(1)
    seals.seal()
    assert rows()[-1].number == 3
    assert rows()[-1].at < rows()[0].at
    assert seals.verify().broken is None


def test_what_is_not_sealed_yet_is_counted_and_breaks_nothing(sealed):
    write(2)
    found = seals.verify()
    assert (found.right, found.unsealed, found.broken) == (10, 2, None)


def test_nothing_at_all_is_a_whole_chain():
    assert seals.verify() == seals.Verdict(0, 0, seals.START, None)


def test_every_run_tells_the_log_where_the_chain_ends(sealed, caplog):
    write(1)
    with caplog.at_level(logging.INFO):
        seals.seal()
        seals.seal()
    assert [record.getMessage() for record in caplog.records if "sealed" in record.getMessage()] == [
        f"The audit trail is sealed up to number 11: {rows()[-1].seal[:16]}"
    ]


def test_the_seal_is_the_same_in_every_database(monkeypatch):
    """Times to the microsecond, and facts whose numbers, keys and characters a database might turn round."""
    monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"SECRET_KEY": "k" * 40}))
    facts = {"z": 1, "a": [1.5, -0.0, 2**53, 1e-7, True, None], "ä": "ö\u2028\U0001f511", "b": {"y": 1, "x": 2}}
    row = {"id": "0" * 32, "at": MOMENT, "action": "sign_in", "result": "success", "actor": None, "user_id": "u", "session_id": None}
    with transaction() as db:
        db.add(AuditEvent(**row, facts=facts, salt="s", personal_hash="h"))
    seals.seal()
    (found,) = rows()
    assert seals.canonical(1, found) == (
        '[1,"00000000000000000000000000000000","2026-11-03T14:05:11.123000Z","sign_in","success",null,"u",null,'
        '{"a":[1.5,-0.0,9007199254740992,1e-07,true,null],"b":{"x":2,"y":1},"z":1,"\\u00e4":"\\u00f6\\u2028\\ud83d\\udd11"},"h"]'
    )
    assert found.seal == "b5f514cdf589e0545c8b9fb6d34041cb36157b71c4f3b3f8fadb9e391598d20a"


def test_a_row_is_the_same_when_it_is_read_as_when_it_was_written():
    written = clock.now()
    write(1, ratio=0.1, count=3)
    (row,) = rows()
    assert abs((row.at - written).total_seconds()) < 5
    assert row.at.microsecond or row.at.second >= 0
    assert row.facts == {"amr": ["pwd"], "surplus": 0, "ratio": 0.1, "count": 3}


def test_an_older_key_still_verifies_and_the_newest_seals(monkeypatch):
    def keys(value):
        monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"SECRET_KEY": value}))

    keys("old key")
    write(2)
    seals.seal()
    keys("new key,old key")
    write(2)
    seals.seal()
    assert seals.verify().broken is None
    keys("new key")
    assert seals.verify().broken.number == 1


COLUMNS = {
    "at": "at = '2026-01-01 00:00:00'",
    "action": "action = 'step_up'",
    "result": "result = 'invalid_credentials'",
    "actor": "actor = 'somebody'",
    "no actor": "actor = NULL",
    "user": "user_id = 'somebody'",
    "session": "session_id = 'somebody'",
    "facts": """facts = '{"amr": ["pwd"], "surplus": 99}'""",
    "hash": "personal_hash = 'x'",
    "seal": "seal = 'x'",
    "no seal": "seal = NULL",
    "an odd seal": "seal = 'é'",
    "id": "id = 'another'",
}


@pytest.mark.parametrize("change", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("number", [1, 5, 10])
def test_a_changed_row_is_named(sealed, change, number):
    tamper(f"UPDATE audit_events SET {change} WHERE number = {number}")
    broken = seals.verify().broken
    assert broken.number == number
    assert broken.id == ("another" if change.startswith("id") else sealed[number - 1])


PERSONAL = {
    "ip": "ip = '198.51.100.1'",
    "country": "country = 'AT'",
    "user agent": "user_agent = 'curl'",
    "name": "name = 'somebody@example.com'",
    "no ip": "ip = NULL",
    "salt": "salt = 'x'",
    "no salt": "salt = NULL",
    "half erased": "salt = NULL, ip = NULL, country = NULL, name = NULL",
}


@pytest.mark.parametrize("change", PERSONAL.values(), ids=PERSONAL)
def test_a_changed_address_is_found_and_a_half_erased_row_as_well(sealed, change):
    tamper(f"UPDATE audit_events SET {change} WHERE number = 5")
    broken = seals.verify().broken
    assert (broken.number, broken.id) == (5, sealed[4])
    assert "another address" in broken.why


def test_an_erased_row_is_not_broken(sealed):
    tamper("UPDATE audit_events SET salt = NULL, ip = NULL, country = NULL, name = NULL, user_agent = NULL WHERE number = 5")
    assert seals.verify().broken is None


@pytest.mark.parametrize("which", ["number = 1", "number = 5", "number IN (5, 6)", "number = 10", "number > 8", "number > 0"])
def test_rows_that_were_taken_out_are_missed(sealed, which):
    with reading() as db:
        first = db.scalar(text(f"SELECT min(number) FROM audit_events WHERE {which}"))
    tamper(f"DELETE FROM audit_events WHERE {which}")
    broken = seals.verify().broken
    assert (broken.number, broken.id) == (first, None)
    assert "is missing" in broken.why


def copy(number, new):
    names = "at, action, result, actor, user_id, session_id, facts, ip, country, user_agent, name, salt, personal_hash, seal"
    return f"INSERT INTO audit_events (id, number, {names}) SELECT '{'f' * 32}', {new}, {names} FROM audit_events WHERE number = {number}"


@pytest.mark.parametrize("new", [0, -1, 11, 20])
def test_a_row_that_was_put_in_is_found(sealed, new):
    tamper(copy(10, new))
    broken = seals.verify().broken
    assert broken.number in (new, 11)
    assert broken.id in ("f" * 32, None)


def test_a_row_that_was_put_in_between_is_found(sealed):
    tamper("UPDATE audit_events SET number = 11 WHERE number = 10", copy(9, 10), "UPDATE audit_chain SET number = 11")
    assert seals.verify().broken[:2] == (10, "f" * 32)


def test_rows_that_changed_places_are_found(sealed):
    for one, other in ((4, 99), (5, 4), (99, 5)):
        tamper(f"UPDATE audit_events SET number = {other} WHERE number = {one}")
    assert seals.verify().broken[:2] == (4, sealed[4])


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("UPDATE audit_chain SET number = 9", 10),
        ("UPDATE audit_chain SET number = 11", 11),
        ("DELETE FROM audit_chain", 1),
    ],
)
def test_an_end_of_the_chain_that_was_moved_is_found(sealed, change, number):
    tamper(change)
    assert seals.verify().broken.number == number


def test_a_seal_of_the_end_that_does_not_fit_is_found(sealed):
    tamper("UPDATE audit_chain SET seal = 'x'")
    assert seals.verify().broken is not None


@pytest.mark.parametrize("change", ["facts = 'no JSON'", "at = 'no time'"])
def test_a_row_that_can_not_be_read_is_named(sealed, change):
    if database.engine.dialect.name != "sqlite":
        pytest.skip("this database takes no such value")
    tamper(f"UPDATE audit_events SET {change} WHERE number = 5")
    found = seals.verify()
    assert (found.right, found.broken[:2]) == (4, (5, sealed[4]))


def test_the_walk_takes_batches(sealed, monkeypatch):
    monkeypatch.setattr(seals, "BATCH", 3)
    assert [row.number for row in seals.walk()] == list(range(1, 11))
    assert [row.number for row in seals.walk(7)] == [8, 9, 10]
    assert seals.verify().right == 10
