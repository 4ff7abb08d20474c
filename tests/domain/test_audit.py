"""What the trail is told: every act by a name of the table, in the act's own transaction; and what it forgets."""

import ast
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select

import config
from domain import accounts, audit, budgets, clock, database, keys, seals, sessions
from domain.actions import ACTIONS
from domain.alerts import RULES
from domain.caller import Client
from domain.database import new_id, reading, transaction
from domain.errors import InvalidCredentials, TooManyAttempts
from model import AuditEvent, Base, Session
from tests import databases

ROOT = Path(audit.__file__).resolve().parent.parent
HERE = Client("203.0.113.7", "Firefox/130.0")


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        yield


def events(*actions):
    with reading() as db:
        found = db.scalars(select(AuditEvent).order_by(AuditEvent.at)).all()
    return [one for one in found if not actions or one.action in actions]


def noted():
    """The actions that the code notes, as they stand in its calls."""
    calls = {"note": 1, "note_alone": 0, "of": 1, "by": 1, "failures": 0, "note_once": 1}  # And at which place.
    found = set()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("domain/*.py"), *ROOT.glob("resources/*.py"), *ROOT.glob("jobs/*.py")]:
        inside = path.stem == "audit" and path.parent.name == "domain"
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            called = ast.unparse(call.func)
            name = called if inside else called.removeprefix("audit.") if called.startswith("audit.") else ""
            if name in calls:
                action = call.args[calls[name]]
                found.add(action.value if isinstance(action, ast.Constant) else ast.unparse(action))
    return found


def test_every_action_that_is_noted_is_in_the_table_and_every_other_way_round():
    variable = {"action", "rule.action"}  # `audit` hands on what it was given, and alerts are named by their rules.
    assert noted() & variable == variable
    assert (noted() - variable) | {rule.action for rule in RULES} == set(ACTIONS)


def test_every_action_has_a_name_that_fits_and_a_sentence():
    assert [name for name in ACTIONS if len(name) > AuditEvent.action.type.length] == []
    assert [one for one in ACTIONS.values() if not (one[0].isupper() and one.endswith(".") and one.isascii())] == []


def test_operators_read_of_every_action():
    text = (ROOT / "docs" / "operating.md").read_text()
    table = text.partition("| action |")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == [f"| `{name}` | {sentence} |" for name, sentence in ACTIONS.items()]


def test_an_event_is_part_of_its_act():
    with suppress(InvalidCredentials), transaction() as db:
        audit.note(db, "sign_in", "u", HERE)
        raise InvalidCredentials
    assert events() == []


def test_a_name_that_nobody_has_is_not_kept_for_it_may_be_a_password():
    audit.note_alone("sign_in", None, HERE, name="hunter2hunter2")
    audit.note_alone("sign_in", None, HERE, name="jo@example.com")
    audit.note_alone("sign_in", "u", HERE, name="jo")
    assert [one.name for one in events()] == [None, "jo@example.com", "jo"]


def fail(user_id, name):
    tried = budgets.spend("password", f"name:{name}")
    with audit.failures("sign_in", user_id, HERE, tried=tried, name=name):
        raise InvalidCredentials


def test_a_lockout_is_one_event_however_many_tries_it_refuses():
    refused = 0
    for _ in range(3 * config.settings.FAILED_ATTEMPTS_LIMIT):
        try:
            fail("u", "jo@example.com")
        except TooManyAttempts:
            refused += 1
        except InvalidCredentials:
            pass
    assert refused == 2 * config.settings.FAILED_ATTEMPTS_LIMIT
    assert len(events("sign_in")) == config.settings.FAILED_ATTEMPTS_LIMIT
    (locked,) = events("account.locked")
    assert (locked.user_id, locked.ip, locked.name) == ("u", HERE.ip, "jo@example.com")
    assert locked.facts == {"secret": "password", "pause_seconds": 60}


