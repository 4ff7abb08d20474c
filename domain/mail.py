"""Mail is written into the outbox, inside the act's own transaction; `outbox.deliver` takes it from there.

A withheld mail costs the same work and never leaves: what a stranger can measure must not tell whether an address has
an account, nor whether its mailbox has had enough for today (CVE-2024-45231).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypedDict, Unpack

from limits import parse_many
from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

import config
from domain import clock, secrets
from domain.caller import Client
from domain.database import add_if_absent, changed, new_id, reading, transaction
from model import Mail, MailCount

OVER = ("sent", "withheld", "dead")


class Terms(TypedDict, total=False):
    """How a mail is sent, where it is not simply sent at once."""

    about: str | None  # The attempt whose end withdraws it.
    withheld: bool  # Do the same work for a mail that never leaves.
    not_before_seconds: int  # Let it wait, so that it may still be withdrawn.
    by_owner: bool  # Who caused it has given a first factor: counted apart, so that no stranger uses up the owner's mails.


def send(db: Session, template: str, to: str, values: Mapping[str, Any], **terms: Unpack[Terms]) -> None:
    """Put a mail into the outbox; it leaves once the act is committed. `values` are what `letters.render` will show."""
    now = clock.now()
    state = "withheld" if terms.get("withheld") else "queued"
    row = Mail(id=new_id(), state=state, template=template, to=to, about=terms.get("about"), tries=0)
    row.values_encrypted = secrets.encrypt(json.dumps(dict(values), default=_plain))
    row.created_at, row.next_try_at = now, now + timedelta(seconds=terms.get("not_before_seconds", 0))
    db.add(row)
    db.flush()


def send_capped(db: Session, template: str, to: str, values: Mapping[str, Any], **terms: Unpack[Terms]) -> bool:
    """The same for a mail that a stranger can cause: over MAIL_LIMIT for this address it is silently withheld. Whether it
    was within the limit.

    A withheld mail is counted apart, with the same statements, so that it takes nothing from the real ones.
    """
    withheld = terms.get("withheld", False)
    within = _spend(db, f"withheld {to}" if withheld else f"owner {to}" if terms.get("by_owner") else to)
    terms["withheld"] = withheld or not within
    send(db, template, to, values, **terms)
    return within


def withdraw(db: Session, about: str) -> int:
    """Take the mails about an attempt out of the outbox again, unless one is on its way; how many. They count as never sent."""
    unsent = and_(Mail.state == "queued", or_(Mail.claimed_until.is_(None), Mail.claimed_until < clock.now()))
    gone = 0
    for letter_id, to in db.execute(select(Mail.id, Mail.to).where(Mail.about == about, unsent)).all():
        if changed(db, delete(Mail).where(Mail.id == letter_id, unsent)):
            _give_back(db, to)
            gone += 1
    return gone


def link(path: str) -> str:
    """The address of a page as mails name it. It never depends on the request, whose Host anybody may choose."""
    base = config.settings.FRONTEND_URL if config.settings.MAIL_LINKS == "frontend" else config.settings.BASE_URL
    return base + path


def circumstances(client: Client) -> dict[str, str | None]:
    """When and from where something was asked for, as mails tell it."""
    return {"at": clock.now().isoformat(), "ip": client.ip, "user_agent": client.user_agent}


def code_values(code: str, purpose: str) -> dict[str, str]:
    """What a mail with a code says; `purpose` is one of `tickets`' purposes."""
    return {"code": code, "minutes": str(config.settings.OTP_SECONDS // 60), "purpose": purpose}


def waiting() -> int:
    """How many mails are in the outbox and still to be sent."""
    with reading() as db:
        return db.scalar(select(func.count()).select_from(Mail).where(Mail.state == "queued")) or 0


def purge(before: datetime, *, dry_run: bool = False) -> int:
    """Delete what was sent, withheld or given up before that moment, and counts of past windows; how many rows."""
    tables = (
        (Mail, and_(Mail.state.in_(OVER), Mail.next_try_at < before)),
        (MailCount, MailCount.expires_at < clock.now()),
    )
    with transaction() as db:
        if dry_run:
            return sum(db.scalar(select(func.count()).select_from(table).where(over)) or 0 for table, over in tables)
        return sum(changed(db, delete(table).where(over)) for table, over in tables)


class _Window(NamedTuple):
    """One fixed window of one limit of MAIL_LIMIT for one address."""

    key: str
    amount: int
    ends_at: datetime


def _windows(name: str) -> Iterator[_Window]:
    """The windows of an address at this moment, the shortest first."""
    for limit in sorted(parse_many(config.settings.MAIL_LIMIT), key=lambda limit: limit.get_expiry()):
        seconds = limit.get_expiry()
        number = clock.epoch() // seconds
        key = secrets.hashed(f"mails to {name}, {limit.amount} per {seconds} s, {number}")
        yield _Window(key, limit.amount, datetime.fromtimestamp((number + 1) * seconds, UTC))


def _spend(db: Session, name: str) -> bool:
    """Count one mail in every window; False where one of them is full. A full short window spares the longer ones."""
    return all(_count(db, window) for window in _windows(name))


def _count(db: Session, window: _Window) -> bool:
    """One guarded update of a row that is made if need be: the same statements for the first mail of a window as for the
    next, or the time would tell which addresses have had mail lately.
    """
    add_if_absent(db, MailCount, key=window.key, count=0, expires_at=window.ends_at)
    more = update(MailCount).where(MailCount.key == window.key, MailCount.count < window.amount)
    return changed(db, more.values(count=MailCount.count + 1)) == 1


def _give_back(db: Session, to: str) -> None:
    for window in _windows(to):
        changed(db, update(MailCount).where(MailCount.key == window.key, MailCount.count > 0).values(count=MailCount.count - 1))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
