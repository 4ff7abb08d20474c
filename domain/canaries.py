"""Marks: under which keys this database was written, so that a start with others is refused, and not somebody's sign-in.

A row for each setting, encrypted with FERNET_KEY. That of FERNET_KEY itself is renewed by `keys.rotate_encryption` alone: who opens
it opens what is stored. The others hold the names of the keys that were listed at the last start. JWT_SECRET_KEY has none: another
one ends every session, and nothing else.
"""

import json
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, delete, not_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session as Database

from domain import audit, hashes, keys, seals, secrets
from domain.database import add_if_absent, changed, reading, transaction
from domain.errors import Unavailable
from model import Canary, User

FERNET_KEY, SECRET_KEY, PASSWORD_PEPPER = "FERNET_KEY", "SECRET_KEY", "PASSWORD_PEPPER"
SAMPLE = 20  # Rows of each table that are tried where there are no marks yet.

Marks = dict[str, bytes]

BACK = "put back the key that was in use (docs/operating.md, Rotating secrets)"
WRONG_FERNET_KEY = f"{FERNET_KEY}: no key of the list opens what is stored: {BACK}"
WRONG_SECRET_KEY = f"{SECRET_KEY}: no key of the list made the codes and seals that are stored: {BACK}"


_is_open = False  # Whether this process was to compare its keys, and has not done so yet.


def faults() -> list[str]:
    """Which keys in force do not fit what is stored, a line for each, which names the setting and shows no key. A look only.

    A database that is away, or has no tables yet, finds no fault: it is the business of `/readyz`, which looks again, and of the schema.
    """
    with suppress(Unavailable, DBAPIError):
        return _judge(_stored())
    return []


def keep() -> list[str]:
    """The same for a process that is about to write under these keys: where they fit, the marks name them from now on."""
    global _is_open
    _is_open = True
    with suppress(Unavailable, DBAPIError):  # Where nothing can be written, such as on a copy that is only read, the look was enough.
        found = _kept()
        _is_open = bool(found)
        return found
    return []


def keep_if_open() -> list[str]:
    """The same, where the database was away when this process began, so that its keys were compared with nothing."""
    return keep() if _is_open else []


def _kept() -> list[str]:
    stored = _stored()
    found = _judge(stored)
    if found or all(name in stored and _opened(stored[name]) in (names, None) for name, names in _present().items()):
        return found
    with transaction() as db:
        _write(db, stored)
    return _judge(_stored())  # Of processes that start at once with different keys, one was the first.


def accept() -> None:
    """Mark the keys in force as the right ones, whatever they fit. What is stored under others stays, and nobody can use it."""
    with transaction() as db:
        db.execute(delete(Canary))
        _write(db, {})
        audit.note(db, "keys.accepted", None, actor=audit.OPERATOR)


def _present() -> dict[str, list[str]]:
    return {FERNET_KEY: [], SECRET_KEY: secrets.names(), PASSWORD_PEPPER: hashes.pepper_names()}


def _stored() -> Marks:
    with reading() as db:
        return {row.name: row.value_encrypted for row in db.scalars(select(Canary))}


def _opened(mark: bytes) -> list[str] | None:
    """The names in a mark; None where it is under another FERNET_KEY."""
    text = secrets.opened(mark)
    return None if text is None else json.loads(text)


def _write(db: Database, before: Marks) -> None:
    """Put the marks of the keys in force where these stood, or none; who finds others there leaves them."""
    for name, names in _present().items():
        value = secrets.encrypt(json.dumps(names))
        if name not in before:
            add_if_absent(db, Canary, name=name, value_encrypted=value)
        elif _opened(before[name]) not in (names, None):
            changed(db, update(Canary).where(Canary.name == name, Canary.value_encrypted == before[name]).values(value_encrypted=value))


def _judge(stored: Marks) -> list[str]:
    if FERNET_KEY not in stored:
        return _judge_rows()
    if _opened(stored[FERNET_KEY]) is None:
        return [WRONG_FERNET_KEY]
    present = _present()
    before = {name: set((name in stored and _opened(stored[name])) or present[name]) for name in present}
    found = [] if before[SECRET_KEY] & set(present[SECRET_KEY]) else [WRONG_SECRET_KEY]
    # A pepper may go when no hash is under it any more; only then all hashes are looked through.
    return found + (_pepper_faults() if before[PASSWORD_PEPPER] - set(present[PASSWORD_PEPPER]) else [])


def _judge_rows() -> list[str]:
    """There are no marks yet: the database is new, or was written by a release that made no marks."""
    found = [] if all(_opens_some(*place) for place in keys.ENCRYPTED) else [WRONG_FERNET_KEY]
    return found + ([] if seals.some_are_ours(SAMPLE) else [WRONG_SECRET_KEY]) + _pepper_faults()


def _opens_some(key: Any, column: Any) -> bool:
    """Whether there is nothing in this column, or something that a key opens: single rows may be from before a key was lost."""
    with reading() as db:
        some = db.scalars(select(column).where(column.is_not(None)).order_by(key).limit(SAMPLE)).all()
    return not some or any(secrets.opened(one) is not None for one in some)


def _pepper_faults() -> list[str]:
    """The fault of a list that lacks a pepper under which there is a password."""
    listed = [not_(_is_under(name)) for name in hashes.pepper_names()]
    with reading() as db:
        found = db.scalar(select(User.password_hash).where(_is_under("%"), *listed).limit(1))
    return [f"{PASSWORD_PEPPER}: there are passwords under the key {found.split('$')[1]}, which the list lacks: {BACK}"] if found else []


def _is_under(pepper_name: str) -> ColumnElement[bool]:
    return User.password_hash.like(hashes.label_of(pepper_name) + "%")
