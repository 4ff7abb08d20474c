"""What was measured, in words and tables: on the screen and in results.md."""

from pathlib import Path
from typing import Any, NamedTuple

import asking
import machine
import stopwatch
from servers import BARE, CURRENT_USER, FASTAPI_USERS, FLASK_SECURITY, GATEHOUSE, LOGIN, REFRESH, SIGN_UP, TOKEN_CHECK
from stopwatch import Comparison

PAGE = Path(__file__).with_name("results.md")
PEERS = (FLASK_SECURITY.name, FASTAPI_USERS.name)
ASKING = "## What services ask"
EQUAL = "## Can a stopwatch tell what an address has?"
Rates = dict[tuple[str, str], float]  # Requests a second by server and operation.


class Busy(NamedTuple):
    """Over all measurements: the least share of its core that a server had, the most that was used of the load's core."""

    server: float
    load: float


def page(rates: Rates, busy: Busy, sizes: dict[str, tuple[float, float]], timesheet: dict[str, Any]) -> str:
    """The page but for the sections that can be measured by themselves."""
    sections = "\n\n".join(
        [
            "# How fast Gatehouse is",
            _introduction(busy),
            "## Beside its peers",
            _comparison(rates),
            "## The aims",
            _aims(rates),
            "## Does it get slower as it fills?",
            _sizes(sizes),
            "## Where the time of `GET /profile` goes",
            _timesheet(timesheet),
        ]
    )
    return f"{sections}\n"


def with_section(page: str, heading: str, text: str) -> str:
    """The page with this section written anew, at its end if it was not there."""
    before, _, after = page.partition(heading)
    rest = after.partition("\n## ")
    section = f"{before.rstrip()}\n\n{heading}\n\n{text}\n"
    return f"{section}\n## {rest[2]}" if rest[2] else section


def asked(rates: dict[str, asking.Rates]) -> str:
    """What services ask, with few rows and with many, against the bare route."""
    bare = rates.pop(BARE).few
    rows = [
        [name, f"{few:,.0f}", f"{many:,.0f}", f"{many / few:.2f}", f"{few / bare:.2f}", "yes" if few >= bare / 2 else "no"]
        for name, (few, many) in rates.items()
    ]
    (few_keys, few_roles), (many_keys, many_roles) = asking.FEW, asking.MANY
    text = (
        f"{few_keys:,} and {many_keys:,} API keys and as many application tokens, {few_roles:,} and {many_roles:,} roles, of which each of "
        f"{asking.ACCOUNTS:,} accounts has three. The bare route answers {bare:,.0f} requests a second; the aim is half of that."
    )
    return f"{text}\n\n" + _table(["", "few", "many", "many ÷ few", "÷ bare route", "aim reached"], rows)


