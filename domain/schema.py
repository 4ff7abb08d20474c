"""The history of the tables: numbered revisions in migrations/versions, run by one process at a time.

A revision is known by its number ("0001"), so a database that a newer release has upgraded already counts as current:
old and new processes may run side by side while a release is rolled out.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from domain import database
from domain.errors import Conflict

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
LOCK = "gatehouse schema"
LOCK_SECONDS = 600  # A longer migration than this is run by hand, with the server stopped.


class Status(NamedTuple):
    """Where the database stands (None: before the first revision), the newest revision, and what is still to come."""

    current: str | None
    newest: str | None
    pending: list[str]


def upgrade(steps: int | None = None) -> list[str]:
    """Bring the database to the newest revision, or up by so many; the revisions that ran, oldest first."""
    with _alone() as connection:
        waiting = _pending(_current(connection))[:steps]
        if waiting:
            command.upgrade(_alembic(connection), waiting[-1])
    return waiting


def downgrade(steps: int | None = None) -> list[str]:
    """Take the database down to nothing, or by so many revisions; those that were undone, newest first. Data is lost."""
    with _alone() as connection:
        current = _current(connection)
        if current is not None and current not in _revisions():
            raise Conflict(f"The database is at {current}, which this release does not know.")
        applied = [one for one in _revisions() if current is not None and one <= current]
        kept = [] if steps is None else applied[: max(0, len(applied) - steps)]
        if kept != applied:
            command.downgrade(_alembic(connection), kept[-1] if kept else "base")
    return applied[len(kept) :][::-1]


def status() -> Status:
    """Where the database stands. `Unavailable` if it is away."""
    with database.connection() as connection:
        current = _current(connection)
    return Status(current, max(_revisions(), default=None), _pending(current))


def is_current() -> bool:
    """Whether the database has every revision that this release knows. `Unavailable` if it is away."""
    return not status().pending


def create(name: str) -> Path:
    """Write the next revision: what model.py says now and the revisions before it do not yet. Look at it before using it.

    The difference is found on an empty database in memory, so it does not depend on the one that is in use.
    """
    number = f"{int(max(_revisions(), default='0')) + 1:04}"
    with create_engine("sqlite://").begin() as connection:
        alembic = _alembic(connection)
        command.upgrade(alembic, "head")
        command.revision(alembic, name[:1].upper() + name[1:], autogenerate=True, rev_id=number)
    return next(_versions().glob(f"{number}_*.py"))


def _alembic(connection: Connection) -> Config:
    config = Config(cmd_opts=argparse.Namespace(quiet=True))
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _versions() -> Path:
    return MIGRATIONS / "versions"


def _revisions() -> list[str]:
    return sorted(path.name[:4] for path in _versions().glob("[0-9][0-9][0-9][0-9]_*.py"))


def _pending(current: str | None) -> list[str]:
    return [one for one in _revisions() if current is None or one > current]


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _alone() -> Iterator[Connection]:
    """A transaction that changes the schema while no other process does; a second one waits, then finds the work done."""
    with database.engine.connect() as connection:
        alone = {"sqlite": _alone_on_sqlite, "postgresql": _alone_on_postgresql}.get(connection.dialect.name, _alone_on_mariadb)
        with alone(connection):
            yield connection


@contextmanager
def _alone_on_postgresql(connection: Connection) -> Iterator[None]:
    with connection.begin():
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": LOCK})
        # A table that is in use is not waited for any longer than usual: everybody would queue up behind.
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")
        yield


@contextmanager
def _alone_on_sqlite(connection: Connection) -> Iterator[None]:
    """The transaction is the lock. To alter a table is to copy and drop it, which must not cascade to those that refer to it."""
    driver = connection.connection
    driver.execute("PRAGMA foreign_keys=OFF")
    driver.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
    try:
        with connection.begin():
            yield
            if orphans := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                raise Conflict(f"The revision would leave {len(orphans)} rows that refer to nothing.")
    finally:
        connection.invalidate()  # The next connection gets the usual pragmas again.


@contextmanager
def _alone_on_mariadb(connection: Connection) -> Iterator[None]:
    """MariaDB commits with every change of a table, so the lock has to outlive transactions."""
    name = f"{LOCK} {connection.engine.url.database}"[:64]
    if not connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), {"name": name, "seconds": LOCK_SECONDS}):
        raise Conflict("Another process has been changing the schema for too long.")
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
