"""How long a session lasts: to its idle end, to its absolute end, and until the last of its tokens is over.

What is known of a session may be a while old: Redis keeps it for minutes, and the newest activity is written in batches.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, and_, bindparam, case, or_

import config
from domain import activity, clock, revocation
from model import Session, UtcTime

EVER = datetime(1970, 1, 1, tzinfo=UTC)


def looks_idle(session_id: str, state: revocation.State) -> bool:
    """Whether the state, which may be a while old, needs to be read anew before it may decide."""
    idle, slack = config.settings.SESSION_IDLE_SECONDS, 2 * config.settings.ACTIVITY_FLUSH_SECONDS
    return bool(idle and clock.epoch() - max(state.last_seen, activity.seen(session_id)) > idle - slack)


def is_over(session_id: str, state: revocation.State) -> bool:
    """Whether a session in this state has run out, idle or absolute."""
    now, idle = clock.epoch(), config.settings.SESSION_IDLE_SECONDS
    idled = bool(idle and now - max(state.last_seen, activity.seen(session_id)) > idle)
    return idled or bool(state.expires and now >= state.expires)


def over() -> ColumnElement[bool]:
    """The rows that have run out, idle or absolute."""
    now = clock.now()
    ended = Session.expires_at <= now
    idle = config.settings.SESSION_IDLE_SECONDS
    return or_(ended, Session.last_seen_at < now - timedelta(seconds=idle)) if idle else ended


# What has to hold of a row that may go on, and the values for it: neither idle nor at its absolute end.
LASTING = and_(
    or_(Session.expires_at.is_(None), Session.expires_at > bindparam("now", type_=UtcTime)),
    Session.last_seen_at >= bindparam("alive_since", type_=UtcTime),
)


def lasting(now: datetime, session_id: str | None = None) -> dict[str, datetime]:
    """The values of `LASTING`. What this process has seen of one session counts, though it may not be written yet."""
    idle = config.settings.SESSION_IDLE_SECONDS
    seen_here = session_id is not None and clock.epoch() - activity.seen(session_id) <= idle
    return {"now": now, "alive_since": now - timedelta(seconds=idle + 1) if idle and not seen_here else EVER}


def of_tokens() -> timedelta:
    """How long the longest-lived token lasts."""
    return timedelta(seconds=max(config.settings.JWT_REFRESH_TOKEN_EXPIRES, config.settings.JWT_ACCESS_TOKEN_EXPIRES))


def tokens_end(latest: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """When the last token of a session is over that would else last until `latest`; none outlives its session."""
    return case((Session.expires_at < latest, Session.expires_at), else_=latest)
