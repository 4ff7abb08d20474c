"""One scenario on one house: people act, something fails again and again, and then everything is looked at."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faults import acts, ends, wire
from faults.crowd import Crowd
from faults.house import House, wait_until
from faults.people import RESET, Person


class Scenario(NamedTuple):
    """A row of the table: what fails, for how many seconds, on which houses, and what may be left by it.

    `lacks` says what this machine lacks for it; then it is left out. `doubles` is how many letters may go twice for each fault,
    besides those whose taking was not answered; `crash`: a picture may lie about whose row never came, until the sweep.
    """

    name: str
    seconds: float
    work: Callable[["Run"], None]
    lacks: Callable[[House], str] = lambda _: ""
    doubles: int = 0
    crash: bool = False
    clocks: int = 1
    is_acted: bool = True  # Whether the crowd acts meanwhile.


class Row(NamedTuple):
    """What came of it; `recovery` in seconds."""

    house: str
    scenario: str
    skipped: str = ""
    faults: int = 0
    requests: int = 0
    unknown: int = 0
    unavailable: int = 0
    doubles: int = 0
    recovery: float = 0.0
    violations: int = 0


class Run:
    """What a scenario may use: the house, its people, and a count of what it has done to them."""

    def __init__(self, house: House, crowd: Crowd, canary: Person, scenario: Scenario, scale: float) -> None:
        self.house, self.crowd, self.canary, self.scenario = house, crowd, canary, scenario
        self.seconds = scenario.seconds * scale
        self.faults, self.recovery = 0, 0.0
        self.violations: list[str] = []

    def goes_on(self) -> Iterator[None]:
        """Again and again, until the time is over; once at least."""
        until = time.monotonic() + self.seconds
        while True:
            yield
            if time.monotonic() > until:
                return

    def fault(self, number: int = 1) -> None:
        """Something was done to the house."""
        self.faults += number

    def back(self) -> None:
        """The fault is over: measure how long it takes until every host has all workers, is ready, and acknowledges a change."""
        self._measure(
            lambda: self.house.is_ready() and all(acts.write(self.canary, by_port=port) for port in self.house.ports), "the service"
        )

    def ready(self) -> None:
        """The same, but nothing has to be acknowledged."""
        self._measure(self.house.is_ready, "the service")

    def answers(self) -> None:
        """Every host has a worker that answers."""
        self._measure(lambda: all(wire.ask(port, "GET", "/healthz").status == 200 for port in self.house.ports), "a host")

    def post_is_back(self) -> None:
        """The same for letters: a new one comes."""
        self.canary.ask("forget", "POST", "/forgot-password", {"email": self.canary.email}, letter=RESET)
        self._measure(lambda: not self.canary.owed(), "the post")

    def pause(self, shortest: float, longest: float) -> None:
        """A while, never the same."""
        time.sleep(random.uniform(shortest, longest))

    def _measure(self, condition: Callable[[], bool], what: str) -> None:
        began = time.monotonic()
        if not wait_until(condition):
            self.violations.append(f"{what} is not back after {wire.bound:.0f} seconds")
        self.recovery = max(self.recovery, time.monotonic() - began)


def play(house: House, crowd: Crowd, canary: Person, scenario: Scenario, scale: float = 1) -> tuple[Row, list[str]]:
    """Run a scenario to its end, looking back included: the row for the table, and every violation in words."""
    run = Run(house, crowd, canary, scenario, scale)
    counts, doubles, files = crowd.counts(), len(house.postbox.doubles()), house.left_over()
    lost = house.postbox.lost_answers
    victim = Person(house)
    acts.join(victim)
    if scenario.is_acted:
        guesser = threading.Timer(run.seconds / 3, ends.guess, (victim,), {"clocks": scenario.clocks})
        guesser.start()
        with crowd:
            scenario.work(run)
        guesser.join()
    else:
        scenario.work(run)
    run.back()
    if not crowd.post_is_there():
        run.violations += [f"a letter is missing: {one}" for one in crowd.owed()]
    crowd.look_back()
    again = house.postbox.doubles()[doubles:]
    if len(again) > scenario.doubles * run.faults + house.postbox.lost_answers - lost:
        run.violations.append(f"letters came twice: {', '.join(again)}")
    if (left := house.left_over() - files) and not scenario.crash:
        run.violations.append(f"pictures are left over: {sorted(left)}")
    run.violations += [*crowd.drain(), *canary.ledger.drain(), *victim.ledger.drain()]
    return _row(run, crowd.counts() - counts, len(again)), run.violations


def _row(run: Run, counts: Counter[str], doubles: int) -> Row:
    return Row(
        house=run.house.name,
        scenario=run.scenario.name,
        faults=run.faults,
        requests=counts["requests"],
        unknown=counts["unknown"],
        unavailable=counts["unavailable"],
        doubles=doubles,
        recovery=run.recovery,
        violations=len(run.violations),
    )
