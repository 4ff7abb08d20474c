"""`make faults`: every scenario on PostgreSQL with Redis and two hosts, then on SQLite alone; exit status 1 on a violation."""

import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults import acts, wire
from faults.crowd import Crowd
from faults.house import House
from faults.people import Person
from faults.run import Row, Scenario, play
from faults.scenarios import SCENARIOS
from faults.stores import TOOLS, Cluster
from tests.attacks.stores import Store
from tests.serving import free_port

PEOPLE = 6
SHARES = {"postgresql": 1.0, "sqlite": 0.6}  # Of a scenario's seconds.
HEADER = "| database | scenario | faults | requests | outcome unknown | of it 503 | letters twice | longest recovery | violations |"
LINE = "| --- | --- " + "| ---: " * 7 + "|"


def main() -> int:
    """The exit status."""
    options = ArgumentParser(prog="python -m faults", description=__doc__)
    options.add_argument("--only", action="append", help="a scenario's name, or the beginning of it")
    options.add_argument("--database", choices=["postgresql", "sqlite"], action="append")
    options.add_argument("--scale", type=float, default=1, help="so many times as long")
    options.add_argument("--again", action="store_true", help="play a scenario with a violation once more; what comes twice counts")
    options.add_argument("--bound", type=float, default=wire.bound, help="seconds for an answer, and until the service is back")
    given = options.parse_args()
    wire.bound = given.bound
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows: list[Row] = []
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gatehouse-faults-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user.
        for database in given.database or ["postgresql", "sqlite"]:
            found, more = visit(database, Path(folder), given)
            rows += found
            violations += more
    print(table(rows))
    for one in violations:
        print(f"\nVIOLATION {one}")
    print(f"\n{sum(row.faults for row in rows)} faults, {sum(row.requests for row in rows)} requests, {len(violations)} violations")
    return 1 if violations else 0


def visit(database: str, folder: Path, given: Namespace) -> tuple[list[Row], list[str]]:
    """Play the chosen scenarios on one kind of house."""
    chosen = [one for one in SCENARIOS if not given.only or any(one.name.startswith(name) for name in given.only)]
    if database == "postgresql" and (lacking := lacks()):
        return [Row(database, one.name, skipped=lacking) for one in chosen], []
    rows: list[Row] = []
    violations: list[str] = []
    with house_on(database, folder) as house:
        crowd, canary = Crowd(house, PEOPLE), Person(house)
        acts.join(canary)
        for scenario in chosen:
            for is_last in (not given.again, True):
                row, more = one_of(house, crowd, canary, scenario, given.scale * SHARES[database])
                rows.append(row)
                print("\n".join([as_line(row), *more]), file=sys.stderr, flush=True)
                if is_last or not more:
                    break
            violations += [f"{house.name}, {scenario.name}: {one}" for one in more]
    return rows, violations


def one_of(house: House, crowd: Crowd, canary: Person, scenario: Scenario, scale: float) -> tuple[Row, list[str]]:
    """Play it, or say what is lacking."""
    if lacking := scenario.lacks(house):
        return Row(house.name, scenario.name, skipped=lacking), []
    return play(house, crowd, canary, scenario, scale)


@contextmanager
def house_on(database: str, folder: Path) -> Iterator[House]:
    """A house that runs: on PostgreSQL and Redis of its own with two hosts, or on SQLite alone."""
    place = folder / database
    place.mkdir()
    with ExitStack() as stack:
        cluster, store = None, None
        if database == "postgresql":
            cluster, store = Cluster(place), Store(free_port(), place)
            stack.callback(store.kill)
            stack.callback(cluster.stop, "immediate")
        house = House(database, place, 2 if cluster else 1, cluster, store)
        stack.push(house)
        yield house.__enter__()


def lacks() -> str:
    """What this machine has not."""
    missing = [name for name, found in (("PostgreSQL", TOOLS), ("redis-server", shutil.which("redis-server"))) if not found]
    return f"{' and '.join(missing)} not installed" if missing else ""


def table(rows: list[Row]) -> str:
    """All figures."""
    return "\n".join([HEADER, LINE, *map(as_line, rows)])


def as_line(row: Row) -> str:
    """One row of it."""
    if row.skipped:
        return f"| {row.house} | {row.scenario} | left out: {row.skipped} |"
    figures = (row.faults, row.requests, row.unknown, row.unavailable, row.doubles, f"{row.recovery:.1f} s", row.violations)
    return f"| {row.house} | {row.scenario} | " + " | ".join(map(str, figures)) + " |"


if __name__ == "__main__":
    sys.exit(main())
