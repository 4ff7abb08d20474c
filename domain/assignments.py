"""Who has which role: looked at, given, taken. In force on the next request.

A role of an inactive service may be given and taken; it gives nothing until the service is active again.
"""

from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, cards, clock, permissions, roles, services
from domain.caller import Caller
from domain.cards import Rights
from domain.database import changed, reading, transaction
from domain.errors import NotFound
from model import Assignment, Role, Service


class Held(NamedTuple):
    """The roles that a user has in a service, and the permissions that these give at present."""

    roles: list[Role]
    permissions: list[str]


def of(user_id: str, service_id: str) -> Held:
    """What a user has in a service; `NotFound` if there is no such user, or no such service."""
    accounts.get(user_id)
    service = services.get(service_id)
    theirs = select(Role).join(Assignment, Assignment.role_id == Role.id)
    with reading() as db:
        found = db.scalars(theirs.where(Assignment.user_id == user_id, Role.service_id == service_id).order_by(Role.name)).all()
    return Held(list(found), sorted(cards.rights(user_id).get(service.name, Rights()).permissions))


def find(user_id: str, service_id: str, role_id: str) -> None:
    """`NotFound` if there is no such user, or the service has no such role."""
    accounts.get(user_id)
    _of_service(roles.get(role_id), service_id)


def give(caller: Caller, user_id: str, service_id: str, role_id: str) -> bool:
    """Give a user a role; whether they lacked it. `NotFound`; `Forbidden` where it has a permission that the caller lacks."""
    with transaction() as db:
        role, service = _held(db, caller, service_id, role_id)
        if accounts.hold(db, user_id) is None:
            raise NotFound
        key = {"user_id": user_id, "role_id": role_id}
        if db.get(Assignment, key) is not None:
            return False
        db.add(Assignment(**key, assigned_at=clock.now()))
        cards.mark(db, user_id)
        audit.by(db, "role.granted", caller, user_id, role=role.name, service=service.name)
        return True


def take(caller: Caller, user_id: str, service_id: str, role_id: str) -> None:
    """Take a role from a user. `NotFound`, also where they lack it; `Forbidden` as in `give`; `LastAdmin`."""
    with transaction() as db:
        role, service = _held(db, caller, service_id, role_id)
        if role.id == permissions.ADMIN:
            roles.require_another_admin(db, user_id)
        if not changed(db, delete(Assignment).where(Assignment.user_id == user_id, Assignment.role_id == role_id)):
            raise NotFound
        cards.mark(db, user_id)
        audit.by(db, "role.taken", caller, user_id, role=role.name, service=service.name)


def _held(db: Database, caller: Caller, service_id: str, role_id: str) -> tuple[Role, Service]:
    """The role, held, which the caller may give and take, and its service."""
    role = roles.hold(db, role_id)
    service = services.find(db, role.service_id)
    _of_service(role, service_id)
    assert service is not None
    roles.require_own(caller, roles.permissions_in(role), db)
    return role, service


def _of_service(role: Role, service_id: str) -> None:
    if role.service_id != service_id:
        raise NotFound
