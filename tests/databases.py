"""A fresh, empty database beside the one of the test run (TEST_DATABASE_URI, else SQLite), dropped afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

import config
from domain import database


@contextmanager
def fresh(folder: Path) -> Iterator[str]:
    """The address of a fresh database; SQLite's lies in `folder`."""
    given = os.environ.get("TEST_DATABASE_URI", "")
    if not given or given.startswith("sqlite"):
        yield f"sqlite:///{folder / 'fresh.db'}"
        return
    url = make_url(config._with_driver(given))
    name = f"gatehouse_{uuid4().hex[:16]}"
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        if url.get_backend_name() == "postgresql":  # A test's data need not outlive the power.
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(text(f"DROP DATABASE {name}" + (" WITH (FORCE)" if url.get_backend_name() == "postgresql" else "")))
    server.dispose()


@contextmanager
def connected(folder: Path) -> Iterator[None]:
    """`fresh`, with the settings loaded for it and the domain connected to it. There are no tables yet."""
    with fresh(folder) as uri:
        places = {"INSTANCE_DIR": folder / "instance", "UPLOADS_DIR": folder / "uploads"}
        database.connect(config.load(APP_ENV="testing", SQLALCHEMY_DATABASE_URI=uri, **places))
        try:
            yield
        finally:
            database.disconnect()
