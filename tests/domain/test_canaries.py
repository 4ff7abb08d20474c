"""A start with other keys than the database was written under is refused, and names the setting; a newer key in front is fine."""

from contextlib import contextmanager

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update

import config
from app import create_app
from domain import accounts, audit, canaries, clock, database, health, keys, passwords, schema, seals, secrets
from domain.database import new_id, reading, transaction
from domain.errors import Unavailable
from model import AuditEvent, Canary, Factor, User
from tests import databases
from tests.serving import at_once

FERNET, OTHER_FERNET = Fernet.generate_key().decode(), Fernet.generate_key().decode()
GIVEN = {"FERNET_KEY": FERNET, "SECRET_KEY": "first " + "key of 0123456789" * 2, "PASSWORD_PEPPER": "pepper " + "of 9876543210" * 2}
OTHER = {"FERNET_KEY": OTHER_FERNET, "SECRET_KEY": "other " + "key of abcdefghij" * 2, "PASSWORD_PEPPER": "salt " + "of jihgfedcba" * 2}
NAMES = sorted(GIVEN)


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        schema.upgrade()
        use()
        yield


def use(**more):
    config.settings = config.settings.model_copy(update={**GIVEN, **more})


def live():
    """Somebody has a password and a second factor, and the audit trail is sealed."""
    user = accounts.create("jo@example.com", "correct horse battery staple")
    factor = Factor(id=new_id(), user_id=user.id, type="totp", name="t", last_step=0, created_at=clock.now())
    factor.secret_encrypted = secrets.encrypt("seed")
    with transaction() as db:
        db.add(factor)
    seals.seal()


@contextmanager
def away():
    """The database does not answer."""
    raise Unavailable
    yield


def marks():
    with reading() as db:
        return {row.name: row.value_encrypted for row in db.scalars(select(Canary))}


def test_the_first_start_marks_an_empty_database_and_the_next_one_changes_nothing():
    assert canaries.faults() == []
    assert marks() == {}
    assert canaries.keep() == []
    made = marks()
    assert sorted(made) == NAMES
    assert canaries.keep() == []
    assert marks() == made


def test_many_that_start_at_once_agree():
    assert at_once(12, lambda _: canaries.keep()) == [[]] * 12
    assert sorted(marks()) == NAMES


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "written before there were marks"])
@pytest.mark.parametrize("name", NAMES)
def test_another_key_alone_is_refused_and_not_marked(name, is_marked):
    live()
    if is_marked:
        canaries.keep()
    before = marks()
    use(**{name: OTHER[name]})
    (line,) = canaries.keep()
    assert line.startswith(f"{name}: ")
    assert not any(key in line for key in (*GIVEN.values(), *OTHER.values()))
    assert marks() == before
    use(**{name: f"{OTHER[name]}, {GIVEN[name]}"})
    assert canaries.keep() == []
    assert sorted(marks()) == NAMES


def test_of_two_that_start_at_once_with_different_keys_the_second_is_refused(monkeypatch):
    write = canaries._write

    def be_second(db, before):
        use(**OTHER)
        write(db, before)
        use()
        write(db, before)

    monkeypatch.setattr(canaries, "_write", be_second)
    assert canaries.keep() == [canaries.WRONG_FERNET_KEY]


def test_another_key_for_tokens_alone_is_fine():
    live()
    canaries.keep()
    use(JWT_SECRET_KEY="another one of 0123456789abcdefghij")
    assert canaries.keep() == []


@pytest.mark.parametrize("name", NAMES)
def test_an_older_key_can_go_in_its_time_and_not_before(name):
    live()
    canaries.keep()
    old, new, both = GIVEN[name], OTHER[name], f"{OTHER[name]},{GIVEN[name]}"
    for listed in (both, old, both):  # A process with the old list may start again meanwhile.
        use(**{name: listed})
        assert canaries.keep() == []
    if name == "SECRET_KEY":  # Nothing is to be done but wait.
        use(**{name: new})
        assert canaries.keep() == []
        use(**{name: old})
        assert canaries.keep() == [canaries.WRONG_SECRET_KEY]
        return
    use(**{name: new})
    assert [line.partition(":")[0] for line in canaries.keep()] == [name]
    use(**{name: both})
    keys.rotate_encryption()
    with transaction() as db:
        db.execute(update(User).values(password_hash=passwords.hash("correct horse battery staple")))
    use(**{name: new})
    assert canaries.keep() == []


def test_two_lists_that_change_at_once_do_not_pass_for_a_rotation():
    live()
    canaries.keep()
    use(**{name: f"{OTHER[name]},{GIVEN[name]}" for name in NAMES})
    assert canaries.keep() == []
    use(**{name: GIVEN[name] for name in NAMES})
    assert canaries.keep() == []
    use(**{name: OTHER[name] for name in NAMES})
    assert canaries.keep() == [canaries.WRONG_FERNET_KEY]


def test_single_rows_that_no_key_opens_do_not_stop_an_upgrade():
    live()
    live_too = Factor(id="0" * 32, user_id=accounts.create("li@example.com").id, type="totp", name="t", last_step=0, created_at=clock.now())
    live_too.secret_encrypted = b"from before a key was lost"
    with transaction() as db:
        db.add(live_too)
        db.execute(update(AuditEvent).where(AuditEvent.number == 1).values(action="account.activated"))
    audit.note_alone("encryption.rotated", None)
    seals.seal()
    assert canaries.keep() == []


def test_lost_keys_can_be_accepted():
    live()
    canaries.keep()
    use(**OTHER)
    assert canaries.faults() == [canaries.WRONG_FERNET_KEY]
    canaries.accept()
    assert canaries.keep() == []
    with reading() as db:
        assert db.scalar(select(AuditEvent.action).where(AuditEvent.number.is_(None))) == "keys.accepted"


def test_a_database_that_has_no_tables_is_away_or_is_only_read_stops_nobody(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(canaries, "transaction", away)
        assert canaries.keep() == []
    assert marks() == {}
    schema.downgrade(1)
    assert canaries.keep() == []
    database.disconnect()
    database.connect(config.settings.model_copy(update={"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg://gatehouse@127.0.0.1:1/none"}))
    assert canaries.keep() == []


def test_who_began_while_the_database_was_away_compares_before_it_is_ready(monkeypatch):
    live()
    canaries.keep()
    health.require()
    use(FERNET_KEY=OTHER_FERNET)
    with monkeypatch.context() as patched:
        patched.setattr(canaries, "reading", away)
        assert canaries.keep() == []
    for _ in range(2):
        with pytest.raises(Unavailable) as refusal:
            health.require()
        assert [one.field for one in refusal.value.errors] == ["keys"]


@pytest.mark.parametrize("environment", ["development", "testing", "production"])
def test_the_application_refuses_to_start_in_every_environment(environment, monkeypatch, tmp_path):
    live()
    canaries.keep()
    given = {**GIVEN, "JWT_SECRET_KEY": "another one of 0123456789abcdefghij", "APP_ENV": environment, "JOBS_IN_PROCESS": False}
    given |= {name: str(getattr(config.settings, name)) for name in ("INSTANCE_DIR", "UPLOADS_DIR", "SQLALCHEMY_DATABASE_URI")}
    database.disconnect()
    create_app(**given)
    database.disconnect()
    with pytest.raises(config.Refusal) as refusal:
        create_app(**given | {"FERNET_KEY": OTHER_FERNET})
    assert refusal.value.lines == [canaries.WRONG_FERNET_KEY]
    assert OTHER_FERNET not in str(refusal.value)
