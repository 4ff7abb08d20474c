"""Roles of services, the permissions that they name, and who has which role."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from domain import assignments, limits, permissions, roles, services
from domain.caller import Caller
from model import Role
from resources.base import Resource
from resources.shapes import Description, Done, Given, Label, Out, Proof

PermissionName = Annotated[str, StringConstraints(pattern=f"^{permissions.FORM.pattern}$"), Field(examples=["invoices:read"])]
PermissionNames = Annotated[
    list[PermissionName],
    Field(max_length=limits.ROLE_PERMISSIONS, examples=[["audit:read"]], description="`resource:action`, each one that is known."),
]


class RoleIn(Proof):
    """A new role."""

    name: Label
    description: Given[Description] = None
    permissions: Given[PermissionNames] = None


class RoleRow(Proof):
    """The whole row: a description that is left out is empty."""

    name: Label
    description: Given[Description] = None
    permissions: PermissionNames


class RoleOut(Out):
    """A role of a service. `name` is what tokens call it."""

    id: str
    service_id: str
    name: str
    description: str
    permissions: list[str]

    @classmethod
    def of(cls, role: Role) -> "RoleOut":
        """This role."""
        return cls(**shown(role))


class RoleMade(RoleOut):
    """The new role."""

    http_status: ClassVar[int] = 201


class RolesOut(Out):
    """Roles, by name."""

    roles: list[RoleOut]


class HeldOut(RolesOut):
    """The roles that a user has in a service, and what these allow at present: nothing while the service is inactive."""

    permissions: list[str]


class PermissionIn(Proof):
    """A new permission."""

    name: PermissionName
    description: Given[Description] = None


class PermissionOut(Out):
    """A permission, and what it allows."""

    name: str
    description: str

    @classmethod
    def of(cls, known: permissions.Known) -> "PermissionOut":
        """This permission."""
        return cls(name=known.name, description=known.description or "")


class PermissionMade(PermissionOut):
    """The new permission."""

    http_status: ClassVar[int] = 201


class PermissionsOut(Out):
    """Permissions, by name."""

    permissions: list[PermissionOut]


class HasAlready(Done):
    """The user had the role before."""

    status: Literal["granted"] = "granted"


class Granted(HasAlready):
    """The user has the role from now on."""

    http_status: ClassVar[int] = 201


class ServiceRoles(Resource):
    """The roles of a service."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse an id that is not there."""
        services.get(parts["service_id"])

    def get(self, service_id: str) -> RolesOut:
        """List them."""
        return RolesOut(roles=[RoleOut.of(one) for one in roles.of_service(service_id)])

    def post(self, service_id: str, body: RoleIn, caller: Caller) -> RoleMade:
        """Add one."""
        return RoleMade(**shown(roles.add(caller, service_id, body.name, body.description, body.permissions or ())))


class RoleById(Resource):
    """One role. `admin` of this server is neither changed nor deleted."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse an id that is not there."""
        roles.get(parts["role_id"])

    def put(self, role_id: str, body: RoleRow, caller: Caller) -> RoleOut:
        """Change the whole row."""
        return RoleOut.of(roles.change(caller, role_id, body.name, body.description, body.permissions))

    def delete(self, role_id: str, body: Proof, caller: Caller) -> None:
        """Delete it; nobody has it any more."""
        roles.remove(caller, role_id)


class Permissions(Resource):
    """The permissions that roles and tokens may name, this server's own among them."""

    def get(self) -> PermissionsOut:
        """List them."""
        return PermissionsOut(permissions=[PermissionOut.of(one) for one in permissions.every()])

    def post(self, body: PermissionIn, caller: Caller) -> PermissionMade:
        """Describe one of a service's."""
        return PermissionMade(**PermissionOut.of(permissions.add(caller, body.name, body.description)).model_dump())


class UserRoles(Resource):
    """What a user has in a service."""

    def get(self, user_id: str, service_id: str) -> HeldOut:
        """Show the roles, and the permissions that they give."""
        held = assignments.of(user_id, service_id)
        return HeldOut(roles=[RoleOut.of(one) for one in held.roles], permissions=held.permissions)


class UserRole(Resource):
    """A role of a user. In force on the next request."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse ids that are not there, and a role of another service."""
        assignments.find(parts["user_id"], parts["service_id"], parts["role_id"])

    def post(self, user_id: str, service_id: str, role_id: str, body: Proof, caller: Caller) -> Granted | HasAlready:
        """Give it."""
        return Granted() if assignments.give(caller, user_id, service_id, role_id) else HasAlready()

    def delete(self, user_id: str, service_id: str, role_id: str, body: Proof, caller: Caller) -> None:
        """Take it."""
        assignments.take(caller, user_id, service_id, role_id)


def shown(role: Role) -> dict[str, object]:
    """The values of `RoleOut`'s fields."""
    made = {"description": role.description or "", "permissions": roles.permissions_in(role)}
    return {name: getattr(role, name) for name in RoleOut.model_fields} | made
