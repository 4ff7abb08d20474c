"""Services as tests see them: with users who have roles there, and asking this server as a service would."""

import base64
import secrets
from typing import Any, NamedTuple

from sqlalchemy import select

from domain import app_tokens, cards, clock
from domain.caller import Caller, Client
from domain.database import new_id, transaction
from domain.permissions import OWN
from model import Assignment, KnownPermission, Role
from tests.credentials import make_service
from tests.visitor import Answer, Visitor

OPERATOR = Caller("", "", 0, 0, (), Client(), "app_token", OWN, "operator", "gatehouse")


class Asking(NamedTuple):
    """A service with an application token, and what it asks. Without `by` it comes by HTTP Basic."""

    house: Visitor
    id: str
    token: str
    token_id: str

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.id}:{self.token}".encode()).decode()

    def ask(self, what: str, **fields: Any) -> Answer:
        return self.house.post(f"/oauth/{what}", data=fields, headers={"Authorization": self.basic})

    def introspect(self, token: str) -> Any:
        answer = self.ask("introspect", token=token)
        assert answer.status == 200, answer.body
        return answer.json

    def own_token(self, **fields: Any) -> str:
        """A JWT for calls to other services."""
        answer = self.ask("token", grant_type="client_credentials", **fields)
        assert answer.status == 200, answer.body
        return answer.json["access_token"]


def service(house: Visitor, *scopes: str, name: str | None = None) -> Asking:
    """A new service with an application token that has these scopes."""
    made = make_service(name or f"service-{secrets.token_hex(4)}")
    known(*scopes)
    row, token = app_tokens.make(OPERATOR, made, "Test", scopes)
    return Asking(house, made, token, row.id)


def known(*permissions: str) -> None:
    """Describe permissions, so that roles and tokens can name them."""
    with transaction() as db:
        for one in permissions:
            if db.get(KnownPermission, one) is None:
                db.add(KnownPermission(name=one, created_at=clock.now()))


def give(user_id: str, service_id: str, role: str, *permissions: str) -> str:
    """Give a user a role of a service, which is made if there is none of this name; the role's id."""
    known(*permissions)
    with transaction() as db:
        made = db.scalar(select(Role).where(Role.service_id == service_id, Role.name == role))
        if made is None:
            made = Role(id=new_id(), service_id=service_id, name=role, permissions=list(permissions), created_at=clock.now())
            db.add(made)
            db.flush()
        db.add(Assignment(user_id=user_id, role_id=made.id, assigned_at=clock.now()))
        cards.mark(db)
        return made.id


def take_away(user_id: str, role_id: str) -> None:
    """Take a role away again."""
    with transaction() as db:
        db.delete(db.get(Assignment, (user_id, role_id)))
        cards.mark(db)
