"""A user's own sessions, as they see and end them. What has ended, or has run out, is not there any more."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from domain import accounts, activity, agents, audit, clock, lifetimes, sessions
from domain.caller import Caller
from domain.database import reading, transaction
from domain.errors import NotFound
from model import Session

_RUNNING = select(Session).where(Session.user_id == bindparam("user"), Session.ended_at.is_(None), lifetimes.LASTING)
_NEWEST_FIRST = _RUNNING.order_by(Session.created_at.desc(), Session.id)


class Running(NamedTuple):
    """A session that goes on."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime | None
    ip: str | None
    country: str | None
    user_agent: str | None
    device: str
    current: bool


class Stats(NamedTuple):
    """How many sessions go on, on which devices, and how many began within the last day, those that have ended among them."""

    active: int
    by_device: dict[str, int]
    created_last_24h: int


def running(caller: Caller) -> list[Running]:
    """The caller's sessions, newest first."""
    with reading() as db:
        found = db.scalars(_NEWEST_FIRST, _mine(caller)).all()
    return [_shown(one, caller) for one in found]


def stats(caller: Caller) -> Stats:
    """How the caller's sessions are spread."""
    found = running(caller)
    by_device = Counter(one.device for one in found)
    lately = (Session.user_id == caller.user_id, Session.created_at > clock.now() - timedelta(days=1))
    with reading() as db:
        began = db.scalar(select(func.count()).select_from(Session).where(*lately)) or 0
    return Stats(len(found), dict(by_device.most_common()), began)


def end(caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions, the present one if they like; `NotFound`. `Unavailable` as in `sessions.end`."""
    with transaction() as db:
        accounts.hold_caller(db, caller)
        mine = db.scalar(_RUNNING.where(Session.id == session_id), _mine(caller))
        if mine is None or not sessions.end_some(db, [mine.id]):
            raise NotFound
        audit.of(db, "session.ended", caller, ended=mine.id)


def end_others(caller: Caller) -> int:
    """End every session of the caller but the present one; how many. `Unavailable` as in `sessions.end`.

    What has run out by this clock ends as well, uncounted: by the clock of another host it may go on.
    """
    with transaction() as db:
        accounts.hold_caller(db, caller)
        others = [one.id for one in db.scalars(_RUNNING, _mine(caller)) if one.id != caller.session_id]
        ended = sessions.end_some(db, others)
        sessions.end_of_user(db, caller.user_id, but=caller.session_id, reason=sessions.EXPIRED)
        audit.of(db, "sessions.ended", caller, number=ended)
        return ended


def _mine(caller: Caller) -> dict[str, object]:
    return {"user": caller.user_id, **lifetimes.lasting(clock.now())}


def _shown(session: Session, caller: Caller) -> Running:
    return Running(
        id=session.id,
        created_at=session.created_at,
        last_seen_at=max(session.last_seen_at, datetime.fromtimestamp(activity.seen(session.id), UTC)),
        expires_at=session.expires_at,
        ip=session.ip,
        country=session.country,
        user_agent=session.user_agent,
        device=session.device_name or agents.words(session.user_agent),
        current=session.id == caller.session_id,
    )
