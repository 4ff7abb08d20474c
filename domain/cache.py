"""Redis, where it is configured: a faster answer to questions whose truth is in the database. It may vanish at any time."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import Settings

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
        )
        client = redis.Redis(connection_pool=pool)


def is_there() -> bool:
    """Whether Redis answers, or is not configured."""
    try:
        return client is None or bool(client.ping())
    except Away:
        return False
