"""Sessions: opened by a sign-in, asked on every request, renewed by step-up, ended once for all.

Every token pair belongs to a session row; `rotation` trades one pair for the next. Who ends a session tells Redis before
the database commits (`revocation`).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, func, literal, select, update
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm.attributes import set_committed_value

import config
from domain import activity, agents, audit, cards, clock, devices, lifetimes, notices, places, revocation
from domain.caller import Caller, Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import SessionExpired, TokenRevoked
from model import Device, Session, User, UtcTime

REVOKED, EXPIRED = "revoked", "expired"
BATCH = 500  # Sessions that one statement ends, and one run of a job in one transaction.

# Built once: building a statement costs more than running it.
_NOW = bindparam("now", type_=UtcTime)
_SIGNED_IN = update(User).where(User.id == bindparam("user")).values(last_login_at=_NOW)
_LIVE = select(Session.id).where(Session.user_id == bindparam("user"), Session.ended_at.is_(None))
_RUNNING_BEFORE = _LIVE.where(lifetimes.LASTING, Session.id != bindparam("session")).order_by(Session.created_at.desc(), Session.id)
_WITH_USER = select(Session, User).join(User, User.id == Session.user_id).where(Session.id == bindparam("session"))


class Grant(NamedTuple):
    """What tokens are made from: the session, its user, the generation of the pair, and the device's token."""

    session: Session
    user: User
    generation: int
    device_token: str | None = None


def open(db: Database, user: User, amr: Sequence[str], client: Client, device: Device | None, *, trust: bool = False) -> Grant:
    """A new session for a user who has passed every stage. Over MAX_SESSIONS_PER_USER the oldest goes.

    A device that is not known is told to the owner, but at the very first sign-in.
    """
    now, first, words = clock.now(), user.last_login_at is None, agents.words(client.user_agent)
    # This update comes first: it holds the user's row, so that sign-ins of one user count their sessions one by one.
    changed(db, _SIGNED_IN, {"user": user.id, "now": now})
    cards.mark(db, user.id, needed=False)  # Nobody is let in or kept out by the time of a sign-in.
    set_committed_value(user, "last_login_at", now)
    known = devices.remember(db, user.id, client, device)
    if trust:
        devices.trust(db, known.id)
    lasting = config.settings.SESSION_MAX_SECONDS
    session = Session(
        id=new_id(),
        user_id=user.id,
        device_id=known.id,
        amr=" ".join(amr),
        ip=client.ip,
        user_agent=client.user_agent,
        device_name=words,
        country=places.country(client.ip),
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
    surplus = _end_surplus(db, session)
    audit.note(db, "sign_in", user.id, client, actor=user.id, session_id=session.id, amr=list(amr), surplus=surplus)
    if known.new and not first:
        notices.send(db, user, "new_device", client, device=words, country=session.country)
    return Grant(session, user, 1, known.token)


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
        session, user = load(db, caller.session_id)
        audit.of(db, "step_up", caller, amr=list(amr))
        revocation.mark([session.id])
    return Grant(session, user, session.generation)


def end(caller: Caller) -> None:
    """Sign out; again is fine. `Unavailable` if the end can't be made known to every worker: then nothing ended."""
    with transaction() as db:
        if end_some(db, [caller.session_id]):
            audit.of(db, "session.ended", caller)


def end_some(db: Database, session_ids: Sequence[str], reason: str = REVOKED, *more: ColumnElement[bool]) -> int:
    """End those that are not over yet. Whoever ends first gives the reason; Redis is told before the commit."""
    ended = 0
    for start in range(0, len(session_ids), BATCH):
        some = list(session_ids[start : start + BATCH])
        mark = update(Session).where(Session.id.in_(some), Session.ended_at.is_(None), *more)
        ended += changed(db, mark.values(ended_at=clock.now(), end_reason=reason))
        revocation.mark(some)
    return ended


def end_of_user(db: Database, user_id: str, *, but: str | None = None, reason: str = REVOKED) -> int:
    """End all sessions of a user (but one); how many. Part of the act that asks for it."""
    return end_some(db, [one for one in _live(db, user_id) if one != but], reason)


def end_all() -> int:
    """End every session there is, as after a restore of a backup; how many."""
    with transaction() as db:
        ended = end_some(db, list(db.scalars(select(Session.id).where(Session.ended_at.is_(None)))))
        audit.note(db, "sessions.ended", None, actor=audit.OPERATOR, sessions=ended)
        return ended


def end_idle(*, dry_run: bool = False) -> int:
    """Write down which sessions have run out, idle or absolute; use refuses them already. How many."""
    over = select(Session.id, Session.user_id).where(Session.ended_at.is_(None), lifetimes.over())
    if dry_run:
        with reading() as db:
            return db.scalar(select(func.count()).select_from(over.subquery())) or 0
    ended = 0
    while True:
        with transaction() as db:
            some = db.execute(over.limit(BATCH).with_for_update()).all()
            ended += end_some(db, [one.id for one in some], EXPIRED, lifetimes.over())
            for one in some:
                audit.note(db, "session.ended", one.user_id, actor=audit.SYSTEM, session_id=one.id, reason=EXPIRED)
        if len(some) < BATCH:
            return ended


def purge(*, dry_run: bool = False) -> int:
    """Delete the sessions whose last token is over: no token of theirs can come back. How many."""
    over = Session.tokens_expire_at < clock.now() - timedelta(minutes=5)
    with transaction() as db:
        if dry_run:
            return db.scalar(select(func.count()).select_from(Session).where(over)) or 0
        return changed(db, delete(Session).where(over))


def load(db: Database, session_id: str) -> tuple[Session, User]:
    """A session and its user; `TokenRevoked` if there is no such session any more."""
    row = db.execute(_WITH_USER, {"session": session_id}).first()
    if row is None:
        raise TokenRevoked
    return row[0], row[1]


def amr(session_id: str) -> list[str]:
    """How the session's user has proven themselves so far, in RFC 8176 words."""
    with reading() as db:
        return (db.scalar(select(Session.amr).where(Session.id == session_id)) or "").split()


def device_of(session_id: str) -> str | None:
    """The id of the device that opened a session; it stays when the device is forgotten."""
    with reading() as db:
        return db.scalar(select(Session.device_id).where(Session.id == session_id))


def add_amr(db: Database, session_id: str, *words: str) -> None:
    """Note a proof that was given in a running session, such as that of a factor being turned on."""
    had = (db.scalar(select(Session.amr).where(Session.id == session_id)) or "").split()
    db.execute(update(Session).where(Session.id == session_id).values(amr=" ".join(dict.fromkeys([*had, *words]))))


def is_open(db: Database, session_id: str) -> bool:
    """Whether a session has not been ended, as an act sees it that holds the user's row."""
    return db.scalar(select(Session.id).where(Session.id == session_id, Session.ended_at.is_(None))) is not None


def _live(db: Database, user_id: str) -> Sequence[str]:
    """The sessions of a user that have not been ended."""
    return db.scalars(_LIVE, {"user": user_id}).all()


def _end_surplus(db: Database, newest: Session) -> int:
    """End the oldest of those that run beside the newest, whatever other hosts' clocks say; how many were too many."""
    values = {"user": newest.user_id, "session": newest.id, **lifetimes.lasting(newest.created_at)}
    surplus = db.scalars(_RUNNING_BEFORE, values).all()[config.settings.MAX_SESSIONS_PER_USER - 1 :]
    return end_some(db, surplus) if surplus else 0
