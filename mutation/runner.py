"""A pytest plugin that runs one module's mutants: `MUTANTS` names the file they are in, `MUTANTS_OF` the module, `MUTANTS_OUT` the answer.

All tests run once, and it is noted which lines of the module each of them reaches. Then every mutant gets a child of this
process, forked with everything imported and the tables made: the module's new source is put over the old one, and the tests that
reach the line run until one fails. Those that have killed others of the same function come first, then the fast ones.
"""

import gc
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

SECONDS = 5  # Of the processor, for one test: a mutant that takes longer runs for ever, and is found out by that.
OURS = ("app", "cli", "config", "domain", "jobs", "model", "outbound", "pages", "resources", "tests")


class Next:
    """Stands for the test that comes next, whichever that is: what belongs to the whole run is not torn down."""

    def __init__(self, session) -> None:
        self.session = session

    def listchain(self):
        return [self.session]


class Tracer:
    """Which lines of one file are run."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines = str(path), set()

    def __call__(self, frame, event, arg):
        return self.line if frame.f_code.co_filename == self.path else None

    def line(self, frame, event, arg):
        self.lines.add(frame.f_lineno)
        return self.line


def pytest_runtestloop(session):
    """Instead of the tests: the mutants."""
    if session.testsfailed:
        raise session.Interrupted("the tests can't be collected")
    path = Path(os.environ["MUTANTS_OF"]).resolve()
    reached, took = _baseline(session, path)
    answers, killers = [], Counter()
    gc.freeze()  # Or every child would copy what it only counts.
    for mutant in json.loads(Path(os.environ["MUTANTS"]).read_text()):
        (first, last), function = mutant["span"], mutant["function"]
        lines = set(range(first, last + 1))
        tests = [one for one in session.items if not last or reached[one] & lines]  # What stands outside functions concerns all.
        tests.sort(key=lambda one: (-killers[function, one], took[one]))
        killer = _killer(mutant["source"], path, tests) if tests else None
        if killer is not None and killer < len(tests):
            killers[function, tests[killer]] += 1
        name = None if killer is None else tests[killer].nodeid if killer < len(tests) else "at once"
        answer = {key: mutant[key] for key in ("function", "line", "change")} | {"tests": len(tests), "killer": name}
        answers.append(answer)
        if killer is None:
            print(f"\nsurvived: {path.name}:{mutant['line']} {function}: {mutant['change']} ({len(tests)} tests)", flush=True)
    Path(os.environ["MUTANTS_OUT"]).write_text(json.dumps(answers, indent=1))
    return True


def _baseline(session, path):
    """Run every test as the code is; the lines that each reaches, and how long it takes."""
    reached, took = {}, {}
    for item in session.items:
        tracer, began = Tracer(path), time.monotonic()
        threading.settrace(tracer)
        sys.settrace(tracer)
        reports = runtestprotocol(item, log=False, nextitem=Next(session))
        sys.settrace(None)
        threading.settrace(None)
        for one in reports:
            if one.failed:
                print(one.longreprtext)
                pytest.exit(f"{item.nodeid} fails as the code is", returncode=1)
        reached[item], took[item] = tracer.lines, time.monotonic() - began
    print(f"\n{path.name}: {len(session.items)} tests, {sum(1 for one in reached.values() if one)} reach it", flush=True)
    return reached, took


def _killer(source, path, tests):
    """The number of the test that fails with this source; None if none does. What can't even be imported is killed at once."""
    child = os.fork()
    if child == 0:
        verdict = 254
        try:
            verdict = _child(source, path, tests)
        finally:
            os._exit(verdict)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return len(tests)
    code = os.waitstatus_to_exitcode(status)
    if code == 255:
        return None
    return code if code < 254 else len(tests)


def _child(source, path, tests):
    """In the child: 255 if all pass, 254 if it can't be imported, else the failing test's number (or 253)."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        _put_over(source, path)
    except BaseException:
        return 254
    for number, item in enumerate(tests):
        _child.failing = min(number, 253)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        runtestprotocol(item, log=False, nextitem=Next(item.session))
    return 255


def pytest_runtest_makereport(item, call):
    """In a child the first failure is the end: nobody reads the report."""
    if _child.failing is not None and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
        os._exit(_child.failing)


_child.failing = None


def _put_over(source, path):
    """Run the source in the module, and give its new names to all who hold the old ones."""
    module = next(one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == str(path))
    before = dict(vars(module))
    exec(compile(source, str(path), "exec"), vars(module))
    made = {id(old): vars(module)[name] for name, old in before.items() if vars(module)[name] is not old and not name.startswith("__")}
    for other in list(sys.modules.values()):
        if other is not module and getattr(other, "__name__", "").partition(".")[0] in OURS:
            for name, value in list(vars(other).items()):
                if id(value) in made and (callable(value) or value is before.get(name)):
                    setattr(other, name, made[id(value)])
