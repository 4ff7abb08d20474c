"""Which processes serve: each server's workers do, the other commands and the reloader's outer process don't."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import cli
from tests.serving import PATIENCE, eventually, free_port

pytestmark = pytest.mark.once

ROOT = Path(cli.__file__).resolve().parent


@pytest.fixture
def probe(tmp_path):
    """An application that writes what `is_serving` told it into a file of its process, and a way to start it."""
    imports = f"import os, sys, pathlib\nsys.path.insert(0, {str(ROOT)!r})\nfrom flask import Flask\nimport cli\n"
    verdict = "pathlib.Path(f'verdict-{os.getpid()}').write_text(str(cli.is_serving()))"
    body = f"app = Flask('probe')\n    cli.register(app)\n    {verdict}\n    return app\n"
    (tmp_path / "probe.py").write_text(f"{imports}\ndef create_app():\n    {body}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def start(*words):
        options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, "-m", *words], start_new_session=True, **options)
        process.folder = tmp_path
        return process

    return start


def verdicts(folder):
    return sorted(text for text in (path.read_text() for path in folder.glob("verdict-*")) if text)


def said(process, processes):
    """The verdicts of a server's processes, once there are so many; then it is stopped."""
    with suppress(AssertionError):
        eventually(lambda: len(verdicts(process.folder)) == processes)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return verdicts(process.folder)


def port():
    return str(free_port())


@pytest.mark.parametrize("words", ["jobs --help", "migrate --help", "routes"])
def test_a_command_does_not_serve(probe, words):
    process = probe("flask", "--app", "probe", *words.split())
    process.wait(PATIENCE)
    assert verdicts(process.folder) == ["False"]


def test_flask_run_serves(probe):
    assert said(probe("flask", "--app", "probe", "run", "--port", port()), 1) == ["True"]


def test_flask_run_with_its_reloader_serves_in_the_inner_process_only(probe):
    assert said(probe("flask", "--app", "probe", "run", "--debug", "--port", port()), 2) == ["False", "True"]


def test_gunicorn_serves_in_each_worker(probe):
    command = ("gunicorn", "--no-control-socket", "-w", "2", "-b", f"127.0.0.1:{port()}", "probe:create_app()")
    assert said(probe(*command), 2) == ["True", "True"]


def test_granian_serves(probe):
    command = ("granian", "--interface", "wsgi", "--factory", "--host", "127.0.0.1", "--port", port(), "probe:create_app")
    assert said(probe(*command), 1) == ["True"]


def test_the_image_holds_what_serves_and_nothing_else(tmp_path):
    stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    copied = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY ") and "--from" not in line]
    for *names, target in copied:
        for name in names:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / target / (name if target == "./" else ""))
    assert not {"tests", "bench", "docs", "examples", "postman", "instance", "uploads", ".", ".env"} & {
        path.name for path in tmp_path.iterdir()
    }
    words = [sys.executable, "-m", "flask", "migrate", "up"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
