"""Limits by address and by user, before anything else is looked at.

Flask-Limiter holds the storage: Redis where it is configured, so that all workers count together, else memory. When Redis
is away each process counts by itself under stricter limits: never none, never an error.
"""

import math
import time
from typing import Any, NamedTuple

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse, parse_many
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, RateLimiter

import config
from domain import cache
from domain.caller import Client
from domain.errors import RateLimited

SHARE_WHEN_ALONE = 4  # Without Redis a process allows this part of each limit: several workers stay near the whole.

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

limiter: Limiter
_alone: RateLimiter


class Left(NamedTuple):
    """A user's limit in the present window, how many requests are left, and when the next one begins (seconds since 1970)."""

    limit: int
    remaining: int
    reset_at: int


def set_up() -> None:
    """Make the counters of this process."""
    global limiter, _alone
    waits: dict[str, Any] = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "retry_on_timeout": False}
    uri = config.settings.REDIS_URL
    limiter = Limiter(
        key_func=address_key,
        storage_uri=uri or "memory://",
        storage_options=waits if uri else {},
        strategy="fixed-window",
        key_prefix="gatehouse",
    )
    limiter.init_app(Flask("limits"))  # Not our app: its hooks would look on every request for limits that stand in the table.
    _alone = FixedWindowRateLimiter(MemoryStorage())


def spend_address(name: str | None) -> None:
    """Count a request without a valid credential: over all operations, and under `name`'s own limit; `RateLimited`."""
    if not config.settings.RATE_LIMIT_ENABLED:
        return
    address = address_key()
    for item in parse_many(config.settings.RATE_LIMIT_ANONYMOUS):
        _hit(item, "all", address)
    if name is not None:
        for item in parse_many(config.settings.RATE_LIMIT_SENSITIVE):
            _hit(item, name, address)


def spend_user(user_id: str, count: int | None) -> None:
    """Judge a signed-in user's request. `count` is what Redis counted with the session's look-up, None if it did not."""
    allowed, window = config.settings.RATE_LIMIT_REQUESTS, config.settings.RATE_LIMIT_WINDOW
    if not config.settings.RATE_LIMIT_ENABLED:
        return
    if count is None:
        _hit_alone(_of_user(), "user", user_id)
    elif count > allowed:
        raise RateLimited(retry_after=_until_next(window))


def spend_key(user_id: str, *, free: bool) -> None:
    """Judge a request by an API key, which counts for the key's owner, unless it is `free`; the answer tells what is left."""
    if free:
        g.budget = left(user_id)
        return
    counter = user_counter(user_id)
    count = cache.count(counter, config.settings.RATE_LIMIT_WINDOW) if counter else None
    try:
        spend_user(user_id, count)
    finally:
        g.budget = _left(user_id, count)


def left(user_id: str) -> Left:
    """What a user has left, by a mere look."""
    counter = user_counter(user_id)
    return _left(user_id, cache.counted(counter) if counter else None)


def _left(user_id: str, count: int | None) -> Left:
    """`count` is what Redis has counted, None if it has not: then this process has, or nobody where the limits are off."""
    allowed, window = config.settings.RATE_LIMIT_REQUESTS, config.settings.RATE_LIMIT_WINDOW
    if count is not None or not config.settings.RATE_LIMIT_ENABLED:
        return Left(allowed, max(0, allowed - (count or 0)), int(time.time()) + _until_next(window))
    item = _of_user()
    stats = _alone.get_window_stats(item, "user", user_id)
    return Left(item.amount, stats.remaining, math.ceil(stats.reset_time))


def tell(response: Response) -> Response:
    """Put what is left into the headers of an answer to an API key."""
    if "budget" in g:
        for name, value in zip(HEADERS, g.budget, strict=True):
            response.headers[name] = str(value)
    return response


def user_counter(user_id: str) -> str | None:
    """The name of a user's counter in the window that is now, where requests are counted."""
    if not config.settings.RATE_LIMIT_ENABLED:
        return None
    return f"{user_id}:{int(time.time()) // config.settings.RATE_LIMIT_WINDOW}"


def address_key() -> str:
    """The client's address; of IPv6 the /64, which is what one household or machine has."""
    return Client(request.remote_addr).network


def _hit(item: RateLimitItem, *key: str) -> None:
    try:
        if limiter.limiter.hit(item, *key):
            return
        reset_at = limiter.limiter.get_window_stats(item, *key).reset_time
    except cache.Away:
        _hit_alone(_stricter(item), *key)
        return
    raise RateLimited(retry_after=max(1, int(reset_at - time.time()) + 1))


def _hit_alone(item: RateLimitItem, *key: str) -> None:
    if not _alone.hit(item, *key):
        raise RateLimited(retry_after=max(1, int(_alone.get_window_stats(item, *key).reset_time - time.time()) + 1))


def _of_user() -> RateLimitItem:
    """A user's limit as this process counts it by itself."""
    item = parse(f"{config.settings.RATE_LIMIT_REQUESTS} per {config.settings.RATE_LIMIT_WINDOW} seconds")
    return item if cache.client is None else _stricter(item)


def _stricter(item: RateLimitItem) -> RateLimitItem:
    return type(item)(max(1, item.amount // SHARE_WHEN_ALONE), item.multiples, item.namespace)


def _until_next(window: int) -> int:
    return window - int(time.time()) % window
