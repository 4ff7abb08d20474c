"""Alerts: what looks like an attack, found in the audit trail by a table of rules.

A rule looks at the events of its window, and is about an address or an account. Each finding is raised once in a window: as
an event, a metric, a line in the log and a mail to ADMIN_EMAIL; where ALERTS_END_SESSIONS names the rule it ends the
account's sessions.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm import aliased

import config
from domain import accounts, audit, clock, lifetimes, mail, metrics, secrets, sessions
from domain.actions import ACTIONS
from domain.caller import Client
from domain.database import add_if_absent, changed, reading, transaction
from domain.errors import InvalidCredentials, MfaInvalidCode
from model import Alert, AuditEvent

MOST_FAILURES = 20_000  # The newest of a window; an attack that causes more shows in these.
MOST_FINDINGS = 200  # Of one rule in one run.
WRONG = (InvalidCredentials.code, MfaInvalidCode.code)

logger = logging.getLogger("gatehouse.alerts")


class Finding(NamedTuple):
    """What an alert is about: an account, and perhaps the country of its sign-in, or an address (of IPv6 the /64)."""

    user_id: str | None = None
    ip: str | None = None
    country: str | None = None


class Rule(NamedTuple):
    """`look` finds, in what has happened since a moment, who reached the threshold."""

    name: str
    threshold: int
    window: timedelta
    look: Callable[[Database, datetime, int], Iterator[Finding]]

    @property
    def action(self) -> str:
        """The event that it raises."""
        return f"alert.{self.name}"

    @property
    def sentence(self) -> str:
        """What it says."""
        return ACTIONS[self.action]


def watch(*, dry_run: bool = False) -> int:
    """Raise what the rules find, but what was raised in its window already; how many alerts. A dry run counts without raising."""
    count = 0
    for rule in RULES:
        with reading() as db:
            found = list(islice(rule.look(db, clock.now() - rule.window, rule.threshold), MOST_FINDINGS))
            count += sum(_is_due(db, rule, one) for one in found) if dry_run else 0
        count += 0 if dry_run else sum(_raise(rule, one) for one in found)
    return count


def _many_accounts(db: Database, since: datetime, threshold: int) -> Iterator[Finding]:
    """One address that failed at many accounts, or at addresses without one."""
    accounts_of = defaultdict(set)
    for network, account in _failures(db, since):
        accounts_of[network].add(account)
    return (Finding(ip=network) for network, some in accounts_of.items() if len(some) >= threshold)


def _many_addresses(db: Database, since: datetime, threshold: int) -> Iterator[Finding]:
    """One account at which many addresses failed."""
    networks_of = defaultdict(set)
    for network, account in _failures(db, since, AuditEvent.user_id.is_not(None)):
        networks_of[account].add(network)
    return (Finding(user_id=account) for account, some in networks_of.items() if len(some) >= threshold)


def _failures(db: Database, since: datetime, *more: ColumnElement[bool]) -> Iterator[tuple[str, str]]:
    """From where (of IPv6 the /64) at which account sign-ins failed; the newest first, and no more than MOST_FAILURES."""
    account = func.coalesce(AuditEvent.user_id, AuditEvent.name)
    for action in ("sign_in", "sign_in.second_factor"):
        failed = (AuditEvent.action == action, AuditEvent.at > since, AuditEvent.result.in_(WRONG))
        told = (AuditEvent.ip.is_not(None), account.is_not(None), *more)
        query = select(AuditEvent.ip, account).where(*failed, *told).order_by(AuditEvent.at.desc()).limit(MOST_FAILURES)
        for ip, whom in db.execute(query):
            yield Client(ip).network.removesuffix("/64"), whom


def _new_country(db: Database, since: datetime, _: int) -> Iterator[Finding]:
    """A sign-in from a country that the account was never signed in from before, though from others."""
    before = aliased(AuditEvent)
    earlier = select(before.id).where(before.user_id == AuditEvent.user_id, before.at < AuditEvent.at, *_signed_in(before))
    new = (exists(earlier), ~exists(earlier.where(before.country == AuditEvent.country)))
    recent = select(AuditEvent.user_id, AuditEvent.country).where(*_signed_in(AuditEvent), AuditEvent.at > since, *new)
    for user_id, country in db.execute(recent.distinct().limit(MOST_FINDINGS)):
        yield Finding(user_id=user_id, country=country)


def _signed_in(event: Any) -> tuple[ColumnElement[bool], ...]:
    return event.action == "sign_in", event.result == audit.SUCCESS, event.country.is_not(None)


def _password_changes(db: Database, since: datetime, threshold: int) -> Iterator[Finding]:
    """An account whose password was changed several times."""
    set_anew = (AuditEvent.action.in_(("password.changed", "password.reset")), AuditEvent.at > since, AuditEvent.result == audit.SUCCESS)
    often = select(AuditEvent.user_id).where(*set_anew, AuditEvent.user_id.is_not(None)).group_by(AuditEvent.user_id)
    for user_id in db.scalars(often.having(func.count() >= threshold).limit(MOST_FINDINGS)):
        yield Finding(user_id=user_id)


def _cloned_passkeys(db: Database, since: datetime, _: int) -> Iterator[Finding]:
    """An account one of whose passkeys seems to be there twice."""
    twice = (AuditEvent.action == "passkey.cloned", AuditEvent.at > since, AuditEvent.user_id.is_not(None))
    for user_id in db.scalars(select(AuditEvent.user_id).where(*twice).distinct().limit(MOST_FINDINGS)):
        yield Finding(user_id=user_id)


RULES = (
    Rule("cloned_passkey", 1, timedelta(hours=1), _cloned_passkeys),
    Rule("many_accounts", 10, timedelta(hours=1), _many_accounts),
    Rule("many_addresses", 10, timedelta(hours=1), _many_addresses),
    Rule("new_country", 1, timedelta(hours=1), _new_country),
    Rule("password_changes", 3, timedelta(hours=1), _password_changes),
)


def _raise(rule: Rule, finding: Finding) -> bool:
    """Raise an alert, unless it was raised in this window: one process does, once."""
    with transaction() as db:
        # Whoever acts on an account holds it first.
        user = accounts.hold(db, finding.user_id) if finding.user_id else None
        if not _take(db, rule, finding):
            return False
        ends = rule.name in config.keys(config.settings.ALERTS_END_SESSIONS) and user is not None
        ended = sessions.end_of_user(db, finding.user_id or "") if ends else 0
        client = Client(finding.ip)
        audit.note(db, rule.action, finding.user_id, client, actor=audit.SYSTEM, sessions_ended=ended)
        if config.settings.ADMIN_EMAIL:
            said = {"rule": rule.name, "account": user.email if user else None, "country": finding.country, "ended": ended}
            mail.send(db, "alert", config.settings.ADMIN_EMAIL, said | mail.circumstances(client), about=finding.user_id)
    metrics.alert(rule.name)
    logger.warning("Alert %s: %s", rule.name, rule.sentence, extra={"facts": {"user": finding.user_id, "ip": finding.ip}})
    return True


def _take(db: Database, rule: Rule, finding: Finding) -> bool:
    """Take the alert for its window, by one guarded update."""
    now = clock.now()
    due = update(Alert).where(Alert.key == _key(rule, finding), Alert.raised_at <= now - rule.window).values(raised_at=now)
    if changed(db, due):
        return True
    add_if_absent(db, Alert, key=_key(rule, finding), rule=rule.name, user_id=finding.user_id, raised_at=lifetimes.EVER)
    return changed(db, due) == 1


def _is_due(db: Database, rule: Rule, finding: Finding) -> bool:
    raised = db.scalar(select(Alert.raised_at).where(Alert.key == _key(rule, finding)))
    return raised is None or raised <= clock.now() - rule.window


def _key(rule: Rule, finding: Finding) -> str:
    return secrets.hashed(f"{rule.name} {finding.user_id} {finding.ip} {finding.country}")
