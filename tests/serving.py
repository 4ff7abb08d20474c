"""A real server: gunicorn with several worker processes on loopback, seen from outside, and its mail read from inside."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

import config
from domain import cache, database, schema
from tests.mailbox import Mailbox
from tests.visitor import Visitor, over_http

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 3


class Server(Visitor):
    """A visitor of a real server that runs while the block does. This process shares its settings, to read its mail."""

    def __init__(self, settings: dict[str, Any], *, jobs: bool = False) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.settings = {**settings, "BASE_URL": settings.get("BASE_URL", self.base), "JOBS_IN_PROCESS": jobs}
        super().__init__(over_http(self.base), Mailbox())

    def __enter__(self) -> "Server":
        config.load(**self.settings)
        database.connect(config.settings)
        cache.connect(config.settings)
        schema.upgrade()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if cache.client is not None:
            cache.client.close()
        database.disconnect()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "app:create_app()", "--bind", f"127.0.0.1:{self.port}", "--no-control-socket"]
        command += ["--workers", str(WORKERS), "--threads", "8", "--log-level", "warning", "--limit-request-field_size", "65536"]
        environment = {**os.environ, **{name: str(value) for name, value in self.settings.items()}}
        self.log = config.settings.INSTANCE_DIR / "server.out"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)
        for _ in range(200):
            if self.answers():
                return
            time.sleep(0.1)
        self.stop()
        raise AssertionError(self.log.read_text()[-3000:])

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return requests.get(self.base + "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and its workers."""
        os.killpg(self.process.pid, number)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(15)


def at_once(times: int, act: Callable[[int], Any]) -> list[Any]:
    """Do something many times at once, as parallel clients would; what each of them got."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(act, range(times)))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
