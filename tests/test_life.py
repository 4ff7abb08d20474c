"""The life that docs/life.md tells happens, word for word."""

import os
import re
import shutil
import stat
import subprocess
import sys

import pytest

from tests.serving import ROOT, Server

pytestmark = pytest.mark.once

LIFE = (ROOT / "docs" / "life.md").read_text()
TOLD = """
confirmation_sent confirmed signed in as kim@example.com
enabled enabled code_sent enabled code_sent enabled 10
signed in as kim@example.com accepted signed in as kim@example.com accepted signed in as kim@example.com signed in as kim@example.com
reauthentication_required signed in as kim@example.com signed in as kim@example.com
curl 5 True
accepted email_changed kim@other.example email_restored token_revoked password_reset signed in as kim@example.com
password_changed created account_secured token_revoked password_reset
The second factors are off. signed in as kim@example.com sign_in seal-audit
signed_out
"""


@pytest.fixture
def no_umask():
    """Files get the modes that they are made with, and nothing takes any away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands need curl")
@pytest.mark.usefixtures("no_umask")
def test_the_life_of_a_user_happens_as_it_is_told_and_its_files_are_their_owners_alone(tmp_path):
    told = dict(re.findall(r"([A-Z_]+)=(\S+)", re.search(r"^    (.*) make run$", LIFE, re.MULTILINE)[1]))
    places = {"INSTANCE_DIR": tmp_path / "instance", "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'db'}"}
    settings = {"APP_ENV": "development", **places, **told}
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with Server(settings, jobs=True) as server:
        script = "\n".join(re.findall(r"```sh\n(.*?)```", LIFE, re.DOTALL)).replace("http://127.0.0.1:5000", server.base)
        given = {name: str(value) for name, value in server.settings.items()}
        environment = {**os.environ, **given, "FLASK_APP": "app", "PYTHONPATH": str(ROOT)}
        run = ["bash", "-eu", "-o", "pipefail", "-c", script]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False)
        made = [
            path
            for path in (tmp_path / "instance", *(tmp_path / "instance").rglob("*"), *tmp_path.glob("db*"))
            if path.name != "server.out"
        ]
        open_to_others = [path.name for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if "sealed" not in line]
    assert " ".join(said) == " ".join(TOLD.split()), done.stderr
    assert {"app.log", "secrets.json", "outbox", "db", "db-wal"} <= {path.name for path in made}
    assert any(path.suffixes == [".eml", ".read"] for path in made)
    assert open_to_others == []
