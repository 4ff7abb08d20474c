"""Is this session alive? The database knows; Redis, where there is one, answers faster and never decides alone.

Redis holds what was read from the database a moment ago. An end is written to Redis before it is committed, and over
whatever stands there, while a reader only ever adds what is absent; so a slow reader can't bring back what was ended. A
flushed or restarted Redis is empty, and empty means: ask the database. A reader that began before the flush is told
apart by `EPOCH`, a random mark that a flush takes away (threat: revoked tokens that come back).
"""

import secrets as random
from typing import NamedTuple, cast

import orjson
from sqlalchemy import bindparam, select

from domain import cache, metrics
from domain.database import connection
from domain.errors import Unavailable
from model import Session

KEEP_SECONDS = 300
EPOCH = "gatehouse:epoch"
REVOKED = "revoked"

# Counts the request and looks the session up, in one round trip. KEYS: session, epoch, counter. ARGV: window in seconds.
LOOK_UP = """
local count = false
if KEYS[3] then
  count = redis.call('INCR', KEYS[3])
  if count == 1 then redis.call('EXPIRE', KEYS[3], ARGV[1]) end
end
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), count}
"""

# Adds what was read, unless something stands there or Redis was flushed meanwhile. KEYS: session, epoch. ARGV: epoch, state, ttl.
KEEP = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'EX', ARGV[3]) then return 1 end
return 0
"""

# Writes over whatever is older. KEYS: sessions. ARGV: state, ttl.
OVERWRITE = "for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'EX', ARGV[2]) end"


class State(NamedTuple):
    """What decides over a session's tokens. Times are seconds since 1970; 0 where there is none."""

    user_id: str
    floor: int
    authenticated: int
    last_seen: int
    expires: int
    ended: str | None


class Found(NamedTuple):
    """A session's state, None if there is no such session, and how many requests Redis has counted (None: it has not)."""

    state: State | None
    requests: int | None


def look_up(session_id: str, counter: str | None = None, window: int = 0) -> Found:
    """The state of a session; with `counter`, the request is counted under that name for `window` seconds as well."""
    if cache.client is None:
        metrics.look_up("off")
        return Found(read(session_id), None)
    keys = [_key(session_id), EPOCH] + ([f"gatehouse:count:{counter}"] if counter else [])
    try:
        entry, epoch, count = cast("list[bytes | int | None]", cache.client.eval(LOOK_UP, len(keys), *keys, window))
    except cache.Away:
        metrics.look_up("away")
        return Found(read(session_id), None)
    metrics.look_up("miss" if entry is None else "hit")
    if entry is not None:
        return Found(State(*orjson.loads(cast("bytes", entry))), cast("int | None", count))
    state = read(session_id)
    _keep(session_id, state, cast("bytes | None", epoch))
    return Found(state, cast("int | None", count))


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


def end(session_ids: list[str], reason: str = REVOKED) -> None:
    """Tell Redis that these sessions are over. Called inside the transaction that ends them, before its commit:
    where Redis is configured and can't be told, `Unavailable`, and nothing has happened.
    """
    _overwrite([_key(one) for one in session_ids], State("", 0, 0, 0, 0, reason))


def replace(session_id: str, state: State) -> None:
    """Tell Redis what the session's state is from now on; under the same terms as `end`."""
    _overwrite([_key(session_id)], state)


def _overwrite(keys: list[str], state: State) -> None:
    if cache.client is None or not keys:
        return
    try:
        cache.client.eval(OVERWRITE, len(keys), *keys, orjson.dumps(tuple(state)), KEEP_SECONDS)
    except cache.Away as error:
        raise Unavailable(retry_after=2) from error


def _keep(session_id: str, state: State | None, epoch: bytes | None) -> None:
    if cache.client is None or state is None:
        return
    try:
        if epoch is None:
            cache.client.set(EPOCH, random.token_hex(8), nx=True)
        else:
            cache.client.eval(KEEP, 2, _key(session_id), EPOCH, epoch, orjson.dumps(tuple(state)), KEEP_SECONDS)
    except cache.Away:
        return  # It answers from the database next time as well.


def _key(session_id: str) -> str:
    return f"gatehouse:session:{session_id}"
