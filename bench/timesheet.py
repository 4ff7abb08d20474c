"""Where the time of a request goes: samples of one process that answers the same GET over and over, without a network.

Run by run.py in Gatehouse's environment, with a path and an access token; its last line is JSON. A sample is taken at every
tick of the process's own CPU time, so waiting for Redis and PostgreSQL is not in it.
"""

import json
import signal
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from time import process_time
from types import FrameType

from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import create_app

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 8.0


def main() -> None:
    """Answer for some seconds of CPU time; print the shares by library and by function of ours."""
    path, token = sys.argv[1:]
    application, builder = create_app(), EnvironBuilder(path, headers={"Authorization": f"Bearer {token}"})
    libraries, functions = Counter[str](), Counter[str]()

    def sample(_: int, frame: FrameType | None) -> None:
        stack = list(_files(frame))
        libraries[_library(stack[0][0])] += 1
        functions.update({name for file, name in stack if name and _is_ours(file)})

    def answer(seconds: float) -> int:
        answered, until = 0, process_time() + seconds
        while process_time() < until:
            _, status, _ = run_wsgi_app(application, builder.get_environ(), buffered=True)
            assert status.startswith("200"), status
            answered += 1
        return answered

    answer(1)
    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    answered = answer(SECONDS)
    signal.setitimer(signal.ITIMER_PROF, 0)
    json.dump(
        {
            "microseconds": SECONDS / answered * 1e6,
            "libraries": _shares(libraries, libraries.total(), 14),
            "functions": _shares(functions, libraries.total(), 22),
        },
        sys.stdout,
    )


def _files(frame: FrameType | None) -> "list[tuple[str, str]]":
    """The stack from the innermost call outwards: file and, with its line, function."""
    found = []
    while frame:
        code = frame.f_code
        found.append((code.co_filename, f"{_short(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"))
        frame = frame.f_back
    return found


@cache
def _short(file: str) -> str:
    return str(Path(file).relative_to(ROOT)) if _is_ours(file) else file


@cache
def _is_ours(file: str) -> bool:
    return file.startswith(str(ROOT)) and "site-packages" not in file and "/bench/" not in file


def _library(file: str) -> str:
    if _is_ours(file):
        return "Gatehouse"
    if "site-packages/" in file:
        return file.split("site-packages/")[1].split("/", maxsplit=1)[0].removesuffix(".py")
    return "the bench" if file.startswith(str(ROOT)) else "Python's own library"


def _shares(counted: Counter[str], total: int, most: int) -> list[tuple[str, float]]:
    return [(name, number / total) for name, number in counted.most_common(most)]


if __name__ == "__main__":
    main()
