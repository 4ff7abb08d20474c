"""`make bench`: measure Gatehouse beside its peers, at two sizes, and where its time goes; the figures go to results.md."""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import asking
import machine
import report
import servers
import stopwatch
from load import CONNECTIONS, Measured, measure
from servers import CURRENT_USER, GATEHOUSE, LOGIN, REFRESH, TOKEN_CHECK, Server

ROUNDS = 2
SECONDS = 3
WARM_UP_SECONDS = 1
TOKENS = 64  # So many accounts ask in turn, so that no cache of the last caller helps.
SMALL, LARGE = 1_000, 1_000_000
ACCOUNTS = 2_000  # No more: both peers look an address up in lower case, without an index for that.


def main() -> None:
    """The whole bench, six minutes or so; `--only` measures anew what services ask, or whether a stopwatch tells what an address has."""
    options = ArgumentParser(description=main.__doc__)
    options.add_argument("--only", choices=list(PARTS))
    only = options.parse_args().only
    machine.check()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        page = PARTS[only](report.PAGE.read_text(), Path(folder)) if only else everything(Path(folder))
    report.PAGE.write_text(page)
    print(page)


def everything(folder: Path) -> str:
    """The page with every figure measured anew."""
    machine.install_peers()
    rates, busy = beside_peers(folder)
    sizes, timesheet = by_size(folder)
    page = report.page(rates, busy, sizes, timesheet)
    for part in PARTS.values():
        page = part(page, folder)
    return page


def beside_peers(folder: Path) -> tuple[report.Rates, report.Busy]:
    """Every operation of every server, in turns."""
    with servers.all_three(folder, ACCOUNTS) as running:
        turns = [(server, operation) for operation in GATEHOUSE.operations for server in running if operation in server.kind.operations]
        measured = rounds(turns)
    busy = report.Busy(min(one.server for many in measured for one in many), max(one.load for many in measured for one in many))
    rates = [median(one.rate for one in many) for many in measured]
    return {(server.kind.name, operation): rate for (server, operation), rate in zip(turns, rates, strict=True)}, busy


def by_size(folder: Path) -> tuple[dict[str, tuple[float, float]], dict[str, object]]:
    """The operations that every request or sign-in needs, with few rows and with many; and the profile of one of them."""
    operations = (CURRENT_USER, TOKEN_CHECK, LOGIN, REFRESH)
    print(f"filling in {LARGE:,} rows of each kind", file=sys.stderr)
    with servers.gatehouse(folder, SMALL, SMALL) as small, servers.gatehouse(folder, LARGE, LARGE) as large:
        turns = [(server, operation) for operation in operations for server in (small, large)]
        rates = [median(one.rate for one in many) for many in rounds(turns)]
        timesheet = where_time_goes(small, folder)
    return {operation: (rates[2 * n], rates[2 * n + 1]) for n, operation in enumerate(operations)}, timesheet


def rounds(turns: list[tuple[Server, str]]) -> list[list[Measured]]:
    """For each of the turns what was measured, once in each round."""
    found = defaultdict[int, list[Measured]](list)
    for _ in range(ROUNDS):
        for n, (server, operation) in enumerate(turns):
            found[n].append(measure_one(server, operation))
    return list(found.values())


def measure_one(server: Server, operation: str) -> Measured:
    """A short warm-up, then the measurement, each with tokens of its own."""
    work = server.kind.operations[operation]
    for seconds in (WARM_UP_SECONDS, SECONDS):
        measured = measure(server.port, server.pid, work, tokens_for(server, operation), server.accounts, seconds)
    busy = f"server {measured.server:.0%}, load's core {measured.load:.0%}"
    print(f"{server.kind.name:20} {server.accounts:9,} accounts {operation:14} {measured.rate:9,.0f}/s  {busy}", file=sys.stderr)
    return measured


def tokens_for(server: Server, operation: str) -> list[str]:
    """The tokens that the operation needs: refresh tokens if it is chained, else access tokens, or none."""
    work = server.kind.operations[operation]
    if work.chained:
        return [server.kind.refresh(answer) for answer in server.sign_in(CONNECTIONS)]
    if "<token>" in "".join(work.headers.values()):
        return [server.kind.access(answer) for answer in server.sign_in(TOKENS)]
    return []


def where_time_goes(server: Server, folder: Path) -> dict[str, object]:
    """The profile of GET /profile, from a process of its own in the same environment."""
    token = server.kind.access(server.sign_in(1)[0])
    path = server.kind.operations[CURRENT_USER].path
    command = ["taskset", "-c", str(machine.SERVER_CORE), sys.executable, str(machine.HERE / "timesheet.py"), path, token]
    output = subprocess.run(command, env=server.environment, cwd=folder, capture_output=True, text=True, check=True).stdout
    found: dict[str, object] = json.loads(output.splitlines()[-1])
    return found


# Sections that can be measured by themselves: each from the page so far to the page with it.
PARTS: dict[str, Callable[[str, Path], str]] = {
    "asking": lambda page, folder: report.with_section(page, report.ASKING, report.asked(asking.compare(folder))),
    "equal": lambda page, folder: report.with_section(page, report.EQUAL, report.stopped(stopwatch.compare(folder))),
}

if __name__ == "__main__":
    main()
