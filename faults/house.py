"""Gatehouse as it is run: gunicorn masters with workers, which share a database, and the jobs as processes of their own."""

import base64
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from faults import wire
from faults.postbox import Postbox
from faults.stores import Cluster, Disk
from tests.attacks.stores import Store
from tests.serving import ROOT, free_port

WORKERS = 2
Process = subprocess.Popen[bytes]


class House:
    """One service: `hosts` masters on ports of their own, PostgreSQL and Redis if there is a cluster and a store, else SQLite."""

    def __init__(self, name: str, folder: Path, hosts: int, cluster: Cluster | None, store: Store | None) -> None:
        self.name, self.folder, self.cluster, self.store = name, folder, cluster, store
        self.disk = Disk(folder / "disk")
        self.postbox = Postbox()
        self.ports = [free_port() for _ in range(hosts)]
        self.environment = {**os.environ, **self._settings()}
        self.masters: list[Process] = []
        self.jobs: list[Process] = []

    @property
    def database(self) -> Path:
        """SQLite's file."""
        return self.disk.folder / "gatehouse.db"

    @property
    def pictures(self) -> Path:
        """Where pictures are kept."""
        return self.disk.folder / "uploads" / "profile_pictures"

    def __enter__(self) -> "House":
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "migrate", "up"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        for number in range(len(self.ports)):
            self.masters.append(self.start_master(number))
        self.jobs.append(self.start_jobs())
        if not wait_until(self.is_ready):
            self.__exit__()
            raise RuntimeError((self.folder / "out").read_text()[-3000:])
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.masters, *self.jobs):
            kill(process)
        self.postbox.close()
        self.disk.close()

    def start_master(self, number: int, clock: str = "") -> Process:
        """A gunicorn on the port of this number; `clock` sets its clock forward (libfaketime's way to say it)."""
        command = ["gunicorn", "app:create_app()", "--bind", f"127.0.0.1:{self.ports[number]}", "--no-control-socket"]
        return self._start(*command, "--workers", str(WORKERS), "--threads", "8", "--log-level", "warning", clock=clock)

    def start_jobs(self, clock: str = "") -> Process:
        """The scheduler."""
        return self._start("jobs", clock=clock)

    def workers(self, master: Process) -> list[int]:
        """The process ids of a master's workers."""
        with suppress(OSError):
            return [int(one) for one in Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()]
        return []

    def port(self) -> int:
        """One of the hosts, as a balancer would choose."""
        return random.choice(self.ports)

    def is_ready(self) -> bool:
        """Whether every host has all its workers and says that it is ready."""
        if any(len(self.workers(one)) < WORKERS for one in self.masters):
            return False
        return all(wire.ask(port, "GET", "/readyz").status == 200 for port in self.ports)

    def run_job(self, name: str) -> None:
        """Run a job by hand."""
        command = [sys.executable, "-m", "flask", "--app", "app", "jobs", "run", name]
        subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, check=False)

    def left_over(self) -> set[str]:
        """The files of pictures that no account names."""
        uri = self.environment["SQLALCHEMY_DATABASE_URI"].replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(uri, poolclass=NullPool)
        with engine.connect() as connection:
            named = set(connection.scalars(text("SELECT picture FROM users WHERE picture IS NOT NULL")))
        return {path.name for path in self.pictures.glob("*")} - named

    def _start(self, *module: str, clock: str) -> Process:
        more = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "NO_FAKE_STAT": "1"} if clock else {}
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", *module], cwd=ROOT, env={**self.environment, **more}, stdout=out, stderr=out, start_new_session=True
            )

    def _settings(self) -> dict[str, str]:
        """As in production, but for the cheapest hash, short waits, and no limits by address and user."""
        return {
            "APP_ENV": "production",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "SQLALCHEMY_DATABASE_URI": self.cluster.uri if self.cluster else f"sqlite:///{self.database}",
            "REDIS_URL": f"redis://127.0.0.1:{self.store.port}/0" if self.store else "",
            "INSTANCE_DIR": str(self.disk.folder / "instance"),
            "UPLOADS_DIR": str(self.disk.folder / "uploads"),
            "LOG_LEVEL": "WARNING",
            "BASE_URL": f"http://127.0.0.1:{self.ports[0]}",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(self.postbox.port),
            "MAIL_USE_TLS": "false",
            "MAIL_TIMEOUT": "3",
            "MAIL_LIMIT": "5000 per 1 day",
            "BCRYPT_ROUNDS": "4",
            "RATE_LIMIT_ENABLED": "false",
            "RECENT_SIGN_IN_SECONDS": "3600",
            "REFRESH_GRACE_SECONDS": "1",
            "MAX_SESSIONS_PER_USER": "10000",
            "MAX_KEYS_PER_USER": "1000",
        }


def wait_until(condition: Callable[[], bool], seconds: float | None = None) -> bool:
    """Whether it became so in time: within `wire.bound`, if nothing else is said."""
    give_up = time.monotonic() + (seconds or wire.bound)
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.1)
    return True


def kill(process: Process) -> None:
    """End a process and its children at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
