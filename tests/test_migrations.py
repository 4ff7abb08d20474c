"""The revisions make the tables of model.py, one process at a time, up and down, on whichever database is in use."""

import shutil
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text

import config
from domain import database, schema
from domain.errors import Conflict
from model import Base
from tests import databases
from tests.serving import PATIENCE

ROOT = Path(schema.__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def empty(tmp_path):
    with databases.connected(tmp_path):
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of migrations/ that a test may write to."""
    copy = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(schema, "MIGRATIONS", copy)
    return copy


def write(folder, number, after, upgrade, downgrade="pass"):
    """A revision by hand."""
    head = f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '{number}'\ndown_revision = '{after}'\n"
    body = f"def upgrade():\n    {upgrade}\n\ndef downgrade():\n    {downgrade}\n"
    (folder / "versions" / f"{number}_by_hand.py").write_text(head + body)


def differences():
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


def tables():
    return sorted(set(inspect(database.engine).get_table_names()) - {"alembic_version"})


def structure():
    """All that the database itself says about its tables."""
    eyes = inspect(database.engine)
    return {
        table: {
            # In the order of their names: a column that a later revision adds stands last in the table.
            "columns": sorted(({**one, "type": repr(one["type"])} for one in eyes.get_columns(table)), key=itemgetter("name")),
            "indexes": sorted(map(repr, eyes.get_indexes(table))),
            "unique": sorted(map(repr, eyes.get_unique_constraints(table))),
            "references": sorted(map(repr, eyes.get_foreign_keys(table))),
            "key": eyes.get_pk_constraint(table),
            "options": eyes.get_table_options(table) if eyes.dialect.name in ("mysql", "mariadb") else None,
        }
        for table in tables()
    }


def test_an_empty_database_upgraded_equals_the_model():
    schema.upgrade()
    assert differences() == []
    assert tables() == sorted(Base.metadata.tables)
    with database.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Base.metadata.tables["users"])) == 0  # No account comes with it.


def test_the_revisions_and_the_model_make_the_very_same_tables():
    schema.upgrade()
    by_revisions = structure()
    schema.downgrade()
    Base.metadata.create_all(database.engine)
    assert structure() == by_revisions


def test_down_all_the_way_leaves_nothing_and_up_again_makes_the_model():
    schema.upgrade()
    undone = schema.downgrade()
    assert undone == sorted(undone, reverse=True)
    assert tables() == []
    assert schema.status().current is None
    schema.upgrade()
    assert differences() == []


def test_one_step_at_a_time_goes_up_and_down(folder):
    write(folder, "9998", max(schema._revisions()), "op.create_table('later', sa.Column('id', sa.Integer))", "op.drop_table('later')")
    everything = schema._revisions()
    for number in everything:
        assert schema.upgrade(steps=1) == [number]
        assert schema.status().current == number
    assert schema.upgrade(steps=1) == []
    for number in reversed(everything):
        assert schema.downgrade(steps=1) == [number]
    assert schema.downgrade(steps=1) == []
    assert tables() == []


def test_more_steps_than_there_are_revisions_go_all_the_way():
    assert schema.upgrade(steps=99) == schema._revisions()
    assert schema.downgrade(steps=99) == schema._revisions()[::-1]


def test_status_says_where_the_database_stands():
    newest = max(schema._revisions())
    assert schema.status() == (None, newest, schema._revisions())
    assert not schema.is_current()
    schema.upgrade()
    assert schema.status() == (newest, newest, [])
    assert schema.is_current()


def test_a_database_of_a_newer_release_is_current_and_is_left_alone():
    schema.upgrade()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert schema.is_current()
    assert schema.upgrade() == []
    with pytest.raises(Conflict):
        schema.downgrade()


def test_several_processes_that_upgrade_at_once_do_it_once():
    code = (
        "import sys, config\nfrom domain import database, schema\n"
        "database.connect(config.load(APP_ENV='testing', INSTANCE_DIR=sys.argv[1], SQLALCHEMY_DATABASE_URI=sys.argv[2]))\n"
        "print(len(schema.upgrade()))"
    )
    command = [sys.executable, "-c", code, str(config.settings.INSTANCE_DIR), config.settings.SQLALCHEMY_DATABASE_URI]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = sorted(int(one.communicate(timeout=PATIENCE)[0]) for one in running)
    assert answers == [0, 0, len(schema._revisions())]
    assert differences() == []


def test_the_next_revision_gets_the_next_number_and_an_empty_body_when_nothing_changed(folder):
    path = schema.create("add app tokens")
    assert path == folder / "versions" / f"{int(max(schema._revisions()[:-1])) + 1:04}_add_app_tokens.py"
    assert "upgrade() -> None:\n    pass\n" in path.read_text()
    assert schema.upgrade() == schema._revisions()


def test_the_first_revision_can_be_made_from_the_model_anew(folder):
    shutil.rmtree(folder / "versions")
    (folder / "versions").mkdir()
    assert schema.create("first tables").name == "0001_first_tables.py"
    assert "UtcTime" not in next((folder / "versions").glob("0001*")).read_text()
    schema.upgrade()
    assert differences() == []
    schema.downgrade()
    assert tables() == []


def test_a_revision_that_fails_leaves_the_one_before_it(folder):
    newest = max(schema._revisions())
    write(folder, "9998", newest, "op.execute(\"UPDATE users SET status = 'active'\")")
    write(folder, "9999", "9998", "raise RuntimeError('no')")
    schema.upgrade(steps=len(schema._revisions()) - 2)
    with pytest.raises(RuntimeError):
        schema.upgrade()
    # Where the database can't take back a change of a table, each step is kept; elsewhere all of them are undone.
    transactional = database.engine.dialect.name in ("sqlite", "postgresql")
    assert schema.status().current == (newest if transactional else "9998")


def test_altering_a_table_keeps_the_rows_that_refer_to_it(folder):
    change = "table.alter_column('status', existing_type=sa.String(16), type_=sa.String(20), existing_nullable=False)"
    write(folder, "9998", max(schema._revisions()), f"with op.batch_alter_table('users') as table: {change}")
    schema.upgrade(steps=len(schema._revisions()) - 1)
    with database.engine.begin() as connection:
        columns = "id, email, status, mfa_enabled, created_at, email_confirmed_at"
        user = f"INSERT INTO users ({columns}) VALUES ('u', 'a@example.com', 'active', false, :at, :at)"
        connection.execute(text(user), {"at": "2026-01-01 00:00:00"})
        connection.execute(text("INSERT INTO recovery_codes (id, user_id, code_hash) VALUES ('r', 'u', 'h')"))
    assert schema.upgrade() == ["9998"]
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM recovery_codes")) == 1
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
