"""Services that ask this server who calls and what they may do. The server itself is one of them: `gatehouse`."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as Database

from domain import audit, cards, clock
from domain.caller import Caller
from domain.database import add_if_absent, connection, new_id, reading, transaction
from domain.errors import LastAdmin, NameTaken, NotFound
from domain.names import naming
from domain.permissions import GATEHOUSE
from model import Assignment, Role, Service

_NAME = select(Service.name).where(Service.id == bindparam("id"))
_HELD = select(Service).where(Service.id == bindparam("id")).with_for_update(key_share=True).execution_options(populate_existing=True)


def find(db: Database, service_id: str) -> Service | None:
    """The service of this id."""
    return db.get(Service, service_id)


def named(db: Database, name: str) -> Service | None:
    """The service of this name."""
    return db.scalar(select(Service).where(Service.name == name))


def name_of(service_id: str) -> str | None:
    """The name of a service, by a statement that is built once: services ask all the time."""
    with connection() as db:
        return db.scalar(_NAME, {"id": service_id})


def get(service_id: str) -> Service:
    """The service of this id; `NotFound`."""
    with reading() as db:
        service = find(db, service_id)
    if service is None:
        raise NotFound
    return service


def hold(db: Database, service_id: str) -> Service:
    """The service as it is now, held to the end of the act, so that nothing is added to one that goes; `NotFound`.

    Acts lock from the outside in: a service, then its roles, then a user.
    """
    service = db.scalar(_HELD, {"id": service_id})
    if service is None:
        raise NotFound
    return service


def every() -> list[Service]:
    """All services, by name."""
    with reading() as db:
        return list(db.scalars(select(Service).order_by(Service.name)))


def of_user(user_id: str) -> list[Service]:
    """The services, active or not, where a user has a role, by name."""
    theirs = select(Role.service_id).join(Assignment, Assignment.role_id == Role.id).where(Assignment.user_id == user_id)
    with reading() as db:
        return list(db.scalars(select(Service).where(Service.id.in_(theirs)).order_by(Service.name)))


def add(caller: Caller, name: str, description: str | None, *, is_active: bool = True) -> Service:
    """A new service; `NameTaken`, also by the server's own, whose row may not be there yet."""
    if name == GATEHOUSE:
        raise NameTaken
    with naming() as db:
        service = Service(id=new_id(), name=name, description=description, is_active=is_active, created_at=clock.now())
        db.add(service)
        audit.by(db, "service.created", caller, service=name, is_active=is_active)
    return service


def change(caller: Caller, service_id: str, name: str, description: str | None, *, is_active: bool) -> Service:
    """The whole row; `NotFound`, `NameTaken`. Of the server's own only the description may be another: `LastAdmin`."""
    with naming() as db:
        service = hold(db, service_id)
        if service.id == GATEHOUSE and (name != GATEHOUSE or not is_active):
            raise LastAdmin
        if name == GATEHOUSE != service.id:
            raise NameTaken
        was = service.name
        service.name, service.description, service.is_active = name, description, is_active
        cards.mark(db)
        audit.by(db, "service.changed", caller, service=was, name_now=name, is_active=is_active)
    return service


def remove(caller: Caller, service_id: str) -> None:
    """Delete a service with its roles, who has them, and its tokens; `NotFound`, and of the server's own `LastAdmin`."""
    with transaction() as db:
        service = hold(db, service_id)
        if service.id == GATEHOUSE:
            raise LastAdmin
        db.delete(service)
        cards.mark(db)
        audit.by(db, "service.removed", caller, service=service.name)


def add_own(db: Database) -> None:
    """The server's own service, if it is not there yet."""
    own = {"description": "This server itself", "is_active": True, "created_at": clock.now()}
    add_if_absent(db, Service, id=GATEHOUSE, name=GATEHOUSE, **own)
