"""The judge of `make faults` sees what can't be true; and a short run of it finds nothing."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from faults.ledger import NO, UNKNOWN, YES, Event, Ledger, outcome_of
from faults.scenarios import damage
from faults.wire import LOST, Reply
from tests.serving import ROOT

pytestmark = pytest.mark.once


def answer(status, code="", retry_after=None, seconds=0.1):
    return Reply(status, json.dumps({"code": code}).encode() if code else b"{}", retry_after, seconds)


OK, GONE = answer(200), Reply(LOST)
AWAY = answer(503, "unavailable", "2")
REVOKED, USED, WRONG = answer(401, "token_revoked"), answer(400, "token_used"), answer(401, "invalid_credentials")


def event(act, reply, **effects):
    return Event(act, reply, outcome_of(reply), **effects)


def write(value, reply=OK):
    return event("write", reply, sets={"bio": value})


def read(value):
    return event("read", OK, shows={"bio": value})


def use(reply, name="session:1"):
    return event("use", reply, by=name)


def end(reply, name="session:1"):
    return event("end", reply, ends=(name,))


def take(reply, password="new"):
    return event("reset", reply, takes="/link", sets={"password": password}, ends=("session:1",))


def login(password, reply=OK):
    return event("sign in", reply, shows={"password": password}, denies={"password": password} if reply is not OK else {})


OPEN = event("sign in", OK, makes=("session:1",), sets={"password": "old"})
IMPOSSIBLE = {
    "a write that is gone": [write("a"), read("")],
    "a refused write that is there": [write("a"), write("b", WRONG), read("b")],
    "an unknown write that comes and goes": [write("a"), write("b", GONE), read("b"), read("a")],
    "a write that nobody made": [write("a"), write("b", AWAY), read("c")],
    "a session that lives on after its end": [OPEN, end(OK), use(OK)],
    "a session that comes back": [OPEN, end(AWAY), use(REVOKED), use(OK)],
    "a session that nobody has ended": [OPEN, use(REVOKED)],
    "a session that is refused and then was alive": [OPEN, end(GONE), use(OK), use(REVOKED)],
    "a link that is taken twice": [OPEN, take(OK), take(OK)],
    "a link that was lost and is taken twice": [OPEN, take(GONE), take(OK), take(OK)],
    "a link that was used by nobody": [OPEN, take(USED)],
    "a link that was used and has set nothing": [OPEN, take(GONE), take(USED), login("old")],
    "a link that was used and has ended nothing": [OPEN, take(GONE), take(GONE), take(USED), use(OK)],
    "an old password that opens": [OPEN, take(OK), login("old")],
    "a password that was acknowledged and is refused": [OPEN, take(OK), login("new", WRONG)],
    "a second factor that is not asked": [event("turn on", OK, sets={"factor": "on"}), event("sign in", OK, shows={"factor": "off"})],
    "two successors of one refresh token": [event("refresh", OK, shows={"successor": jti}) for jti in "ab"],
    "a failure that is no refusal": [answer(500, "internal_error")],
    "a refusal that does not say when to come back": [answer(503, "unavailable")],
    "a refusal of a proxy": [answer(502)],
    "an answer that nobody waits for": [answer(200, seconds=31)],
}
POSSIBLE = {
    "what was acknowledged": [write("a"), read("a"), write("b"), read("b")],
    "an unknown write that was made": [write("a"), write("b", GONE), read("b"), read("b")],
    "an unknown write that was not": [write("a"), write("b", AWAY), read("a"), write("c"), read("c")],
    "a session that ended though nobody was told": [OPEN, end(AWAY), use(REVOKED), use(AWAY), use(REVOKED)],
    "a session that a refused act left alone": [OPEN, end(WRONG), use(OK)],
    "a link whose answer was lost": [OPEN, take(GONE), take(USED), login("new"), use(REVOKED)],
    "a link that two took, and one got": [OPEN, take(OK), take(GONE, "other"), take(USED, "third"), login("new")],
    "a password that was changed, or not": [OPEN, take(GONE), login("new", WRONG), login("old")],
}


def judged(history):
    ledger = Ledger("jo")
    for one in history:
        ledger.write(one if isinstance(one, Event) else event("ask", one))
    return ledger.violations


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_history_that_can_not_be_true_is_a_violation(name):
    assert len(judged(IMPOSSIBLE[name])) == 1


@pytest.mark.parametrize("name", POSSIBLE)
def test_a_history_that_can_be_true_is_none(name):
    assert judged(POSSIBLE[name]) == []


def test_outcomes():
    assert [outcome_of(one) for one in (OK, REVOKED, AWAY, GONE, answer(500))] == [YES, NO, UNKNOWN, UNKNOWN, UNKNOWN]


def test_while_clocks_differ_a_refusal_proves_nothing_and_what_is_over_stays_over():
    ledger = Ledger("jo")
    ledger.is_skewed = True
    for one in (OPEN, use(REVOKED), use(OK), take(USED), end(OK)):
        ledger.write(one)
    assert ledger.violations == []
    ledger.doubt()
    ledger.is_skewed = False
    ledger.write(use(OK))
    assert len(ledger.violations) == 1


def test_a_damaged_database_is_seen(tmp_path):
    file = tmp_path / "some.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE some (word TEXT); CREATE INDEX by_word ON some (word);")
        connection.executemany("INSERT INTO some VALUES (?)", [(f"word {n}" * 50,) for n in range(200)])
        connection.commit()
    assert damage(file) == ""
    with file.open("r+b") as pages:
        pages.seek(5 * 4096)
        pages.write(b"\xff" * 8192)
    assert damage(file) != ""


def test_a_short_run_finds_nothing():
    command = [sys.executable, "-m", "faults", "--database", "sqlite", "--only", "workers", "--scale", "0.2", "--bound", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 violations" in done.stdout
