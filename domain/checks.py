"""Try everything that the server needs, once, for `flask check`: nothing is changed and nothing is sent."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import config
from domain import cache, database, schema
from domain.errors import Refused
from outbound import discovery, smtp


class Finding(NamedTuple):
    """How one part was found, in one line."""

    part: str
    is_good: bool
    words: str


class Bad(Exception):
    """A part that does not do what it should, and why."""


def each() -> Iterator[Finding]:
    """The parts in their order, each as soon as it was tried."""
    for part, check in CHECKS:
        try:
            yield Finding(part, is_good=True, words=check())
        except (Bad, Refused, smtp.Failed, discovery.Away) as failure:
            yield Finding(part, is_good=False, words=str(failure))


def _configuration() -> str:
    weak = config.warnings(config.settings)
    return "; ".join([config.settings.APP_ENV, *weak])


def _database() -> str:
    with database.connection() as connection:
        connection.exec_driver_sql("SELECT 1")
        return connection.engine.url.render_as_string()


def _schema() -> str:
    found = schema.status()
    if found.pending:
        raise Bad(f"{found.current or 'nothing'}, {found.newest} is needed: run `flask migrate up`")
    return str(found.current)


def _mail() -> str:
    smtp.check()
    settings = config.settings
    return (
        f"{settings.MAIL_SERVER}:{settings.MAIL_PORT}"
        if settings.MAIL_SERVER
        else f"not configured, files in {settings.INSTANCE_DIR}/outbox"
    )


def _redis() -> str:
    if not cache.is_there():
        raise Bad("configured, and does not answer")
    return "answers" if cache.client else "not configured, limits live in each process"


def _google() -> str:
    if not config.settings.GOOGLE_CLIENT_ID:
        return "not configured, Google sign-in is off"
    return str(discovery.fetch(config.settings.GOOGLE_DISCOVERY_URL)["issuer"])


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("configuration", _configuration),
    ("database", _database),
    ("schema", _schema),
    ("mail", _mail),
    ("redis", _redis),
    ("google", _google),
)
