"""Which processes serve: each server's workers do, the other commands and the reloader's outer process don't."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cli

ROOT = Path(cli.__file__).resolve().parent


@pytest.fixture
def probe(tmp_path):
    """An application that says what `is_serving` told it, and a way to start it."""
    body = "app = Flask('probe')\n    cli.register(app)\n    print('serving', cli.is_serving(), flush=True)\n    return app\n"
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom flask import Flask\nimport cli\n\ndef create_app():\n    {body}"
    (tmp_path / "probe.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def start(*words):
        options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, "-m", *words], start_new_session=True, **options)

    return start


def said(process, lines):
    """The verdicts that a server prints, until there are so many; then it is stopped."""
    verdicts = []
    watchdog = threading.Timer(20, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    for line in process.stdout:
        if line.startswith("serving"):
            verdicts.append(line.split()[1])
        if len(verdicts) == lines:
            break
    time.sleep(0.2)
    watchdog.cancel()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return verdicts


def port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return str(one.getsockname()[1])


@pytest.mark.parametrize("words", ["jobs --help", "migrate --help", "routes"])
def test_a_command_does_not_serve(probe, words):
    output = probe("flask", "--app", "probe", *words.split()).communicate(timeout=20)[0]
    assert "serving False" in output
    assert "serving True" not in output


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
