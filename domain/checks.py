"""Try everything that the server needs, once, for `flask check`: nothing is changed and nothing is sent."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import config
from domain import cache, canaries, database, providers, schema
from domain.errors import Refused
from domain.provider_table import Row
from outbound import discovery, siteverify, smtp
from outbound.failures import Failed

Check = tuple[str, Callable[[], str]]


class Finding(NamedTuple):
    """How one part was found, in one line."""

    part: str
    is_good: bool
    words: str


class Bad(Exception):
    """A part that does not do what it should, and why."""


def each() -> Iterator[Finding]:
    """The parts in their order, each as soon as it was tried."""
    checks: list[Check] = [*CHECKS, *((row.name, partial(_provider, row)) for row in providers.rows())]
    for part, check in checks:
        try:
            yield Finding(part, is_good=True, words=check())
        except (Bad, Refused, Failed, discovery.Away) as failure:
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


def _keys() -> str:
    if schema.status().pending:
        return "not compared, the schema is old"
    if found := canaries.faults():
        raise Bad("; ".join(found))
    return "those that this database was written under"


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


def _captcha() -> str:
    settings = config.settings
    if settings.CAPTCHA == "off" or not settings.CAPTCHA_VERIFY_URL:
        return settings.CAPTCHA if settings.CAPTCHA == "off" else f"{settings.CAPTCHA}, a proof of work"
    try:
        siteverify.passes(settings.CAPTCHA_VERIFY_URL, settings.CAPTCHA_SECRET, "no answer", None)
    except siteverify.Away as away:
        raise Bad(f"{settings.CAPTCHA_VERIFY_URL} {away}") from None
    return f"{settings.CAPTCHA}, {settings.CAPTCHA_VERIFY_URL}"


def _addresses() -> str:
    allowed, denied = config.settings.IP_ALLOW, config.settings.IP_DENY
    return f"{f'only {allowed}' if allowed else 'all'}{f', but not {denied}' if denied else ''} are served"


def _provider(row: Row) -> str:
    if not providers.is_configured(row.name):
        return f"not configured, {row.title} sign-in is off"
    return providers.reach(row.name)


CHECKS: tuple[Check, ...] = (
    ("configuration", _configuration),
    ("database", _database),
    ("schema", _schema),
    ("keys", _keys),
    ("mail", _mail),
    ("redis", _redis),
    ("addresses", _addresses),
    ("captcha", _captcha),
)
