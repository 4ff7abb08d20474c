"""The house that tests visit: `house` in this process, `server` as real processes; each on its own database and Redis db.

TEST_DATABASE_URI and TEST_REDIS_URL say where to make them (a server's address); without them it is SQLite and no Redis.
"""

import os
import re
import secrets
import traceback
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, event

import config
import model
from app import create_app
from domain import activity, cache, cards, clock, database, schema, signing
from tests import databases
from tests.mailbox import Mailbox
from tests.serving import Server
from tests.visitor import Visitor, in_process

# Shared servers: what most modules want, and for those in whose way the failure budget would be.
USUAL = {"MAX_SESSIONS_PER_USER": 1000}
ROOMY = {"MAX_SESSIONS_PER_USER": 1000, "FAILED_ATTEMPTS_LIMIT": 1000, "ADMIN_EMAIL": "help@example.com"}
FAST = {
    "APP_ENV": "testing",
    "RATE_LIMIT_ENABLED": False,
    "CORS_ORIGINS": "https://app.example.com",
    "FRONTEND_URL": "https://app.example.com",
    "MAIL_LIMIT": "10 per 50 years; 40 per 60 years",  # The numbers of the default, in windows that end during no test.
}

# What changes a card: of users the columns that it shows, and whatever gives or takes a right.
ACTS = r"(?:UPDATE|DELETE FROM|INSERT INTO) users|(?:INSERT INTO|DELETE FROM) assignments|(?:UPDATE|DELETE FROM) (?:roles|services)"
CHANGE = re.compile(rf"({ACTS})\b(.*?)(?:WHERE|$)", re.DOTALL)
SHOWN = {model.User.__table__.c[column].name if column != "extra" else "metadata" for column in cards.Profile._fields} - {"id"}
HANDS = {"transaction", "changed", "add_if_absent"}  # Of `domain/database.py`, which tests use as well.


def pytest_collection_modifyitems(config, items):
    """Where this run has another database or Redis, what is marked `once` has nothing new to show."""
    if not (os.environ.get("TEST_DATABASE_URI") or os.environ.get("TEST_REDIS_URL")):
        return
    again = [one for one in items if not one.get_closest_marker("once")]
    config.hook.pytest_deselected(items=[one for one in items if one.get_closest_marker("once")])
    items[:] = again


def pytest_terminal_summary(terminalreporter):
    """A test that failed once and then passed is told with what was wrong: it hides something, if only that it is a bad test."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"Tried again: {report.nodeid}", "_")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(autouse=True)
def needs_no_database_of_the_run(request, monkeypatch):
    """What is marked `once` keeps the promise: it fails where it asks for this run's database."""
    if request.node.get_closest_marker("once"):
        assert not {"database_uri", "server"} & set(request.fixturenames)
        monkeypatch.setattr(databases, "fresh", None)


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


@pytest.fixture(autouse=True)
def every_change_is_marked(monkeypatch):
    """No transaction changes what a card shows without saying so (`cards.mark`), whichever test makes it."""
    told, silent, mark = {}, [], cards.mark

    def marking(db, *user_ids, **more):
        told.setdefault(db.connection(), set()).add("mark")
        mark(db, *user_ids, **more)

    def note(connection, cursor, statement, *_):
        found = CHANGE.match(statement) if cursor.rowcount else None
        if found and (found[1] != "UPDATE users" or SHOWN & set(re.findall(r"\w+", found[2]))) and is_of_domain():
            told.setdefault(connection, set()).add(found[1])

    def judge(connection):
        acts = told.pop(connection, set())
        if acts and not acts & {"mark", "INSERT INTO users"}:
            silent.append(acts)

    monkeypatch.setattr(cards, "mark", marking)
    listeners = {"after_cursor_execute": note, "commit": judge, "rollback": lambda connection: told.pop(connection, None)}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    yield
    for name, listener in listeners.items():
        event.remove(Engine, name, listener)
    assert silent == []


@pytest.fixture
def house(settings):
    """An app in this process with an empty database: what a visitor of it can do."""
    if settings["REDIS_URL"]:
        with redis.Redis.from_url(settings["REDIS_URL"]) as client:
            client.flushdb()
    app = opened(settings)
    yield Visitor(in_process(app), Mailbox())
    activity.forget()
    if cache.client is not None:
        cache.client.close()
    database.disconnect()


@pytest.fixture
def cellar(settings):
    """The domain alone on an empty database, without an app above it: what needs no request is tested sooner here."""
    loaded = config.load(**settings)
    database.connect(loaded)
    cache.connect(loaded)
    if cache.client is not None:
        cache.client.flushdb()
    empty()
    yield
    activity.forget()
    if cache.client is not None:
        cache.client.close()
        cache.client = None
    database.disconnect()


@pytest.fixture(scope="module")
def server(request, tmp_path_factory, shared):
    """Real processes with several workers, stopped by their process ids.

    A module that names its `SETTINGS` has a server of its own, to be as rough with as it likes; the others share one, by the
    settings in `SHARED`. In a shared one a test looks only at what is its own: the accounts of others are there too.
    """
    if hasattr(request.module, "SETTINGS"):
        with serving(tmp_path_factory.mktemp("server"), request.module.SETTINGS) as running:
            yield running
    else:
        running = shared(getattr(request.module, "SHARED", USUAL))
        yield running
        running.leave()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The servers that several modules share: by its settings one that runs, or is started for the first who asks."""
    with ExitStack() as until_the_end:
        started = {}

        def joined(settings):
            named = tuple(sorted(settings.items()))
            if named in started:
                started[named].join_in()
            else:
                started[named] = until_the_end.enter_context(serving(tmp_path_factory.mktemp("shared"), settings))
            return started[named]

        yield joined


@contextmanager
def serving(folder, more, *, jobs=False):
    """A server as long as the block runs. Its Redis db is emptied first: a shared server that rests meanwhile must bear that."""
    with databases.fresh(folder) as uri:
        where = {"INSTANCE_DIR": folder / "instance", "UPLOADS_DIR": folder / "uploads", "SQLALCHEMY_DATABASE_URI": uri}
        # Several servers stand at once, and a database has a hundred places: what a server keeps at rest has to be few.
        chosen = {**FAST, **where, "REDIS_URL": redis_url(8), "DATABASE_POOL_SIZE": 2, **more}
        if chosen["REDIS_URL"]:
            with redis.Redis.from_url(chosen["REDIS_URL"]) as client:
                client.flushdb()
        with Server(chosen, jobs=jobs) as running:
            yield running


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


def is_of_domain() -> bool:
    """Whether a function of the domain runs this statement, and not a test by its own hand."""
    domain = str(Path(cards.__file__).parent)
    return any(frame.filename.startswith(domain) and frame.name not in HANDS for frame in traceback.extract_stack())


@pytest.fixture
def still_clock(monkeypatch):
    """Stop the house's clock: after `still_clock()` no time passes, however slow the machine is."""

    def stop():
        now, epoch = clock.now(), clock.epoch()
        monkeypatch.setattr(clock, "now", lambda: now)
        monkeypatch.setattr(clock, "epoch", lambda: epoch)

    return stop


def opened(settings):
    """The app on its database, emptied before it starts: what another house has left there is under other keys."""
    database.connect(config.load(**settings))
    empty()
    database.disconnect()
    return create_app(**settings)


def empty() -> None:
    """Delete every row of this process's database."""
    with database.engine.begin() as connection:
        for table in reversed(model.Base.metadata.sorted_tables):
            connection.execute(table.delete())
    signing.forget()  # What this process has read of them.
