"""Everything that is held on a person, for that person (GDPR art. 15 and 20): the rows of `holdings`, and the picture."""

import base64
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, pictures, trail
from domain.caller import Caller
from domain.database import reading, transaction
from domain.errors import NotFound
from domain.holdings import HELD, Held, Person
from model import Role, Service

Row = dict[str, Any]
OTHERS_OWN = ("ip", "country", "user_agent", "facts")  # Of an event that another user brought about: it tells of that user.
BEGAN = ("created_at", "at", "linked_at", "assigned_at", "raised_at")  # By these rows are in the order of time.


def export(caller: Caller) -> dict[str, Any]:
    """By name, what each table holds on the caller; `picture` is a file in base64, or None."""
    user = accounts.get(caller.user_id)
    person = Person(user.id, (user.email,), user.username)
    with transaction() as db:
        audit.of(db, "account.exported", caller)
    with reading() as db:
        found: dict[str, Any] = {held.name: _rows(db, held, person) for held in HELD}
        found["roles"] = [_named(db, one) for one in found["roles"]]
    (found["profile"],) = found["profile"]
    found["events"] = [_without_others(one, person) for one in found["events"]]
    return found | {"picture": _picture(user.picture)}


def _rows(db: Database, held: Held, person: Person) -> list[Row]:
    columns = [held.table.__table__.c[name] for name in held.columns.split()]
    table = held.table.__table__
    order = [table.c[name] for name in BEGAN if name in table.c] + list(table.primary_key)
    rows = db.execute(select(*columns).where(held.whose(person)).order_by(*order))
    return [dict(row._mapping) for row in rows]


def _named(db: Database, row: Row) -> Row:
    named = select(Service.name, Role.name).join(Role, Role.service_id == Service.id).where(Role.id == row["role_id"])
    found = db.execute(named).first()
    return row | {"service": found[0] if found else None, "role": found[1] if found else None}


def _without_others(event: Row, person: Person) -> Row:
    return event | dict.fromkeys(OTHERS_OWN) if trail.is_anothers(event["actor"], person.id) else event


def _picture(name: str | None) -> Row | None:
    if name is None:
        return None
    try:
        data = pictures.read(name)
    except NotFound:
        return None
    return {"content_type": "image/webp", "data": base64.b64encode(data).decode()}
