"""Profiles: what an account says of itself. Its owner reads and changes it; nothing here opens the account."""

import json
import math
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from domain import audit, cards, limits, pictures
from domain.caller import Caller
from domain.database import reading, transaction
from domain.errors import NotFound, Unavailable, UsernameTaken
from model import User

LOCALE = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"  # BCP 47.
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
NO_ZONES = {"localtime", "Factory"}  # Files of the zone database that name no place.


def update(caller: Caller, changes: Mapping[str, Any], picture: bytes | None = None) -> cards.Profile:
    """Change these columns and the picture, all or none; None clears. `InvalidPicture`, `UsernameTaken`, `NotFound`."""
    if picture is None:
        return _write(caller, changes) if changes else cards.profile(caller)
    name = pictures.keep(caller.user_id, pictures.thumbnail(picture))
    try:
        return _write(caller, {**changes, "picture": name})
    except BaseException:
        _take_back(caller.user_id, name)
        raise


def remove_picture(caller: Caller) -> None:
    """The profile has no picture from now on; `NotFound`."""
    _write(caller, {"picture": None})


def is_timezone(name: str) -> bool:
    """Whether it is a zone of the IANA database; by its form alone where this machine has no such database."""
    known = _zones()
    return name in known if known else ZONE.fullmatch(name) is not None


def check_metadata(value: dict[str, Any]) -> None:
    """Refuse metadata that is too large or too deep, or that some database or client can't read; ValueError says why."""
    for depth, one in _within(value):
        if depth > limits.METADATA_DEPTH:
            raise ValueError(f"has more than {limits.METADATA_DEPTH} objects and lists in one another")
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError("holds a number that is too large")
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > limits.METADATA_BYTES:
        raise ValueError(f"is larger than {limits.METADATA_BYTES} bytes")


def _write(caller: Caller, values: Mapping[str, Any]) -> cards.Profile:
    """The row is locked before the old picture's name is read, so that of two uploads at once each deletes another file."""
    try:
        with transaction() as db:
            user = db.get(User, caller.user_id, with_for_update=True)
            if user is None:
                raise NotFound
            replaced = user.picture if "picture" in values else None
            for column, value in values.items():
                setattr(user, column, value)
            cards.mark(db, user.id)
            audit.of(db, "profile.changed", caller, fields=sorted("metadata" if column == "extra" else column for column in values))
    except IntegrityError:
        raise UsernameTaken from None
    if replaced:
        pictures.discard(replaced)
    return cards.Profile._make(getattr(user, column) for column in cards.Profile._fields)


def _take_back(user_id: str, name: str) -> None:
    """Delete the file of a commit that failed. Where only its answer was lost and nobody can be asked, the sweep decides."""
    with suppress(Unavailable), reading() as db:
        if db.scalar(select(User.picture).where(User.id == user_id)) != name:
            pictures.discard(name)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - NO_ZONES)


def _within(value: Any) -> Iterator[tuple[int, Any]]:
    """Everything in it, each with the number of objects and lists that it stands in, itself included."""
    left = [(1, value)]
    while left:
        depth, one = left.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        yield depth, one
        left += [(depth + isinstance(part, (dict, list)), part) for part in inner]
