"""Sessions: opened by a sign-in, asked on every request, rotated by refresh, renewed by step-up, ended once for all.

Every token pair belongs to a session row. Its generation counter makes refresh tokens one-use: the newest token's
successor is the same for everybody who asks, so a lost answer costs nothing, and an older token ends the session
(OAuth 2.0 Security BCP, RFC 9700 4.14.2). Who ends a session tells Redis before the database commits (`revocation`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, func, literal, select, update
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm.attributes import set_committed_value

import config
from domain import activity, clock, devices, lifetimes, metrics, revocation
from domain.caller import Caller, Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import SessionExpired, TokenRevoked
from model import Device, Session, User, UtcTime

REVOKED, EXPIRED = "revoked", "expired"

# Built once: building a statement costs more than running it.
_NOW = bindparam("now", type_=UtcTime)
_SIGNED_IN = update(User).where(User.id == bindparam("user")).values(last_login_at=_NOW)
_LIVE = (
    select(Session.id)
    .where(Session.user_id == bindparam("user"), Session.ended_at.is_(None))
    .order_by(Session.created_at.desc(), Session.id)
)
_WITH_USER = select(Session, User).join(User, User.id == Session.user_id).where(Session.id == bindparam("session"))
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


class Grant(NamedTuple):
    """What tokens are made from: the session, its user, the generation of the pair, and the device's token."""

    session: Session
    user: User
    generation: int
    device_token: str | None = None


def open(db: Database, user: User, amr: Sequence[str], client: Client, device: Device | None, *, trust: bool = False) -> Grant:
    """A new session for a user who has passed every stage. Over MAX_SESSIONS_PER_USER the oldest goes."""
    now = clock.now()
    # This update comes first: it holds the user's row, so that sign-ins of one user count their sessions one by one.
    changed(db, _SIGNED_IN, {"user": user.id, "now": now})
    set_committed_value(user, "last_login_at", now)
    device_id, device_token = devices.remember(db, user.id, client, device)
    if trust:
        devices.trust(db, device_id)
    lasting = config.settings.SESSION_MAX_SECONDS
    session = Session(
        id=new_id(),
        user_id=user.id,
        device_id=device_id,
        amr=" ".join(amr),
        ip=client.ip,
        user_agent=client.user_agent,
        generation=1,
        floor=0,
        created_at=now,
        authenticated_at=now,
        rotated_at=now,
        last_seen_at=now,
        expires_at=now + timedelta(seconds=lasting) if lasting else None,
        tokens_expire_at=now + lifetimes.of_tokens(),
    )
    db.add(session)
    db.flush()
    surplus = _live(db, user.id)[config.settings.MAX_SESSIONS_PER_USER :]
    if surplus:
        _end(db, surplus)
    return Grant(session, user, 1, device_token)


def check(session_id: str, generation: int, state: revocation.State | None, *, note: bool = True) -> None:
    """Refuse a token whose session is over: `TokenRevoked` or `SessionExpired`. A use is activity, unless `note` is off."""
    if state is not None and lifetimes.looks_idle(session_id, state):
        state = revocation.read(session_id)
    if state is None or state.ended == REVOKED or generation < state.floor:
        raise TokenRevoked
    if state.ended or lifetimes.is_over(session_id, state):
        raise SessionExpired
    if note:
        activity.note(session_id, state.last_seen)


@metrics.refresh
def refresh(session_id: str, generation: int) -> Grant:
    """The next pair for a refresh token of `generation`: one use, but the last used one gets the same successor again
    until that is used, and for REFRESH_GRACE_SECONDS after. An older one ends the session: `TokenRevoked`.
    """
    with transaction() as db:
        now = clock.now()
        step = {"session": session_id, "from": generation, "to": generation + 1, "latest": now + lifetimes.of_tokens()}
        if changed(db, _ROTATE, step | lifetimes.lasting(session_id, now)):
            session, user = _load(db, session_id)
            return Grant(session, user, generation + 1)
        session, user = _load(db, session_id)
        refusal = _refusal(session, generation, now)
        if refusal is None:
            return Grant(session, user, max(generation + 1, session.floor))
        if isinstance(refusal, TokenRevoked) and session.ended_at is None and generation >= session.floor:
            _end(db, [session.id])
    raise refusal


