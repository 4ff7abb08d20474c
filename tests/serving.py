"""A real server: gunicorn with several worker processes on loopback, seen from outside, and its mail read from inside."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import randrange
from typing import Any

import requests
from gunicorn.app import wsgiapp

import config
from domain import activity, cache, database, schema
from tests.mailbox import Mailbox
from tests.visitor import Visitor, over_http

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 3
FORGE = multiprocessing.get_context("forkserver")  # One process per test process has read all code, and each server is forked off it.
FORGE.set_forkserver_preload(["app", "gunicorn.workers.gthread", __name__])
PATIENCE = 60  # Seconds for what takes one or two: tests wait for what happens, not for how long it takes.


class Server(Visitor):
    """A visitor of a real server that runs while the block does. This process shares its settings, to read its mail."""

    def __init__(self, settings: dict[str, Any], *, jobs: bool = False) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.settings = {**settings, "BASE_URL": settings.get("BASE_URL", self.base), "JOBS_IN_PROCESS": jobs}
        super().__init__(over_http(self.base), Mailbox())

    def __enter__(self) -> "Server":
        self.join_in()
        schema.upgrade()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.leave()

    def join_in(self) -> None:
        """From now on this process has its settings, its database and its Redis."""
        config.load(**self.settings)
        database.connect(config.settings)
        cache.connect(config.settings)

    def leave(self) -> None:
        """This process is free for another house. The server runs on."""
        activity.forget()
        if cache.client is not None:
            cache.client.close()
        database.disconnect()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["gunicorn", "app:create_app()", "--bind", f"127.0.0.1:{self.port}", "--no-control-socket"]
        command += ["--workers", str(WORKERS), "--threads", "8", "--log-level", "warning", "--limit-request-field_size", "65536"]
        environment = {**os.environ, **{name: str(value) for name, value in self.settings.items()}}
        self.log = config.settings.INSTANCE_DIR / "server.out"
        self.process = FORGE.Process(target=_serve, args=(command, environment, self.log))
        self.process.start()
        try:
            eventually(self.answers, while_=self.process.is_alive)
        except AssertionError:
            self.stop()
            raise AssertionError(self.log.read_text()[-3000:]) from None

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return requests.get(self.base + "/readyz", timeout=PATIENCE).status_code == 200
        except requests.RequestException:
            return False

    def cpu_seconds(self) -> float:
        """How long its workers have computed so far: what an act has cost, however busy the machine is."""
        workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ticks = (Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split() for worker in workers)
        return sum(int(one[11]) + int(one[12]) for one in ticks) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.join(15)
        if self.process.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join(PATIENCE)


def _serve(command: list[str], environment: dict[str, str], log: Path) -> None:
    """What `gunicorn` does on a command line, in a process group of its own."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = command
    wsgiapp.run(prog="gunicorn")


def at_once(times: int, act: Callable[[int], Any]) -> list[Any]:
    """Do something many times at once, as parallel clients would; what each of them got."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(act, range(times)))


def eventually(condition: Callable[[], Any], *, while_: Callable[[], bool] = lambda: True) -> Any:
    """Wait until it is so, however slow the machine is; what the condition gave. Give up when there is no hope any more."""
    give_up = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert while_(), "it can't happen any more"
        assert time.monotonic() < give_up, f"it did not happen in {PATIENCE} seconds"
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port that nobody listens on, and that nobody is given by chance until it is used: none that the system hands out."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", randrange(10_000, 32_000)))
            return int(probe.getsockname()[1])