def _introduction(busy: Busy) -> str:
    return (
        f"Measured by `make bench` in one run on {machine.described()}. Each server has one worker on one core; "
        "wrk asks from the other core, over 16 connections that stay open. PostgreSQL and Redis run where the kernel puts them. "
        "The servers are up at the same time and take turns; a figure is the median of the rounds, in requests a second. "
        "Read the ratios: the figures are this machine's.\n\n"
        f"Each server had {busy.server:.0%} of its core or more while it was asked; the load's core was busy {busy.load:.0%} of the time "
        "or less. Much less than 90 % of the first, or 100 % of the second, means that something else was running.\n\n"
        "The work is alike where the servers allow it: bcrypt at cost 4, so that the hash does not hide the rest; 2,000 accounts; "
        "at most 16 database connections, all of them kept. Gatehouse runs as in production, with its revocation check, its log and "
        "its failure budgets; only the limits by address and user are off. It also does what the peers don't: its sign-up writes a link, "
        "a code and a mail, its login a session and a device, and every access token is looked up. The peers mail nothing, and "
        "fastapi-users keeps no sessions and has no refresh tokens. Both peers look an address up in lower case without an index for it, "
        "and would be slower with more accounts."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _comparison(rates: Rates) -> str:
    rows = []
    for operation in (BARE, TOKEN_CHECK, CURRENT_USER, LOGIN, REFRESH, SIGN_UP):
        ours, theirs = rates[GATEHOUSE.name, operation], [rates.get((peer, operation)) for peer in PEERS]
        figures = [f"{rate:,.0f}" if rate else "none" for rate in (ours, *theirs)]
        rows.append([operation, *figures, *(f"{ours / rate:.2f}" if rate else "" for rate in theirs)])
    return _table(["", GATEHOUSE.name, *PEERS, *(f"÷ {peer}" for peer in PEERS)], rows)


def _aims(rates: Rates) -> str:
    ours = {operation: rate for (name, operation), rate in rates.items() if name == GATEHOUSE.name}
    aims = [
        ("the current user, against fastapi-users", ours[CURRENT_USER] / rates[FASTAPI_USERS.name, CURRENT_USER], 3.0),
        ("the token check, against the bare route", ours[TOKEN_CHECK] / ours[BARE], 0.5),
    ]
    for operation in (LOGIN, REFRESH, SIGN_UP):
        fastest = max(rates.get((peer, operation), 0) for peer in PEERS)
        aims.append((f"{operation}, against the faster peer that has it", ours[operation] / fastest, 1.5))
    return _table(
        ["", "ratio", "aim", "reached"], [[what, f"{ratio:.2f}", f"{aim}", "yes" if ratio >= aim else "no"] for what, ratio, aim in aims]
    )


def _sizes(sizes: dict[str, tuple[float, float]]) -> str:
    rows = [[operation, f"{small:,.0f}", f"{large:,.0f}", f"{large / small:.2f}"] for operation, (small, large) in sizes.items()]
    text = "The same Gatehouse with 1,000 and with 1,000,000 rows of each kind: accounts, open sessions, ended sessions."
    return f"{text}\n\n" + _table(["", "1,000", "1,000,000", "ratio"], rows)


def _timesheet(timesheet: dict[str, Any]) -> str:
    libraries = _table(["library", "share"], [[name, f"{share:.1%}"] for name, share in timesheet["libraries"]])
    functions = _table(
        ["function of ours, with all it calls", "share"], [[f"`{name}`", f"{share:.1%}"] for name, share in timesheet["functions"]]
    )
    text = (
        f"{timesheet['microseconds']:.0f} µs of processor time a request, without network and server, sampled in one process. "
        "Waiting for Redis and PostgreSQL is not in it; what C code takes is counted where it was called."
    )
    return f"{text}\n\n{libraries}\n\n{functions}"


def stopped(compared: list[Comparison]) -> str:
    """Whether answers about some addresses come sooner or later than about others."""
    many = stopwatch.SAMPLES
    usual = 1.36 * (2 / many) ** 0.5
    text = (
        f"{many} answers about addresses of each kind beside {many} about addresses that nobody has, taken in turns over one "
        "connection; each address is asked about once. D is the Kolmogorov-Smirnov distance of the two distributions, from 0 (the "
        "same) to 1 (apart); p is the chance of such a D where there is no difference. Two samples of one kind have a D below "
        f"{usual:.3f} nineteen times out of twenty, so of these {len(compared)} comparisons one or two above it mean nothing. The hash "
        "is bcrypt at cost 4 and takes 1 ms; at the default cost of 12 it takes 200 times as long, and hides the rest that much better."
    )
    rows = [
        [one.flow, one.state, f"{one.median:.2f}", f"{(one.median - one.unknown) * 1000:+.0f}", f"{one.distance:.3f}", f"{one.chance:.3f}"]
        for one in compared
    ]
    return f"{text}\n\n" + _table(["asked", "about an address", "median, ms", "against unknown, µs", "D", "p"], rows)