def test_the_hard_stop_is_told_as_one_without_an_end(moved_clock):
    for hour in range(100):
        moved_clock(hour * 7200)
        with pytest.raises(InvalidCredentials):
            fail("u", "jo@example.com")
    stops = [one for one in events("account.locked") if one.facts["pause_seconds"] is None]
    assert len(stops) == 1


def test_a_right_password_at_the_last_try_locks_nothing():
    user = accounts.create("jo@example.com")
    for _ in range(config.settings.FAILED_ATTEMPTS_LIMIT - 1):
        with pytest.raises(InvalidCredentials):
            fail(user.id, "jo@example.com")
    tried = budgets.spend("password", "name:jo@example.com")
    with audit.failures("sign_in", user.id, HERE, tried=tried), transaction() as db:
        budgets.clear(db, tried)
    assert events("account.locked") == []


def open_session(user_id, seen):
    times = dict.fromkeys(("created_at", "authenticated_at", "rotated_at", "last_seen_at", "tokens_expire_at"), seen)
    session = Session(id=new_id(), user_id=user_id, amr="pwd", generation=1, floor=0, **times)
    with transaction() as db:
        db.add(session)
    return session.id


def test_a_session_that_ran_out_is_told_by_an_event_of_its_own(monkeypatch):
    monkeypatch.setattr(sessions, "BATCH", 2)
    user = accounts.create("jo@example.com")
    over = {open_session(user.id, clock.now() - timedelta(days=2)) for _ in range(5)}
    open_session(user.id, clock.now())
    assert sessions.end_idle(dry_run=True) == 5
    assert events("session.ended") == []
    assert sessions.end_idle() == 5
    found = events("session.ended")
    assert {one.session_id for one in found} == over
    assert {(one.actor, one.user_id, one.facts["reason"]) for one in found} == {("system", user.id, "expired")}


def test_what_an_operator_does_is_told():
    other = accounts.create("other@example.com", admin=True)  # The last one could not be deactivated.
    with transaction() as db:
        db.execute(delete(AuditEvent))
    user = accounts.create("jo@example.com", admin=True)
    accounts.deactivate("jo@example.com")
    accounts.activate("jo@example.com")
    accounts.unlock("jo@example.com")
    sessions.end_all()
    keys.rotate_encryption()
    told = [(one.action, one.user_id) for one in events() if one.user_id != other.id]
    about = ["account.created", "role.granted", "account.deactivated", "account.activated", "account.unlocked"]
    assert told == [*((action, user.id) for action in about), ("sessions.ended", None), ("encryption.rotated", None)]
    assert {one.actor for one in events()} == {"operator"}


def test_a_person_is_forgotten_and_the_chain_stays_whole():
    audit.note_alone("sign_in", "u", HERE, actor="u")
    audit.note_alone("sign_in", None, HERE, name="jo@example.com", result="invalid_credentials")
    audit.note_alone("role.granted", "other", HERE, actor="u", role="x")
    audit.note_alone("sign_in", "other", HERE, name="other@example.com", actor="other")
    seals.seal()
    audit.note_alone("step_up", "u", HERE, actor="u")
    with transaction() as db:
        assert audit.forget(db, "u", "jo@example.com") == 4
    *theirs, others, last = [(one.ip, one.country, one.user_agent, one.name, one.salt is None) for one in events()]
    assert {*theirs, last} == {(None, None, None, None, True)}
    assert others == (HERE.ip, None, HERE.user_agent, "other@example.com", False)
    assert seals.seal() == 1
    assert seals.verify().broken is None
    with transaction() as db:
        assert audit.forget(db, "u", "jo@example.com") == 0


def test_an_address_can_not_be_guessed_back_from_a_forgotten_row():
    audit.note_alone("sign_in", "u", HERE)
    (before,) = events()
    guessed = audit.personal_hash("", {key: getattr(before, key) for key in audit.PERSONAL})
    assert before.personal_hash != guessed
    assert len(before.salt) == 32
