"""Is this session alive? The database knows; Redis, where there is one, answers faster and never decides alone.

Redis holds what was read from the database a moment ago, or a mark that says: ask the database. The mark is set before
a change of the session is committed, over whatever stands there, while a reader only ever adds what is absent; so a slow
reader can't bring back what was ended. Everything is kept under an epoch: after a flush, or a restart of Redis with an
old snapshot, there is a new one, and nothing of before is found (threat: revoked tokens that come back).
"""

from typing import NamedTuple, cast

import orjson
from sqlalchemy import bindparam, select

from domain import cache, cards, metrics
from domain.database import connection
from domain.errors import Unavailable
from model import Session

KEEP_SECONDS = 300  # Longer than any transaction and any reader takes.
SESSION = "gatehouse:session:"
ASK = b""

# Counts the request and looks the session and its user's card up, in one round trip. KEYS: epoch, counter.
# ARGV: a fresh epoch, session, window, user.
LOOK_UP = f"""{cards.FIND}{cache.SAME_EPOCH}
local count = false
if KEYS[2] then
  count = redis.call('INCR', KEYS[2])
  if count == 1 then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
end
local card = find(epoch, ARGV[4])
return {{redis.call('GET', '{SESSION}' .. epoch .. ':' .. ARGV[2]), epoch, count, card}}
"""

# Sets the mark over whatever stands there. KEYS: epoch. ARGV: a fresh epoch, ttl, sessions.
MARK = f"""{cache.SAME_EPOCH}
for number = 3, #ARGV do redis.call('SET', '{SESSION}' .. epoch .. ':' .. ARGV[number], '', 'EX', ARGV[2]) end
"""


class State(NamedTuple):
    """What decides over a session's tokens. Times are seconds since 1970; 0 where there is none."""

    user_id: str
    floor: int
    authenticated: int
    last_seen: int
    expires: int
    ended: str | None


class Found(NamedTuple):
    """A session's state, None if there is no such session; how many requests Redis has counted (None: it has not); and the
    user's card, if Redis has it.
    """

    state: State | None
    requests: int | None = None
    card: bytes | None = None


def look_up(session_id: str, user_id: str, counter: str | None = None, window: int = 0) -> Found:
    """The state of a session of this user's; with `counter`, the request is counted under that name for `window` seconds as well."""
    if cache.client is None:
        metrics.look_up("off")
        return Found(read(session_id))
    keys = [cache.EPOCH] + ([cache.COUNTER + counter] if counter else [])
    try:
        found = cache.client.eval(LOOK_UP, len(keys), *keys, cache.fresh_epoch(), session_id, window, user_id)
    except cache.Away:
        metrics.look_up("away")
        return Found(read(session_id))
    entry, epoch, count, card = cast("tuple[bytes | None, bytes, int | None, bytes | None]", found)
    metrics.look_up("hit" if entry else "miss")
    if entry:
        return Found(State(*orjson.loads(entry)), count, card)
    state = read(session_id)
    if entry != ASK:
        _keep(session_id, state, epoch)
    return Found(state, count, card)


_READ = select(
    Session.user_id,
    Session.floor,
    Session.authenticated_at,
    Session.last_seen_at,
    Session.expires_at,
    Session.end_reason,
).where(Session.id == bindparam("session_id"))


def read(session_id: str) -> State | None:
    """The state as the database has it."""
    with connection() as db:
        row = db.execute(_READ, {"session_id": session_id}).first()
    if row is None:
        return None
    expires = int(row[4].timestamp()) if row[4] else 0
    return State(row[0], row[1], int(row[2].timestamp()), int(row[3].timestamp()), expires, row[5])


def state_of(session: Session) -> State:
    """The state of a row that was just written."""
    authenticated, last_seen = (int(moment.timestamp()) for moment in (session.authenticated_at, session.last_seen_at))
    expires = int(session.expires_at.timestamp()) if session.expires_at else 0
    return State(session.user_id, session.floor, authenticated, last_seen, expires, session.end_reason)


def mark(session_ids: list[str]) -> None:
    """Have every worker ask the database about these sessions. Called inside the transaction that changes them, before its
    commit: where Redis is configured and can't be told, `Unavailable`, and nothing has happened.
    """
    if cache.client is None or not session_ids:
        return
    try:
        cache.client.eval(MARK, 1, cache.EPOCH, cache.fresh_epoch(), KEEP_SECONDS, *session_ids)
    except cache.Away as error:
        raise Unavailable(retry_after=2) from error


def _keep(session_id: str, state: State | None, epoch: bytes) -> None:
    """Add what was read, under the epoch in which the reader began."""
    if cache.client is None or state is None:
        return
    try:
        cache.client.set(f"{SESSION}{epoch.decode()}:{session_id}", orjson.dumps(tuple(state)), ex=KEEP_SECONDS, nx=True)
    except cache.Away:
        return  # It answers from the database next time as well.
