"""The only clock. Everything that asks for the time asks here, so that one place decides what "now" is."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def epoch() -> int:
    """The present moment in whole seconds since 1970 (RFC 7519 NumericDate)."""
    return int(time.time())