def step_up(caller: Caller, amr: Sequence[str]) -> Grant:
    """The caller has proven themselves again: the same session, a new auth_time and pair; the old pair stops."""
    with transaction() as db:
        now = clock.now()
        step = (
            update(Session)
            .where(Session.id == caller.session_id, Session.ended_at.is_(None))
            # MariaDB and MySQL assign in this order and read what was just assigned: the floor comes first.
            .ordered_values(
                (Session.floor, Session.generation + 1),
                (Session.generation, Session.generation + 1),
                (Session.authenticated_at, now),
                (Session.stepped_at, now),
                (Session.rotated_at, now),
                (Session.last_seen_at, now),
                (Session.tokens_expire_at, lifetimes.tokens_end(literal(now + lifetimes.of_tokens(), UtcTime()))),
                (Session.amr, " ".join(amr)),
            )
        )
        if not changed(db, step):
            raise TokenRevoked
        session, user = _load(db, caller.session_id)
        revocation.mark([session.id])
    return Grant(session, user, session.generation)


def end(session_id: str) -> None:
    """End one session; again is fine. `Unavailable` if the end can't be made known to every worker: then nothing ended."""
    with transaction() as db:
        _end(db, [session_id])


def end_of_user(db: Database, user_id: str, *, but: str | None = None) -> int:
    """End all sessions of a user (but one); how many. Part of the act that asks for it."""
    return _end(db, [one for one in _live(db, user_id) if one != but])


def end_all() -> int:
    """End every session there is, as after a restore of a backup; how many."""
    with transaction() as db:
        return _end(db, list(db.scalars(select(Session.id).where(Session.ended_at.is_(None)))))


def end_idle(*, dry_run: bool = False) -> int:
    """Write down which sessions have run out, idle or absolute; use refuses them already. How many."""
    with transaction() as db:
        over = list(db.scalars(select(Session.id).where(Session.ended_at.is_(None), lifetimes.over())))
        return len(over) if dry_run else _end(db, over, EXPIRED, lifetimes.over())


def purge(*, dry_run: bool = False) -> int:
    """Delete the sessions whose last token is over: no token of theirs can come back. How many."""
    over = Session.tokens_expire_at < clock.now() - timedelta(minutes=5)
    with transaction() as db:
        if dry_run:
            return db.scalar(select(func.count()).select_from(Session).where(over)) or 0
        return changed(db, delete(Session).where(over))


def amr(session_id: str) -> list[str]:
    """How the session's user has proven themselves so far, in RFC 8176 words."""
    with reading() as db:
        return (db.scalar(select(Session.amr).where(Session.id == session_id)) or "").split()


def add_amr(db: Database, session_id: str, *words: str) -> None:
    """Note a proof that was given in a running session, such as that of a factor being turned on."""
    had = (db.scalar(select(Session.amr).where(Session.id == session_id)) or "").split()
    db.execute(update(Session).where(Session.id == session_id).values(amr=" ".join(dict.fromkeys([*had, *words]))))


def is_open(db: Database, session_id: str) -> bool:
    """Whether a session has not been ended, as an act sees it that holds the user's row."""
    return db.scalar(select(Session.id).where(Session.id == session_id, Session.ended_at.is_(None))) is not None


def _refusal(session: Session | None, generation: int, now: datetime) -> TokenRevoked | SessionExpired | None:
    """Why a refresh token that is not the newest gets no pair; None if it gets its successor again."""
    if session is None or session.end_reason == REVOKED:
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


def _load(db: Database, session_id: str) -> tuple[Session, User]:
    row = db.execute(_WITH_USER, {"session": session_id}).first()
    if row is None:
        raise TokenRevoked
    return row[0], row[1]


def _live(db: Database, user_id: str) -> Sequence[str]:
    """The sessions of a user that have not been ended, newest first."""
    return db.scalars(_LIVE, {"user": user_id}).all()


def _end(db: Database, session_ids: Sequence[str], reason: str = REVOKED, *more: ColumnElement[bool]) -> int:
    """End those that are not over yet. Whoever ends first gives the reason; Redis is told before the commit."""
    ended = 0
    for start in range(0, len(session_ids), 500):
        some = list(session_ids[start : start + 500])
        mark = update(Session).where(Session.id.in_(some), Session.ended_at.is_(None), *more)
        ended += changed(db, mark.values(ended_at=clock.now(), end_reason=reason))
        if not more:
            revocation.mark(some)
    return ended
