"""Redis, where it is configured: a faster answer to questions whose truth is in the database. It may vanish at any time.

It may also come back with an old snapshot, and then what it holds of the database is wrong. So everything that was read
from there is kept under an epoch, a random mark, and whoever connects first to a Redis that was started anew changes it.
"""

import secrets
from contextlib import suppress
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import Settings

EPOCH, LIFE = "gatehouse:epoch", "gatehouse:life"

# On every new connection. KEYS: life, epoch. ARGV: an epoch for a life that is new.
GREETING = """
local life = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if redis.call('GET', KEYS[1]) ~= life then
  redis.call('SET', KEYS[1], life)
  redis.call('SET', KEYS[2], ARGV[1])
end
"""

# The lines with which a script begins whose KEYS[1] is the epoch and ARGV[1] a fresh one.
SAME_EPOCH = """
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
end
"""

# Counts in a window. KEYS: the counter. ARGV: the window's seconds.
COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""
COUNTER, CARD = "gatehouse:count:", "gatehouse:card:"

client: "redis.Redis | None" = None

Away = (redis.RedisError, OSError)  # What a call raises while Redis is down, hanging or busy loading.


def connect(settings: Settings) -> None:
    """Make this process's client; None without REDIS_URL. It never waits longer than 0.2 s and tries nothing twice."""
    global client
    client = None
    if settings.REDIS_URL:
        pool = redis.BlockingConnectionPool.from_url(
            settings.REDIS_URL,
            max_connections=settings.REDIS_POOL_SIZE,
            timeout=0.2,
            socket_timeout=0.2,
            socket_connect_timeout=0.2,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=_greet,
        )
        client = redis.Redis(connection_pool=pool)


def is_there() -> bool:
    """Whether Redis answers, or is not configured."""
    try:
        return client is None or bool(client.ping())
    except Away:
        return False


def count(name: str, seconds: int) -> int | None:
    """Count one more under a name, for so many seconds; how many that makes. None where Redis is not there."""
    if client is None:
        return None
    try:
        return cast("int", client.eval(COUNT, 1, COUNTER + name, seconds))
    except Away:
        return None


def counted(name: str) -> int | None:
    """How many were counted under a name; None where Redis is not there."""
    if client is None:
        return None
    try:
        return int(cast("bytes | None", client.get(COUNTER + name)) or 0)
    except Away:
        return None


def forget(user_id: str) -> None:
    """Take away a user's card and counters. What says that a session or a card has changed stays: without it a slow reader could
    bring back what was ended. It holds ids only. Where Redis is away, all of it is over in minutes anyway.
    """
    if client is None:
        return
    with suppress(*Away):
        for kind in (CARD, COUNTER):
            for name in client.scan_iter(match=f"{kind}*{user_id}*", count=1000):
                client.delete(name)


def fresh_epoch() -> str:
    """A mark that no epoch had before."""
    return secrets.token_hex(8)


def _greet(connection: redis.Connection) -> None:
    connection.on_connect()  # type: ignore[no-untyped-call]
    connection.send_command("EVAL", GREETING, 2, LIFE, EPOCH, fresh_epoch())  # type: ignore[no-untyped-call]
    connection.read_response()
