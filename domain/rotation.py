"""Refresh: a session's tokens are traded for the next pair.

The session's generation counter makes refresh tokens one-use: the newest token's successor is the same for everybody who
asks, so a lost answer costs nothing, and an older token ends the session (OAuth 2.0 Security BCP, RFC 9700 4.14.2).
"""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, update

import config
from domain import accounts, audit, clock, lifetimes, metrics, revocation, sessions
from domain.caller import Caller
from domain.database import changed, transaction
from domain.errors import SessionExpired, TokenRevoked
from domain.sessions import Grant
from model import Session, UtcTime

# Built once: building a statement costs more than running it.
_NOW = bindparam("now", type_=UtcTime)
_ROTATE = (
    update(Session)
    .where(Session.id == bindparam("session"), Session.generation == bindparam("from"), Session.ended_at.is_(None), lifetimes.LASTING)
    .values(
        generation=bindparam("to"),
        rotated_at=_NOW,
        last_seen_at=_NOW,
        tokens_expire_at=lifetimes.tokens_end(bindparam("latest", type_=UtcTime)),
    )
)


@metrics.refresh
def refresh(caller: Caller) -> Grant:
    """The next pair for a caller's refresh token: one use, but the last used one gets the same successor again
    until that is used, and for REFRESH_GRACE_SECONDS after. An older one ends the session: `TokenRevoked`.
    """
    session_id, generation = caller.session_id, caller.generation
    with transaction() as db:
        now = clock.now()
        step = {"session": session_id, "from": generation, "to": generation + 1, "latest": now + lifetimes.of_tokens()}
        rotated = changed(db, _ROTATE, step | lifetimes.lasting(now, session_id))
        session, user = sessions.load(db, session_id)
        if user.status != accounts.ACTIVE:
            raise TokenRevoked
        if rotated:
            return Grant(session, user, generation + 1)
        refusal = _refusal(session, generation, now)
        if refusal is None:
            return Grant(session, user, max(generation + 1, session.floor))
        if isinstance(refusal, TokenRevoked) and session.ended_at is None and generation >= session.floor:
            sessions.end_some(db, [session.id])
            audit.note(db, "session.replayed", user.id, caller.client, session_id=session.id, result=refusal.code)
    raise refusal


def _refusal(session: Session, generation: int, now: datetime) -> TokenRevoked | SessionExpired | None:
    """Why a refresh token that is not the newest gets no pair; None if it gets its successor again."""
    if session.end_reason == sessions.REVOKED:
        return TokenRevoked()
    if session.ended_at or lifetimes.is_over(session.id, revocation.state_of(session)):
        return SessionExpired()
    grace = timedelta(seconds=config.settings.REFRESH_GRACE_SECONDS)
    if generation < session.floor:
        replaced = session.stepped_at is not None and generation == session.floor - 1 and now - session.stepped_at <= grace
        return None if replaced else TokenRevoked()
    behind = session.generation - generation
    if behind == 0:
        return SessionExpired()  # It ran out between the update and this look.
    again = behind == 1 or (behind == 2 and now - session.rotated_at <= grace)
    return None if again else TokenRevoked()
