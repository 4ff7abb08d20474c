"""The life that docs/life.md tells happens, word for word."""

import os
import re
import shutil
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands need curl")
def test_the_life_of_a_user_happens_as_it_is_told(tmp_path):
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
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if "sealed" not in line]
    assert " ".join(said) == " ".join(TOLD.split()), done.stderr
