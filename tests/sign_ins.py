"""Sessions made by the domain itself, without a password or a request; and their rows."""

from typing import Any

from sqlalchemy import select

from domain import devices, sessions
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.sessions import Grant
from model import AuditEvent, Session, User

HERE = Client("192.0.2.7", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", None)


def opened(user_id: str, *amr: str, client: Client = HERE, **more: Any) -> Grant:
    """A new session of an account."""
    device = devices.recognise(client, user_id)
    with transaction() as db:
        return sessions.open(db, db.get(User, user_id), amr or ["pwd"], client, device, **more)


def caller(grant: Grant, generation: int | None = None) -> Caller:
    """Who comes with a token of this grant."""
    session = grant.session
    at, words = int(session.authenticated_at.timestamp()), tuple(session.amr.split())
    return Caller(grant.user.id, session.id, grant.generation if generation is None else generation, at, words, HERE)


def row(grant: Grant) -> Session:
    """The session as it is now."""
    with reading() as db:
        return db.get(Session, grant.session.id)


def put(grant: Grant, **columns: Any) -> None:
    """Write into a session's row."""
    with transaction() as db:
        found = db.get(Session, grant.session.id)
        for name, value in columns.items():
            setattr(found, name, value)


def told(action: str) -> list[AuditEvent]:
    """The events of an action, oldest first."""
    with reading() as db:
        return list(db.scalars(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.at)))
