"""The audit trail: who did what to whom, when, from where, with which result; written in the act's own transaction.

What tells a person (address, user agent, name) is kept beside what will be sealed: there only its salted hash stands, so
that a person can be erased from the trail without breaking it. `domain/actions.py` lists the actions.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session as Database

from domain import clock, places
from domain.budgets import Try
from domain.caller import Caller, Client
from domain.database import add_if_absent, changed, new_id, reading, transaction
from domain.errors import AccountDisabled, EmailNotConfirmed, InvalidCredentials, MfaInvalidCode, PasswordExpired, SignUpClosed
from model import AuditEvent

SUCCESS = "success"
OPERATOR, SYSTEM = "operator", "system"  # Actors that are no users: the command line, and a job.
PERSONAL = ("ip", "country", "user_agent", "name")
NOWHERE = Client()
FAILURES = (InvalidCredentials, MfaInvalidCode, AccountDisabled, EmailNotConfirmed, PasswordExpired, SignUpClosed)

_INSERT = insert(AuditEvent)


def note(
    db: Database,
    action: str,
    user_id: str | None,
    client: Client = NOWHERE,
    *,
    actor: str | None = None,
    result: str = SUCCESS,
    name: str | None = None,
    session_id: str | None = None,
    once: str | None = None,
    **facts: Any,
) -> None:
    """Write one event into the act's transaction.

    `user_id` is whom it concerns, `actor` who did it: a user's id, `OPERATOR`, `SYSTEM`, or None for who has not proven to be
    anybody. `name` is an address or username as it was typed; `facts` hold nothing personal. Of events with one id `once`,
    the first is written, and no other.
    """
    if user_id is None and name and "@" not in name:
        name = None  # A username that nobody has may be a password that was typed into the wrong field.
    personal = {"ip": client.ip, "country": places.country(client.ip), "user_agent": client.user_agent, "name": name}
    salt = secrets.token_hex(16)
    row = {
        "id": once or new_id(),
        "at": clock.now(),
        "action": action,
        "result": result,
        "actor": actor,
        "user_id": user_id,
        "session_id": session_id,
        "facts": facts,
        "salt": salt,
        "personal_hash": personal_hash(salt, personal),
        **personal,
    }
    if once:
        add_if_absent(db, AuditEvent, **row)
    else:
        db.connection().execute(_INSERT, row)


def of(db: Database, action: str, caller: Caller, **more: Any) -> None:
    """The same for what a user does to their own account."""
    by(db, action, caller, caller.user_id, **more)


def by(db: Database, action: str, caller: Caller | None, user_id: str | None = None, **more: Any) -> None:
    """The same for what an administrator, a key or a service does to another's account, or to none; None is the operator."""
    if caller is None:
        return note(db, action, user_id, actor=OPERATOR, **more)
    known = {"credential_id": caller.credential_id} if caller.credential_id else {}
    return note(db, action, user_id, caller.client, actor=caller.actor, session_id=caller.session_id or None, **known, **more)


@contextmanager
def failures(action: str, user_id: str | None, client: Client, *, tried: Try | None = None, **more: Any) -> Iterator[None]:
    """Around a check of a secret: a failure of it is an event, in a transaction of its own, for the act changed nothing.

    If `tried` was the last try before a pause, the pause is an event too: one for all the tries that are refused in it.
    """
    try:
        yield
    except FAILURES as refusal:
        with transaction() as db:
            note(db, action, user_id, client, result=refusal.code, **more)
            if tried and tried.is_last:
                _lockout(db, user_id, client, tried, **more)
        raise


def note_alone(action: str, user_id: str | None, client: Client = NOWHERE, **more: Any) -> None:
    """The same as `note` in a transaction of its own: for what has none, or is no part of one."""
    with transaction() as db:
        note(db, action, user_id, client, **more)


def note_once(name: str, action: str, user_id: str | None, client: Client = NOWHERE, **more: Any) -> None:
    """The same, one event for all that happens under this name: for what somebody can bring about again and again."""
    event_id = hashlib.sha256(name.encode()).hexdigest()[:32]
    with reading() as db:
        if db.scalar(select(AuditEvent.id).where(AuditEvent.id == event_id)):
            return  # Nobody has to wait for the next act of the database's.
    note_alone(action, user_id, client, once=event_id, **more)


def forget(db: Database, user_id: str, *names: str) -> int:
    """Take what tells this person out of the trail: out of what they did, and what strangers, jobs and the operator did about
    them; and out of rows about nobody that hold one of their `names` (addresses). From where an administrator acted on the
    account stays: that is the administrator's. The chain stays whole. How many rows.
    """
    nothing = dict.fromkeys((*PERSONAL, "salt"))
    return changed(db, update(AuditEvent).where(_tells(user_id, names), AuditEvent.salt.is_not(None)).values(nothing))


def told(db: Database, user_id: str, *names: str) -> int:
    """How many rows of the trail still tell something of this person that `forget` takes out."""
    something = or_(*(getattr(AuditEvent, column).is_not(None) for column in PERSONAL))
    return db.scalar(select(func.count()).select_from(AuditEvent).where(_tells(user_id, names), something)) or 0


def personal_hash(salt: str, personal: dict[str, str | None]) -> str:
    """SHA-256 over the salt and what tells a person, in hex."""
    told = json.dumps([salt, *(personal[key] for key in PERSONAL)], ensure_ascii=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _tells(user_id: str, names: Sequence[str]) -> ColumnElement[bool]:
    by_no_other = or_(AuditEvent.actor.is_(None), AuditEvent.actor.in_((SYSTEM, OPERATOR)))
    about = and_(AuditEvent.user_id == user_id, or_(by_no_other, AuditEvent.name.is_not(None)))
    alone = and_(AuditEvent.user_id.is_(None), AuditEvent.name.in_(names))
    return or_(AuditEvent.actor == user_id, about, alone)


def _lockout(db: Database, user_id: str | None, client: Client, tried: Try, *, name: str | None = None, **_: Any) -> None:
    note(db, "account.locked", user_id, client, name=name, secret=tried.kind, pause_seconds=tried.pause_seconds)
