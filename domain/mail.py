"""Mail is written into the outbox, inside the act's own transaction; `outbox.deliver` takes it from there.

A withheld mail costs the same work and never leaves: what a stranger can measure must not tell whether an address has
an account, nor whether its mailbox has had enough for today (CVE-2024-45231).
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

import config
from domain import caps, clock, secrets
from domain.caller import Client
from domain.database import changed, new_id, reading, transaction
from model import Mail

MAIL, SMS = "mail", "sms"  # Channels.
OVER = ("sent", "withheld", "dead")
# What is of no use once its code or link is over, and how long that works, by the setting's name. All else may leave late.
LASTING = {
    "code": "OTP_SECONDS",
    "code_sms": "OTP_SECONDS",
    "confirmation": "CONFIRMATION_SECONDS",
    "email_confirm": "CONFIRMATION_SECONDS",
    "invitation": "CONFIRMATION_SECONDS",
    "new_password": "RESET_SECONDS",
    "reset": "RESET_SECONDS",
    "reset_by_admin": "RESET_SECONDS",
}


class Terms(TypedDict, total=False):
    """How a mail is sent, where it is not simply sent at once."""

    about: str | None  # The attempt whose end withdraws it, or the account that it tells of to somebody else.
    withheld: bool  # Do the same work for a mail that never leaves.
    not_before_seconds: int  # Let it wait, so that it may still be withdrawn.
    locale: str | None  # The language that it is written in; DEFAULT_LOCALE if it is not said.
    channel: str  # MAIL if it is not said; of SMS `to` is a telephone number.
    by_owner: bool  # Who caused it has given a first factor: counted apart, so that no stranger uses up the owner's mails.


def send(db: Session, template: str, to: str, values: Mapping[str, Any], **terms: Unpack[Terms]) -> None:
    """Put a mail into the outbox; it leaves once the act is committed. `values` are what `letters.render` will show."""
    now = clock.now()
    state = "withheld" if terms.get("withheld") else "queued"
    row = Mail(id=new_id(), state=state, template=template, to=to, about=terms.get("about"), locale=terms.get("locale"), tries=0)
    row.values_encrypted = secrets.encrypt(json.dumps(dict(values), default=_plain))
    row.created_at, row.next_try_at = now, now + timedelta(seconds=terms.get("not_before_seconds", 0))
    row.channel = terms.get("channel", MAIL)
    row.expires_at = now + timedelta(seconds=getattr(config.settings, LASTING[template])) if template in LASTING else None
    db.add(row)
    db.flush()


def hold(db: Session, to: str) -> None:
    """Hold an address's mail counts: acts that begin with this go one by one, whether or not there is anything else to hold."""
    caps.hold(db, _counted(to), config.settings.MAIL_LIMIT)


def send_capped(db: Session, template: str, to: str, values: Mapping[str, Any], **terms: Unpack[Terms]) -> None:
    """The same for a mail that a stranger can cause: over MAIL_LIMIT for this address it is silently withheld."""
    within = spend(db, to, **terms)
    terms["withheld"] = terms.get("withheld", False) or not within
    send(db, template, to, values, **terms)


def spend(db: Session, to: str, **terms: Unpack[Terms]) -> bool:
    """Count a mail that a stranger can cause; False if it is over MAIL_LIMIT for this address.

    A withheld mail is counted apart, with the same statements, so that it takes nothing from the real ones.
    """
    name = f"withheld {to}" if terms.get("withheld") else f"owner {to}" if terms.get("by_owner") else to
    return caps.take(db, _counted(name), config.settings.MAIL_LIMIT) is None


def withdraw(db: Session, about: str) -> int:
    """Take the mails about an attempt out of the outbox again, unless one is on its way; how many, for `give_back`."""
    unsent = and_(Mail.state == "queued", or_(Mail.claimed_until.is_(None), Mail.claimed_until < clock.now()))
    return changed(db, delete(Mail).where(Mail.about == about, unsent))


def give_back(db: Session, to: str, mails: int) -> None:
    """So many mails to an address were withdrawn, and count as never sent. The same statements for none as for many."""
    caps.give_back(db, _counted(to), config.settings.MAIL_LIMIT, mails)


def link(path: str) -> str:
    """The address of a page as mails name it. It never depends on the request, whose Host anybody may choose."""
    base = config.settings.FRONTEND_URL if config.settings.MAIL_LINKS == "frontend" else config.settings.BASE_URL
    return base + path


def circumstances(client: Client) -> dict[str, str | None]:
    """When and from where something was asked for, as mails tell it."""
    return {"at": clock.now().isoformat(), "ip": client.ip, "user_agent": client.user_agent}


def code_values(code: str, purpose: str) -> dict[str, str]:
    """What a mail with a code says; `purpose` is one of the words in `domain/words/`."""
    return {"code": code, "minutes": str(config.settings.OTP_SECONDS // 60), "purpose": purpose}


def waiting(channel: str = MAIL) -> int:
    """How many mails, or text messages, are in the outbox and still to be sent."""
    with reading() as db:
        return db.scalar(select(func.count()).select_from(Mail).where(Mail.state == "queued", Mail.channel == channel)) or 0


def purge(before: datetime, *, dry_run: bool = False) -> int:
    """Delete what was sent, withheld or given up before that moment, and counts of past windows; how many rows."""
    over = and_(Mail.state.in_(OVER), Mail.next_try_at < before)
    with transaction() as db:
        counts = caps.purge(db, dry_run=dry_run)
        if dry_run:
            return counts + (db.scalar(select(func.count()).select_from(Mail).where(over)) or 0)
        return counts + changed(db, delete(Mail).where(over))


def _counted(name: str) -> str:
    return f"mails to {name}"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
