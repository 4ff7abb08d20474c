"""What the bench needs from the machine: two cores, the peers' own Python, a PostgreSQL, a Redis, wrk. It leaves nothing behind.

BENCH_POSTGRES and BENCH_REDIS say where the databases are, if not on this machine with its defaults.
"""

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import redis

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://127.0.0.1:5432/postgres")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")
PEERS_PYTHON = HERE / ".venv" / "bin" / "python"
_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _cores[0], _cores[-1]


def check() -> None:
    """Stop with a sentence where something is missing; else move this process to the load's core."""
    if SERVER_CORE == LOAD_CORE:
        sys.exit("The bench needs two cores: one for the server, one for the load.")
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"The bench needs {tool} (on Debian: apt-get install {'util-linux' if tool == 'taskset' else tool}).")
    os.sched_setaffinity(0, {LOAD_CORE})


def described() -> str:
    """The machine in a few words."""
    with psycopg.connect(POSTGRES) as db:
        version = db.info.server_version // 10000
    return f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, Python {platform.python_version()}, PostgreSQL {version}"


def install_peers() -> None:
    """Make the peers' own environment from the lock, once, and bring it up to date."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    if not PEERS_PYTHON.exists():
        subprocess.run([*uv, "venv", "--python", sys.executable, str(HERE / ".venv")], check=True)
    subprocess.run([*uv, "pip", "sync", "--python", str(PEERS_PYTHON), "--require-hashes", str(HERE / "requirements.txt")], check=True)


@contextmanager
def database() -> Iterator[str]:
    """The address of an empty PostgreSQL database, dropped at the end."""
    name = f"gatehouse_bench_{uuid4().hex[:8]}"
    with psycopg.connect(POSTGRES, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(POSTGRES)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(POSTGRES, autocommit=True) as db:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis_database() -> Iterator[str]:
    """The address of a Redis database that was empty, and is again at the end. The highest such number is taken."""
    for number in range(15, 0, -1):
        address = f"{REDIS}/{number}"
        with redis.Redis.from_url(address) as client:
            if client.dbsize() == 0:
                client.set("gatehouse:bench", "taken")
                try:
                    yield address
                finally:
                    client.flushdb()
                return
    sys.exit("The bench needs an empty Redis database with a number from 1 to 15.")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path, port: int) -> Iterator[int]:
    """The server of this command, on the server's core, from when it answers until the end of the block; its process id."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command], env=os.environ | environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _await(server, port, log)
        yield server.pid
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(15)
        server.kill()


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
            break
    sys.exit(f"A server did not start:\n{log.read_text()[-3000:]}")
