"""Roles: who may do what. The server itself is the service `gatehouse`; its role `admin` has all its permissions.

Whatever is cached of rights (`cards`), a change is in force on the next request: who changes them says so before the commit.
"""

from collections.abc import Iterable, Sequence

import orjson
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as Database

from domain import audit, cards, clock, limits, permissions, services
from domain.caller import Caller
from domain.database import add_if_absent, connection, new_id, reading, transaction
from domain.errors import Forbidden, LastAdmin, NotFound
from domain.names import naming
from domain.permissions import ADMIN, GATEHOUSE, OWN
from model import Assignment, Role, Service, User

SHORTEST = 4  # Of a role in the claim of a token: a letter, its quotes, a comma.

# Built once: building a statement costs more than running it.
_NAMES = (
    cards.RIGHTS.with_only_columns(Service.name, Role.name).order_by(Service.name, Role.name).limit(limits.ROLES_CLAIM_BYTES // SHORTEST)
)
_HELD = select(Role).where(Role.id == bindparam("id")).with_for_update(key_share=True).execution_options(populate_existing=True)
_ADMINS = (
    select(Assignment.user_id)
    .join(User, User.id == Assignment.user_id)
    .where(Assignment.role_id == ADMIN, User.status == "active", User.invited_at.is_(None))
)


def permissions_of(user_id: str) -> frozenset[str]:
    """What a user may do here at present."""
    return cards.rights(user_id).get(GATEHOUSE, cards.Rights()).permissions


def allowed(caller: Caller, db: Database | None = None) -> frozenset[str]:
    """What a caller may do here at present: of a key within its scopes, of a service its scopes."""
    if not caller.user_id:
        return OWN & (caller.scopes or set())
    rights = cards.rights_in(db.connection(), caller.user_id) if db else cards.rights(caller.user_id, caller.card)
    theirs = rights.get(GATEHOUSE, cards.Rights()).permissions
    return theirs if caller.scopes is None else theirs & caller.scopes


def require_own(caller: Caller, named: Iterable[str], db: Database | None = None) -> None:
    """Nobody grants one of the server's own permissions, or touches who has it, that they lack themselves: `Forbidden`.

    The name alone counts, whichever service's role it stands in: whoever is told of it could take it for ours.
    """
    concerned = OWN & set(named)
    if concerned and not concerned <= allowed(caller, db):
        raise Forbidden


def names_of(db: Database, user_id: str) -> frozenset[str]:
    """The names of the roles that a user has, whichever service's."""
    return frozenset(role for _, role, _ in db.execute(cards.RIGHTS, {"user": user_id}))


def claim(user_id: str) -> dict[str, list[str]] | None:
    """The names of a user's roles by the service's name, for tokens; None where they would not fit into one."""
    with connection() as db:
        rows = db.execute(_NAMES, {"user": user_id}).all()
    found: dict[str, list[str]] = {}
    for service, role in rows:
        found.setdefault(service, []).append(role)
    return found if len(orjson.dumps(found)) <= limits.ROLES_CLAIM_BYTES else None


def permissions_in(role: Role) -> list[str]:
    """What a role gives, by name."""
    return sorted(cards.granted(role.service_id, role.name, role.permissions))


def get(role_id: str) -> Role:
    """The role of this id; `NotFound`."""
    with reading() as db:
        role = db.get(Role, role_id)
    if role is None:
        raise NotFound
    return role


def hold(db: Database, role_id: str) -> Role:
    """The role as it is now, held to the end of the act; `NotFound`. Before any user's row: see `services.hold`."""
    role = db.scalar(_HELD, {"id": role_id})
    if role is None:
        raise NotFound
    return role


def of_service(service_id: str) -> list[Role]:
    """The roles of a service, by name."""
    with reading() as db:
        return list(db.scalars(select(Role).where(Role.service_id == service_id).order_by(Role.name)))


def add(caller: Caller, service_id: str, name: str, description: str | None, named: Sequence[str]) -> Role:
    """A new role of a service; `NotFound`, `Forbidden`, `ValidationFailed` for permissions that are not known, `NameTaken`."""
    with naming() as db:
        service = services.hold(db, service_id)
        _require_grantable(db, caller, named)
        role = Role(
            id=new_id(), service_id=service_id, name=name, description=description, permissions=_once(named), created_at=clock.now()
        )
        db.add(role)
        audit.by(db, "role.created", caller, role=name, service=service.name, permissions=role.permissions)
    return role


def change(caller: Caller, role_id: str, name: str, description: str | None, named: Sequence[str]) -> Role:
    """The whole row; the refusals of `add`, for the permissions that it had as for those that it gets. `admin`: `LastAdmin`."""
    with naming() as db:
        role = hold(db, role_id)
        require_own(caller, permissions_in(role), db)
        if role.id == ADMIN:
            raise LastAdmin
        _require_grantable(db, caller, named)
        was = role.name
        role.name, role.description, role.permissions = name, description, _once(named)
        service = _service_of(db, role)
        cards.mark(db)
        audit.by(db, "role.changed", caller, role=was, name_now=name, service=service, permissions=role.permissions)
    return role


def remove(caller: Caller, role_id: str) -> None:
    """Delete a role; nobody has it any more. `NotFound`, `Forbidden`, and of `admin` `LastAdmin`."""
    with transaction() as db:
        role = hold(db, role_id)
        require_own(caller, permissions_in(role), db)
        if role.id == ADMIN:
            raise LastAdmin
        db.delete(role)
        cards.mark(db)
        audit.by(db, "role.removed", caller, role=role.name, service=_service_of(db, role))


def require_another_admin(db: Database, user_id: str) -> None:
    """Refuse to take the last administrator away who can act: active, and no invitation that nobody has answered. `LastAdmin`.
    Called before the user's row is held, by whatever would.

    It holds the role `admin` first, so that of two administrators who end each other the second is refused.
    """
    db.scalar(_HELD, {"id": ADMIN})
    if db.scalars(_ADMINS.limit(2)).all() == [user_id]:
        raise LastAdmin


def make_admin(db: Database, user: User) -> None:
    """Give a user the server's own role `admin`; again is fine."""
    services.add_own(db)
    now = clock.now()
    words = {"name": ADMIN, "description": "May do everything", "permissions": [], "created_at": now}
    add_if_absent(db, Role, id=ADMIN, service_id=GATEHOUSE, **words)
    add_if_absent(db, Assignment, user_id=user.id, role_id=ADMIN, assigned_at=now)
    cards.mark(db, user.id)


def _require_grantable(db: Database, caller: Caller, named: Sequence[str]) -> None:
    require_own(caller, named, db)
    permissions.require_known(db, named)


def _service_of(db: Database, role: Role) -> str:
    service = services.find(db, role.service_id)
    return service.name if service else ""


def _once(named: Sequence[str]) -> list[str]:
    return sorted(set(named))
