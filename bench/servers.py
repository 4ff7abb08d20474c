"""The three servers: how each is started, filled with accounts, signed in to, and asked for the same work."""

import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import rows
from cryptography.fernet import Fernet
from load import Operation, ask

PASSWORD = "seven-quiet-lanterns-42"
JSON, FORM = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}
BARE, TOKEN_CHECK, CURRENT_USER = "bare route", "token check", "current user"
LOGIN, REFRESH, SIGN_UP = "login", "refresh", "sign-up"
APP_TOKEN, API_KEY, INTROSPECTION, VERIFY = "application token", "API key", "introspection", "/verify"
SERVICE = (APP_TOKEN, API_KEY, INTROSPECTION, VERIFY)  # What services ask.
GRANIAN = ["-m", "granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "8", "--no-ws", "--host", "127.0.0.1", "--port"]


def encoded(body: dict[str, Any]) -> str:
    """As JSON; nothing for no body."""
    return json.dumps(body) if body else ""


def _posted(path: str, body: dict[str, str], **more: Any) -> Operation:
    return Operation("POST", path, JSON, json.dumps(body), **more)


@dataclass(frozen=True)
class Kind:
    """A server as its guide sets it up: its operations by name, and where its tokens stand in an answer to a login."""

    name: str
    operations: dict[str, Operation]
    access: Callable[[Any], str]
    refresh: Callable[[Any], str]
    fill: rows.Fill


@dataclass(frozen=True)
class Server:
    """A kind of server that is running."""

    kind: Kind
    port: int
    pid: int
    accounts: int
    environment: dict[str, str]

    def sign_in(self, number: int) -> list[Any]:
        """The answers to the logins of so many accounts, drawn from all of them."""
        chosen = random.sample(range(1, self.accounts + 1), number)
        return [ask(self.port, self.kind.operations[LOGIN], account=f"account-{n}@example.com") for n in chosen]


GATEHOUSE = Kind(
    "Gatehouse",
    {
        BARE: Operation("GET", "/healthz"),
        TOKEN_CHECK: Operation("GET", "/auth/status", {"Authorization": "Bearer <token>"}),
        CURRENT_USER: Operation("GET", "/profile", {"Authorization": "Bearer <token>"}),
        LOGIN: _posted("/login", {"email": "<account>", "password": PASSWORD}),
        REFRESH: Operation("POST", "/refresh", {"Authorization": "Bearer <token>"}, chained=True),
        SIGN_UP: _posted("/signup", {"email": "<fresh>", "password": PASSWORD}),
        APP_TOKEN: Operation("GET", "/api/tokens/validate", {"X-App-Token": "<token>"}),
        API_KEY: Operation("GET", "/api/auth/me", {"X-API-Key": "<token>"}),
        INTROSPECTION: Operation("POST", "/oauth/introspect", FORM, "token=<token>&client_id=<service>&client_secret=<secret>"),
        VERIFY: Operation("GET", "/verify?service=notes&permission=notes:read", {"Authorization": "Bearer <token>"}),
    },
    access=lambda answer: str(answer["access_token"]),
    refresh=lambda answer: str(answer["refresh_token"]),
    fill=rows.fill_gatehouse,
)
FLASK_SECURITY = Kind(
    "Flask-Security-Too",
    {
        CURRENT_USER: Operation("GET", "/me", {"Authentication-Token": "<token>"}),
        LOGIN: _posted("/login?include_auth_token", {"email": "<account>", "password": PASSWORD}),
        REFRESH: _posted("/refresh-token", {"refresh_token": "<token>"}, chained=True),
        SIGN_UP: _posted("/register", {"email": "<fresh>", "password": PASSWORD, "password_confirm": PASSWORD}),
    },
    access=lambda answer: str(answer["response"]["user"]["authentication_token"]),
    refresh=lambda answer: str(answer["response"]["user"]["refresh_token"]),
    fill=rows.fill_flask_security,
)
FASTAPI_USERS = Kind(
    "fastapi-users",
    {
        CURRENT_USER: Operation("GET", "/users/me", {"Authorization": "Bearer <token>"}),
        LOGIN: Operation(
            "POST",
            "/auth/jwt/login",
            {"Content-Type": "application/x-www-form-urlencoded"},
            f"username=<account>&password={PASSWORD}",
        ),
        SIGN_UP: _posted("/auth/register", {"email": "<fresh>", "password": PASSWORD}),
    },
    access=lambda answer: str(answer["access_token"]),
    refresh=lambda _: "",
    fill=rows.fill_fastapi_users,
)


def gatehouse_environment(database: str, redis_database: str, folder: Path) -> dict[str, str]:
    """Gatehouse's settings: as in production, but the cheapest hash, and no limits by address and user."""
    return {
        "APP_ENV": "production",
        "PYTHONPATH": str(machine.ROOT),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "FERNET_KEY": Fernet.generate_key().decode(),
        "SQLALCHEMY_DATABASE_URI": database,
        "DATABASE_POOL_SIZE": "8",
        "REDIS_URL": redis_database,
        "INSTANCE_DIR": str(folder / "instance"),
        "UPLOADS_DIR": str(folder / "uploads"),
        "BCRYPT_ROUNDS": "4",
        "RATE_LIMIT_ENABLED": "false",
    }


@contextmanager
def gatehouse(folder: Path, accounts: int, sessions: int = 0) -> Iterator[Server]:
    """Gatehouse in an environment of its own, with so many accounts, open sessions and ended sessions."""
    with machine.database() as database, machine.redis_database() as redis_database:
        port = machine.free_port()
        environment = gatehouse_environment(database, redis_database, folder)
        prepare_gatehouse(environment, folder)
        with machine.running([sys.executable, *GRANIAN, str(port), "--factory", "app:create_app"], environment, folder, port) as pid:
            server = Server(GATEHOUSE, port, pid, accounts, os.environ | environment)
            ask(port, GATEHOUSE.operations[LOGIN], account=rows.SEED)
            rows.fill_gatehouse(database, accounts, sessions)
            yield server


def prepare_gatehouse(environment: dict[str, str], folder: Path) -> None:
    """Migrate the database and make the account that the others are copied from."""
    flask = [sys.executable, "-m", "flask", "--app", "app"]
    for command, typed in ((["migrate", "up"], ""), (["users", "create", rows.SEED, "--admin", "--password-stdin"], PASSWORD)):
        done = subprocess.run(
            [*flask, *command], input=typed, env=os.environ | environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"flask {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def flask_security(folder: Path, accounts: int) -> Iterator[Server]:
    """Flask-Security-Too on the same server as Gatehouse, which suits it better than gunicorn."""
    with _peer(FLASK_SECURITY, [*GRANIAN, "<port>", "flask_security_app:app"], folder, accounts) as server:
        yield server


@contextmanager
def fastapi_users(folder: Path, accounts: int) -> Iterator[Server]:
    """fastapi-users on uvicorn, as its example is."""
    with _peer(FASTAPI_USERS, ["-m", "uvicorn", "--port", "<port>", "fastapi_users_app:app"], folder, accounts) as server:
        yield server


@contextmanager
def all_three(folder: Path, accounts: int) -> Iterator[list[Server]]:
    """All of them at once; whoever is not asked costs nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(start(folder, accounts)) for start in (gatehouse, flask_security, fastapi_users)]


@contextmanager
def _peer(kind: Kind, arguments: list[str], folder: Path, accounts: int) -> Iterator[Server]:
    port = machine.free_port()
    command = [str(machine.PEERS_PYTHON), *(word.replace("<port>", str(port)) for word in arguments)]
    with machine.database() as database:
        environment = {"DATABASE_URI": database, "SECRET_KEY": secrets.token_urlsafe(48), "PYTHONPATH": str(machine.HERE / "peers")}
        with machine.running(command, environment, folder, port) as pid:
            ask(port, kind.operations[SIGN_UP], fresh=rows.SEED)
            kind.fill(database, accounts)
            yield Server(kind, port, pid, accounts, os.environ | environment)
