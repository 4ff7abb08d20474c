"""Can a stopwatch tell what an address has? Answers about unknown addresses beside answers about addresses of every other kind.

The samples are taken in turns over one connection, in a new order each time and each about an address that was not asked about
before, so what else the machine does falls on all alike. The hash is the cheapest there is, so that it hides nothing.
"""

import http.client
import json
import random
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import rows
import servers
from kolmogorov import chance, distance
from load import ask
from servers import GATEHOUSE, LOGIN, SIGN_UP, Server

SAMPLES, WARM_UP = 200, 20
WRONG = "nobody-has-this-password"
UNKNOWN, AGAIN = "unknown", "unknown, once more"  # What two samples of the same kind differ by, as a measure for the others.
STATES = (UNKNOWN, AGAIN, *rows.STATES)
FLOWS: dict[str, tuple[str, dict[str, str]]] = {
    "login": ("/login", {"password": WRONG}),
    "forgot-password": ("/forgot-password", {}),
    "signup": ("/signup", {"password": WRONG}),
    "send-otp": ("/send-otp", {}),
}


class Comparison(NamedTuple):
    """How the times of a flow for one state lie to those for unknown addresses: medians in milliseconds, the two-sample
    Kolmogorov-Smirnov distance, and the chance of a distance as great where there is nothing to see.
    """

    flow: str
    state: str
    median: float
    unknown: float
    distance: float
    chance: float


def compare(folder: Path) -> list[Comparison]:
    """Every flow and state, against a server of its own."""
    with servers.gatehouse(folder, 1) as server:
        _prepare(server)
        return [one for flow in FLOWS for one in _compared(flow, _samples(server, flow))]


def _prepare(server: Server) -> None:
    """Addresses in every state. Who has an account that can be signed in to has done so, as its owner would have."""
    ask(server.port, GATEHOUSE.operations[SIGN_UP], fresh=rows.SEED_ATTEMPT)
    numbers = range(len(FLOWS) * (SAMPLES + WARM_UP))
    database = server.environment["SQLALCHEMY_DATABASE_URI"]
    rows.fill_states(database, {state: [_address(state, number) for number in numbers] for state in rows.STATES})
    for state, number in product(rows.WITH_PASSWORD, numbers):
        ask(server.port, GATEHOUSE.operations[LOGIN], account=_address(state, number))
    rows.change_states(database)


def _address(state: str, number: int) -> str:
    """As long for every state."""
    return f"{number:05}.{STATES.index(state)}@example.com"


def _samples(server: Server, flow: str) -> dict[str, list[float]]:
    """The milliseconds that answers took, by state."""
    path, more = FLOWS[flow]
    first = list(FLOWS).index(flow) * (SAMPLES + WARM_UP)
    found = defaultdict[str, list[float]](list)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for number in range(SAMPLES + WARM_UP):
        for state in random.sample(STATES, len(STATES)):
            took = _timed(connection, path, {"email": _address(state, first + number), **more})
            if number >= WARM_UP:
                found[state].append(took)
    connection.close()
    return found


def _timed(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> float:
    sent = json.dumps(body).encode()
    began = perf_counter()
    connection.request("POST", path, sent, servers.JSON)
    answer = connection.getresponse()
    answer.read()
    took = (perf_counter() - began) * 1000
    assert answer.status in (201, 202, 401), answer.status
    return took


def _compared(flow: str, times: dict[str, list[float]]) -> list[Comparison]:
    usual = times.pop(UNKNOWN)
    apart = {state: distance(usual, some) for state, some in times.items()}
    return [
        Comparison(flow, state, median(times[state]), median(usual), apart[state], chance(apart[state], len(usual), len(times[state])))
        for state in STATES
        if state != UNKNOWN
    ]
