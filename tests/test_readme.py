"""The README's commands work, word for word, and its table names what is served."""

import re
import shutil
import subprocess
import sys

import pytest

from resources.routes import ROUTES
from tests.serving import ROOT, Server

pytestmark = pytest.mark.once

README = (ROOT / "README.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_first_five_minutes_work(tmp_path):
    settings = {"APP_ENV": "development", "INSTANCE_DIR": tmp_path / "instance", "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'db'}"}
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with Server(settings, jobs=True) as server:
        script = re.search(r"```sh\n(.*?)```", README, re.DOTALL)[1].replace("http://127.0.0.1:5000", server.base)
        done = subprocess.run(["bash", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    told = re.findall(r'"(?:status)":"(\w+)"', done.stdout)
    assert told == ["confirmation_sent", "confirmed", "active", "enabled", "signed_in", "active"], done.stdout


def test_the_table_names_every_operation():
    table = set()
    for methods, path in re.findall(r"`([A-Z,]+) (/[^`]*)`", README):
        table |= {(method, path) for method in methods.split(",")}
    served = {(route.method, route.urls[0]) for route in ROUTES if not route.urls[0].startswith("/docs/")}
    assert served - table <= {("GET", "/auth/logout")}
    assert table <= served
