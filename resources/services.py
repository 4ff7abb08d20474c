"""Services: list them, add, change and delete them."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from domain import services
from domain.app_tokens import Asking
from domain.caller import Caller
from model import Service
from resources.base import Resource
from resources.shapes import Description, Given, Label, Out, Proof

Active = Annotated[bool, Field(examples=[True], description="While it is not, its tokens are refused and its roles give nothing.")]


class ServiceIn(Proof):
    """A new service."""

    name: Label
    description: Given[Description] = None
    is_active: Given[Active] = None


class ServiceRow(Proof):
    """The whole row: a description that is left out is empty."""

    name: Label
    description: Given[Description] = None
    is_active: Active


class ServiceOut(Out):
    """A service. `name` is what tokens and queries call it, `id` what paths and OAuth do."""

    id: str
    name: str
    description: str
    is_active: bool
    created_at: datetime

    @classmethod
    def of(cls, service: Service | Asking) -> "ServiceOut":
        """This service."""
        return cls(**shown(service))


class ServiceMade(ServiceOut):
    """The new service."""

    http_status: ClassVar[int] = 201


class ServicesOut(Out):
    """Services, by name."""

    services: list[ServiceOut]


class Services(Resource):
    """All services, this server's own (`gatehouse`) among them."""

    def get(self) -> ServicesOut:
        """List them."""
        return ServicesOut(services=[ServiceOut.of(one) for one in services.every()])

    def post(self, body: ServiceIn, caller: Caller) -> ServiceMade:
        """Add one."""
        made = services.add(caller, body.name, body.description, is_active=body.is_active is not False)
        return ServiceMade(**shown(made))


class ServiceById(Resource):
    """One service. This server's own keeps its name, stays active, and can't be deleted."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse an id that is not there."""
        services.get(parts["service_id"])

    def put(self, service_id: str, body: ServiceRow, caller: Caller) -> ServiceOut:
        """Change the whole row."""
        return ServiceOut.of(services.change(caller, service_id, body.name, body.description, is_active=body.is_active))

    def delete(self, service_id: str, body: Proof, caller: Caller) -> None:
        """Delete it with its roles, who has them, and its tokens."""
        services.remove(caller, service_id)


class OwnServices(Resource):
    """The services where the caller has a role."""

    def get(self, caller: Caller) -> ServicesOut:
        """List them."""
        return ServicesOut(services=[ServiceOut.of(one) for one in services.of_user(caller.user_id)])


def shown(service: Service | Asking) -> dict[str, object]:
    """The values of `ServiceOut`'s fields."""
    return {name: getattr(service, name) for name in ServiceOut.model_fields} | {"description": service.description or ""}
