"""Lists by cursor, the newest first. A cursor says where a page ended, so that rows which come meanwhile shift nothing.

It is a place, and opens nothing: whose rows a list shows is said by its query alone, whatever cursor comes with it.
"""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from domain import limits
from domain.database import reading
from domain.errors import Fault, ValidationFailed

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PLACE = re.compile(r"(\d{1,17}) ([0-9a-f]{32})", re.ASCII)


class Window(NamedTuple):
    """Which part of a list is asked for."""

    limit: int = limits.LIST_ROWS
    cursor: str | None = None


class Part(NamedTuple, Generic[T]):
    """A part of a list, and the cursor of the next; None at the end."""

    rows: list[T]
    next_cursor: str | None


def newest_first(query: Select[T], at: InstrumentedAttribute[datetime], key: InstrumentedAttribute[str], window: Window) -> Part[T]:
    """The part of a query's rows that a window shows, in the order of `at` and `key`; `ValidationFailed` for a bad cursor."""
    if window.cursor is not None:
        moment, row_id = _place(window.cursor)
        query = query.where(at <= moment, or_(at < moment, and_(at == moment, key < row_id)))
    with reading() as db:
        rows = list(db.scalars(query.order_by(at.desc(), key.desc()).limit(window.limit + 1)))
    shown = rows[: window.limit]
    return Part(shown, _cursor(getattr(shown[-1], at.key), getattr(shown[-1], key.key)) if len(rows) > len(shown) else None)


def _cursor(moment: datetime, row_id: Any) -> str:
    return base64.urlsafe_b64encode(f"{(moment - EPOCH) // MICROSECOND} {row_id}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    """The place that a cursor says. Only one that we would have written is taken."""
    try:
        told = PLACE.fullmatch(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
        if told:
            moment = EPOCH + int(told[1]) * MICROSECOND
            if _cursor(moment, told[2]) == cursor:
                return moment, told[2]
    except (ValueError, OverflowError):
        pass
    raise ValidationFailed(errors=[Fault("cursor", "invalid", "This is not a cursor that a list has given.")])
