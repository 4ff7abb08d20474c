"""What services ask: application tokens, API keys, introspection and forward-auth, with few keys and roles and with many."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import rows
import servers
from load import Operation, ask, measure
from servers import API_KEY, APP_TOKEN, BARE, GATEHOUSE, INTROSPECTION, JSON, LOGIN, SERVICE, VERIFY, Server

FEW, MANY = (100, 100), (100_000, 10_000)  # Keys and tokens of each kind, and roles.
ACCOUNTS, CALLERS = 2_000, 64
ROUNDS, SECONDS, WARM_UP_SECONDS = 2, 3, 1


class Rates(NamedTuple):
    """Requests a second, with few rows and with many."""

    few: float
    many: float


class Asked(NamedTuple):
    """A server, and what it is asked with, by operation: the request, and the tokens that take turns in it."""

    server: Server
    work: dict[str, tuple[Operation, list[str]]]


def compare(folder: Path) -> dict[str, Rates]:
    """Every operation, and the bare route beside them."""
    with ExitStack() as stack:
        both = [_filled(stack.enter_context(servers.gatehouse(folder, ACCOUNTS)), *size) for size in (FEW, MANY)]
        found = {name: [[_rate(asked, name) for asked in both] for _ in range(ROUNDS)] for name in (BARE, *SERVICE)}
    return {name: Rates(*(median(one) for one in zip(*rounds, strict=True))) for name, rounds in found.items()}


def _rate(asked: Asked, name: str) -> float:
    operation, tokens = asked.work[name]
    for seconds in (WARM_UP_SECONDS, SECONDS):
        measured = measure(asked.server.port, asked.server.pid, operation, tokens, ACCOUNTS, seconds)
    return measured.rate


def _filled(server: Server, keys: int, roles: int) -> Asked:
    """A service with a role that the callers have, their keys, its tokens; and whatever else there is, by the thousand."""
    admin = ask(server.port, GATEHOUSE.operations[LOGIN], account=rows.SEED)["access_token"]
    service = _post(server, admin, "/api/roles/services", name="notes")["id"]
    _post(server, admin, "/api/roles/permissions", name="notes:read")
    role = _post(server, admin, f"/api/roles/service/{service}", name="reader", permissions=["notes:read"])["id"]
    app_tokens = [_post(server, admin, "/api/tokens", service_id=service, name="bench")["token"] for _ in range(CALLERS)]
    callers = server.sign_in(CALLERS)
    for one in callers:
        _post(server, admin, f"/api/roles/user/{one['user']['id']}/service/{service}/role/{role}")
    access = [one["access_token"] for one in callers]
    api_keys = [_post(server, token, "/keys/create")["api_key"] for token in access]
    rows.fill_services(server.environment["SQLALCHEMY_DATABASE_URI"], ACCOUNTS, keys, roles)
    asks = GATEHOUSE.operations
    body = asks[INTROSPECTION].body.replace("<service>", service).replace("<secret>", app_tokens[0])
    introspection = replace(asks[INTROSPECTION], body=body)
    tokens = {APP_TOKEN: app_tokens, API_KEY: api_keys, VERIFY: access, BARE: []}
    return Asked(server, {name: (asks[name], some) for name, some in tokens.items()} | {INTROSPECTION: (introspection, access)})


def _post(server: Server, token: str, path: str, **body: Any) -> Any:
    return ask(server.port, Operation("POST", path, {**JSON, "Authorization": f"Bearer {token}"}, servers.encoded(body)))
