"""The load: wrk with one operation, pinned to the load's core, and how busy both cores were meanwhile."""

import http.client
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from machine import LOAD_CORE

CONNECTIONS = 16
SCRIPT = Path(__file__).with_name("load.lua")
runs = count()


@dataclass(frozen=True)
class Operation:
    """One request, with the places that load.lua fills in; `chained` if each answer holds the next request's token."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    chained: bool = False


class Measured(NamedTuple):
    """Requests a second; the share of its core that the server itself had; the share of the other core that was used."""

    rate: float
    server: float
    load: float


class Failed(Exception):
    """Some answers were refusals, so the figure would mean nothing."""


def measure(port: int, pid: int, operation: Operation, tokens: list[str], accounts: int, seconds: int) -> Measured:
    """Ask for `seconds` over 16 connections; `Failed` if any answer was not a success."""
    with tempfile.NamedTemporaryFile("w", suffix=".tokens") as file:
        file.write("\n".join(tokens or [""]) + "\n")
        file.flush()
        command, before = _command(port, operation, file.name, accounts, seconds), _Clocks.read(pid)
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = _Clocks.read(pid)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output)
    if not found:
        raise Failed(f"wrk said nothing of use: {output}")
    requests, microseconds, refused, lost = map(int, found.groups())
    if refused or lost or not requests:
        raise Failed(f"{operation.method} {operation.path}: of {requests} requests {refused} were refused and {lost} lost")
    return Measured(requests * 1e6 / microseconds, *after.shares_since(before))


def ask(port: int, operation: Operation, **values: str) -> Any:
    """One request with the places filled in; its JSON. `Failed` if the answer is not a success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {name: _filled(value, values) for name, value in operation.headers.items()}
    connection.request(operation.method, _filled(operation.path, values), _filled(operation.body, values), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status >= 300:
        raise Failed(f"{operation.method} {operation.path}: {answer.status} {content[:500]!r}")
    return json.loads(content)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"<([a-z]+)>", lambda place: values[place[1]], text)


def _command(port: int, operation: Operation, tokens: str, accounts: int, seconds: int) -> list[str]:
    threads = CONNECTIONS if operation.chained else 1
    headers = [f"-H{name}: {value}" for name, value in operation.headers.items()]
    wrk = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout=10s", *headers, f"-s{SCRIPT}"]
    arguments = [
        operation.method,
        operation.path,
        operation.body,
        f"fresh-{next(runs)}",
        str(accounts),
        "chained" * operation.chained,
        tokens,
    ]
    return ["taskset", "-c", str(LOAD_CORE), *wrk, f"http://127.0.0.1:{port}", "--", *arguments]


class _Clocks(NamedTuple):
    """What Linux has counted so far, in ticks: of the server and its workers, and of the load's core, idle and in all."""

    server: int
    idle: int
    all: int

    @classmethod
    def read(cls, pid: int) -> "_Clocks":
        """The clocks now."""
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        server = sum(sum(map(int, Path(f"/proc/{one}/stat").read_text().rsplit(")")[-1].split()[11:13])) for one in (pid, *workers))
        core = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{LOAD_CORE} "))
        ticks = [int(number) for number in core.split()[1:]]
        return cls(server, ticks[3] + ticks[4], sum(ticks))

    def shares_since(self, before: "_Clocks") -> tuple[float, float]:
        """How much of one core the server had since then, and how much of its core the load and others used."""
        passed = max(1, self.all - before.all)
        return (self.server - before.server) / passed, 1 - (self.idle - before.idle) / passed
