"""The way to the database: `with transaction() as db` for an act, `with reading() as db` for a look.

An act is one transaction, opened by the public function that promises it; helpers take `db` and never commit. On SQLite
a transaction takes the only write lock at once (BEGIN IMMEDIATE), so do slow work, such as hashing, before it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event, inspect
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from config import Settings
from domain.errors import Unavailable
from model import Base

REST_SECONDS = 1.0  # A connection that was used later than this ago is taken to be alive.

engine: Engine
_readers: Engine


def connect(settings: Settings) -> None:
    """Make the engine of this process. Nothing is opened before it is needed, so workers may fork afterwards."""
    global engine, _readers
    uri = settings.SQLALCHEMY_DATABASE_URI
    # An error must not tell a log what its statement was given.
    options: dict[str, Any] = {"pool_size": settings.DATABASE_POOL_SIZE, "pool_timeout": 10, "hide_parameters": True}
    if uri.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": 5, "options": "-c statement_timeout=15000 -c lock_timeout=10000 -c timezone=UTC"}
    elif uri.startswith("sqlite"):
        options["connect_args"] = {"check_same_thread": False, "timeout": 10}
    else:
        options["connect_args"] = {"connect_timeout": 5, "charset": "utf8mb4"}
    if uri.startswith("sqlite"):
        engine = create_engine(uri, **options)
        _make_private(engine.url.database)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        _readers = engine.execution_options(isolation_level="AUTOCOMMIT")
        return
    # Connections rest in the mode of the many looks, and change to the other for the few acts: a change costs time.
    _readers = create_engine(uri, isolation_level="AUTOCOMMIT", **options)
    event.listen(_readers, "checkout", _ping)
    event.listen(_readers, "checkin", _remember)
    engine = _readers.execution_options(isolation_level="READ COMMITTED")


def _make_private(path: str | None) -> None:
    """A new database file is its owner's alone, and so are the files that SQLite puts beside it."""
    if path and path != ":memory:":
        with suppress(FileExistsError, FileNotFoundError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def _part_from_parent() -> None:
    """A forked worker makes connections of its own: two processes on one would read each other's answers."""
    if "engine" in globals():
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_part_from_parent)


def disconnect() -> None:
    """Close the connections of this process."""
    engine.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """One act: all of it is committed, or none. Rows stay readable afterwards. `Unavailable` if the database is away."""
    with _answering(), Session(engine, expire_on_commit=False) as db:
        try:
            with db.begin():
                yield db
        finally:
            for act in db.info.pop("afterwards", ()):
                act()


def afterwards(db: Session, act: Callable[[], None]) -> None:
    """Do this when the transaction has ended, committed or not. It must not raise."""
    db.info.setdefault("afterwards", []).append(act)


@contextmanager
def reading() -> Iterator[Session]:
    """A look without a transaction: each statement sees what is committed. `Unavailable` if the database is away."""
    with _answering(), Session(_readers, expire_on_commit=False, autoflush=False) as db:
        yield db


@contextmanager
def connection() -> Iterator[Connection]:
    """The same as `reading`, for the few statements that run on every request."""
    with _answering(), _readers.connect() as bare:
        yield bare


def changed(db: Session, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
    """Run an update or delete; how many rows it matched. The way to take what may be taken once."""
    db.flush()
    result = db.connection().execute(statement, values)
    assert isinstance(result, CursorResult)
    return result.rowcount


def add_if_absent(db: Session, table: type[Base], **values: Any) -> None:
    """Insert a row unless its key is there already; the transaction goes on either way.

    In the database's own words: a duplicate that is caught leaves a shared lock in MariaDB, and two of those a deadlock.
    """
    db.flush()
    db.connection().execute(_insert_if_absent(table, db.get_bind().dialect.name), values)


@cache
def _insert_if_absent(table: type[Base], dialect: str) -> Executable:
    """Built once: building a statement costs more than running it."""
    if dialect in ("mysql", "mariadb"):
        same = {column.name: column for column in inspect(table).primary_key}
        return mysql.insert(table).on_duplicate_key_update(same)
    own: Any = postgresql if dialect == "postgresql" else sqlite
    statement: Executable = own.insert(table).on_conflict_do_nothing()
    return statement


def new_id() -> str:
    """A fresh opaque id."""
    return uuid4().hex


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Unavailable(retry_after=2) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(retry_after=2) from error
        raise


def _ping(connection: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection that has rested whether it is still there, and have it replaced if not; a busy one is not asked,
    for the question costs as much as a look-up.
    """
    if time.monotonic() - record.info.get("rested_since", 0.0) < REST_SECONDS:
        return
    try:
        alive = engine.dialect.do_ping(connection)
    except Exception as error:
        raise DisconnectionError from error
    if not alive:
        raise DisconnectionError


def _remember(_connection: Any, record: Any) -> None:
    record.info["rested_since"] = time.monotonic()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event speaks BEGIN itself.
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=10000", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
