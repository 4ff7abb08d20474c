"""Permissions, `resource:action`: those of the server itself, which stand here, and those of services, described once so that
roles and tokens can name them. A name means the same wherever it stands.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Database

from domain import audit, clock
from domain.caller import Caller
from domain.database import reading
from domain.errors import Fault, NameTaken, ValidationFailed
from domain.names import naming
from model import KnownPermission

GATEHOUSE, ADMIN = "gatehouse", "admin"  # This server as a service, and its role that may do everything: ids and names.
FORM = re.compile(r"[a-z0-9_.-]{1,64}:[a-z0-9_.-]{1,64}")  # Of every permission; names of roles and services are like one part.


class Permission(StrEnum):
    """What a role of the service `gatehouse` may allow."""

    SERVICES_READ = "services:read"
    SERVICES_WRITE = "services:write"
    ROLES_READ = "roles:read"
    ROLES_WRITE = "roles:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    AUDIT_READ = "audit:read"
    JOBS_READ = "jobs:read"
    JOBS_RUN = "jobs:run"


OWN = frozenset(Permission)
MEANINGS = {
    Permission.SERVICES_READ: "See the services.",
    Permission.SERVICES_WRITE: "Add, change and delete services.",
    Permission.ROLES_READ: "See roles, permissions, and who has which.",
    Permission.ROLES_WRITE: "Add, change and delete roles, add permissions, and give and take roles.",
    Permission.TOKENS_READ: "See the application tokens of services.",
    Permission.TOKENS_WRITE: "Make, revoke and delete application tokens.",
    Permission.USERS_READ: "See the accounts.",
    Permission.USERS_WRITE: "Invite, change, unlock and delete accounts.",
    Permission.AUDIT_READ: "Read the audit trail.",
    Permission.JOBS_READ: "See the jobs and their runs.",
    Permission.JOBS_RUN: "Run a job now.",
}


class Known(NamedTuple):
    """A permission and what it allows."""

    name: str
    description: str | None


def every() -> list[Known]:
    """Every permission that roles and tokens may name, by name."""
    with reading() as db:
        found: dict[str, str | None] = {one.name: one.description for one in db.scalars(select(KnownPermission))}
    found |= {name.value: meaning for name, meaning in MEANINGS.items()}  # Ours, though somebody named it before we did.
    return [Known(name, found[name]) for name in sorted(found)]


def add(caller: Caller, name: str, description: str | None) -> Known:
    """Describe a permission of services; `NameTaken`, also by one of the server's own."""
    if name in OWN:
        raise NameTaken
    with naming() as db:
        db.add(KnownPermission(name=name, description=description, created_at=clock.now()))
        audit.by(db, "permission.created", caller, permission=name)
    return Known(name, description)


def require_known(db: Database, names: Sequence[str], field: str = "permissions") -> None:
    """Refuse permissions that nobody has described, each by its place in the list of this field: `ValidationFailed`."""
    known = OWN | _known(db, set(names) - OWN)
    unknown = [number for number, name in enumerate(names) if name not in known]
    if unknown:
        words = "There is no such permission; POST /api/roles/permissions adds one."
        raise ValidationFailed(errors=[Fault(f"{field}.{number}", "unknown_permission", words) for number in unknown])


def _known(db: Database, names: Iterable[str]) -> set[str]:
    return set(db.scalars(select(KnownPermission.name).where(KnownPermission.name.in_(names))))
