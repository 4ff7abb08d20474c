"""Limits by address and by user, before anything else is looked at.

Flask-Limiter holds the storage: Redis where it is configured, so that all workers count together, else memory. When Redis
is away each process counts by itself under stricter limits: never none, never an error.
"""

import ipaddress
import time
from typing import Any

from flask import Flask, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse, parse_many
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, RateLimiter

import config
from domain import cache
from domain.errors import RateLimited

SHARE_WHEN_ALONE = 4  # Without Redis a process allows this part of each limit: several workers stay near the whole.

limiter: Limiter
_alone: RateLimiter


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
        item = parse(f"{allowed} per {window} seconds")
        _hit_alone(item if cache.client is None else _stricter(item), "user", user_id)
    elif count > allowed:
        raise RateLimited(retry_after=_until_next(window))


def user_counter(user_id: str) -> str | None:
    """The name of a user's counter in the window that is now, where requests are counted."""
    if not config.settings.RATE_LIMIT_ENABLED:
        return None
    return f"{user_id}:{int(time.time()) // config.settings.RATE_LIMIT_WINDOW}"


def address_key() -> str:
    """The client's address; of IPv6 the /64, which is what one household or machine has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


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


def _stricter(item: RateLimitItem) -> RateLimitItem:
    return type(item)(max(1, item.amount // SHARE_WHEN_ALONE), item.multiples, item.namespace)


def _until_next(window: int) -> int:
    return window - int(time.time()) % window
