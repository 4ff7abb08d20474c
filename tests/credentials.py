"""API keys and application tokens as tests make and carry them."""

from typing import Any

from domain import accounts, clock
from domain.database import transaction
from model import Service
from tests.visitor import PASSWORD

FORM = r"gh_key_[0-9A-Za-z]{49}"
APP_FORM = r"gh_app_[0-9A-Za-z]{49}"


def make_key(house, tokens, **fields: Any) -> dict[str, Any]:
    """A new key of who has these tokens, as it is answered."""
    answer = house.post("/keys/create", fields, token=tokens["access_token"])
    assert answer.status == 201, answer.body
    return answer.json


def by_key(key: str) -> dict[str, Any]:
    """What a request with this key is made with."""
    return {"headers": {"X-API-Key": key}}


def by_app_token(token: str) -> dict[str, Any]:
    """What a request with this application token is made with."""
    return {"headers": {"X-App-Token": token}}


def make_service(name: str, *, is_active: bool = True) -> str:
    """The id of a new service."""
    with transaction() as db:
        db.add(Service(id=name, name=name, description=f"The {name}", is_active=is_active, created_at=clock.now()))
    return name


def make_app_token(house, admin, service_id: str, **fields: Any) -> dict[str, Any]:
    """A new token of a service, made by this administrator, as it is answered."""
    answer = house.post("/api/tokens/", {"service_id": service_id, "name": "Test", **fields}, token=admin["access_token"])
    assert answer.status == 201, answer.body
    return answer.json


def admin_of(house, email: str) -> dict[str, Any]:
    """The tokens of a new administrator."""
    accounts.create(email, PASSWORD, admin=True)
    return house.login(email).json
