"""The house that tests visit: `house` in this process, `server` as real processes; each on its own database and Redis db.

TEST_DATABASE_URI and TEST_REDIS_URL say where to make them (a server's address); without them it is SQLite and no Redis.
"""

import os
import secrets
from datetime import timedelta

import pytest
import redis

import config
import model
from app import create_app
from domain import activity, cache, clock, database, schema
from tests import databases
from tests.mailbox import Mailbox
from tests.serving import Server
from tests.visitor import Visitor, in_process

FAST = {
    "APP_ENV": "testing",
    "RATE_LIMIT_ENABLED": False,
    "CORS_ORIGINS": "https://app.example.com",
    "FRONTEND_URL": "https://app.example.com",
}


def worker_number() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def redis_url(offset: int) -> str:
    """A Redis db for this test worker: 0 to 7 for houses, 8 to 15 for servers."""
    given = os.environ.get("TEST_REDIS_URL", "")
    return f"{given.rstrip('/')}/{offset + worker_number() % 8}" if given else ""


@pytest.fixture(scope="session")
def database_uri(tmp_path_factory):
    """This worker's database, with all tables, made once."""
    with databases.fresh(tmp_path_factory.mktemp("database")) as uri:
        config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path_factory.mktemp("instance"), SQLALCHEMY_DATABASE_URI=uri)
        database.connect(config.settings)
        schema.upgrade()
        database.disconnect()
        yield uri


@pytest.fixture
def settings(request, tmp_path, database_uri):
    """The settings of this test's house; `@pytest.mark.settings(NAME=value)` changes some."""
    marked = {}
    for mark in reversed(list(request.node.iter_markers("settings"))):
        marked.update(mark.kwargs)
    places = {"INSTANCE_DIR": tmp_path / "instance", "UPLOADS_DIR": tmp_path / "uploads"}
    return {**FAST, **places, "SQLALCHEMY_DATABASE_URI": database_uri, "REDIS_URL": redis_url(0), **marked}


@pytest.fixture
def house(settings):
    """An app in this process with an empty database: what a visitor of it can do."""
    if settings["REDIS_URL"]:
        with redis.Redis.from_url(settings["REDIS_URL"]) as client:
            client.flushdb()
    app = create_app(**settings)
    empty()
    yield Visitor(in_process(app), Mailbox())
    activity.forget()
    if cache.client is not None:
        cache.client.close()
    database.disconnect()


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """Real processes with several workers; the module may name settings as `SETTINGS`. Stopped by their process ids."""
    folder = tmp_path_factory.mktemp("server")
    more = getattr(request.module, "SETTINGS", {})
    with databases.fresh(folder) as uri:
        where = {"INSTANCE_DIR": folder / "instance", "UPLOADS_DIR": folder / "uploads", "SQLALCHEMY_DATABASE_URI": uri}
        chosen = {**FAST, **where, "REDIS_URL": redis_url(8), **more}
        if chosen["REDIS_URL"]:
            with redis.Redis.from_url(chosen["REDIS_URL"]) as client:
                client.flushdb()
        with Server(chosen) as running:
            yield running
        activity.forget()
        database.disconnect()


@pytest.fixture
def email():
    """An address that no other test uses."""
    return f"user-{secrets.token_hex(6)}@example.com"


@pytest.fixture
def moved_clock(monkeypatch):
    """Move the house's clock: `moved_clock(60)` makes it a minute later than it is. The clock is the one place for time."""
    real_now, real_epoch = clock.now, clock.epoch

    def move(seconds):
        monkeypatch.setattr(clock, "now", lambda: real_now() + timedelta(seconds=seconds))
        monkeypatch.setattr(clock, "epoch", lambda: real_epoch() + seconds)

    return move


def empty() -> None:
    """Delete every row of this process's database."""
    with database.engine.begin() as connection:
        for table in reversed(model.Base.metadata.sorted_tables):
            connection.execute(table.delete())
