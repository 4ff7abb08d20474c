"""The examples, run as they stand in docs/integrating.md: a service behind nginx, and three that look at tokens themselves."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from domain import signing
from tests.conftest import serving
from tests.credentials import make_key, make_service
from tests.services import OPERATOR, Asking, app_tokens, give, known, take_away
from tests.serving import free_port

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FILES = [EXAMPLES / name for name in ("nginx/nginx.conf", "flask_service/app.py", "fastapi_service/app.py", "express_service/app.mjs")]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HAS_NODE = shutil.which("node") and (ROOT / "tests" / "node_modules" / "express").exists()
NAMES = ("X-User-Id", "X-User-Email", "X-User-Roles", "X-Scopes")
SPOOFED = dict.fromkeys(NAMES, "admin") | {"X_User_Id": "admin", "x-user-roles": "admin"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_document_shows_the_very_files(file):
    blocks = re.findall(r"^```\w+\n(.*?)^```$", (ROOT / "docs" / "integrating.md").read_text(), re.MULTILINE | re.DOTALL)
    assert file.read_text() in blocks


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    more = {"JWT_ALGORITHM": "ES256", "TRUSTED_PROXIES": 1, "MAX_SESSIONS_PER_USER": 100}
    with serving(tmp_path_factory.mktemp("server"), more) as running:
        signing.forget()
        yield running
        signing.forget()


@pytest.fixture(scope="module")
def notes(server):
    """The service of the examples, with its application token."""
    make_service("notes")
    known("notes:read", "notes:write")
    row, token = app_tokens.make(OPERATOR, "notes", "Example", ["notes:read"])
    return Asking(server, "notes", token, row.id)


def editor(server):
    """Who may read notes: their tokens, and the role by which."""
    tokens = server.member()
    role = give(tokens["user"]["id"], "notes", "editor", "notes:read")
    return server.login(tokens["user"]["email"]).json, role


@contextmanager
def running(command, port, folder, **environment):
    """A program that serves on a port while the block does."""
    log = folder / "out.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": "", **environment}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        for _ in range(150):
            try:
                requests.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


# Services that look at tokens themselves


@contextmanager
def example(name, server, notes, folder):
    """One of the services, as a user would start it."""
    port = free_port()
    environment = {"GATEHOUSE_URL": server.base, "SERVICE_ID": notes.id, "APP_TOKEN": notes.token, "PORT": str(port)}
    for file in (EXAMPLES / name).iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(ROOT / "tests" / "node_modules")
    command = {
        "flask_service": [sys.executable, "-m", "flask", "run", "--port", str(port)],
        "fastapi_service": [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)],
        "express_service": ["node", "app.mjs"],
    }[name]
    with running(command, port, folder, **environment) as base:
        yield base


def status(base, token=None):
    """What a service answers to who asks for their notes."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return requests.get(f"{base}/notes", headers=headers, timeout=10)


def test_a_service_that_asks_hears_of_every_end_at_once(server, notes, tmp_path):
    tokens, role = editor(server)
    with example("flask_service", server, notes, tmp_path) as base:
        assert status(base, tokens["access_token"]).json() == {"notes_of": tokens["user"]["id"], "notes": []}
        assert [status(base, token).status_code for token in (None, "x", tokens["refresh_token"])] == [401] * 3
        assert status(base, server.member()["access_token"]).status_code == 403
        key = make_key(server, tokens, scopes=["notes:read"])["api_key"]
        assert status(base, key).status_code == 200
        take_away(tokens["user"]["id"], role)
        assert [status(base, token).status_code for token in (tokens["access_token"], key)] == [403] * 2
        server.post("/logout", token=tokens["access_token"])
        assert status(base, tokens["access_token"]).status_code == 401


@pytest.mark.parametrize("name", ["fastapi_service", "express_service"])
def test_a_service_that_has_the_public_keys_needs_to_ask_nobody(name, server, notes, tmp_path):
    if name == "express_service" and not HAS_NODE:
        pytest.skip("needs Node, and `npm install --no-package-lock` in tests/")
    tokens, _ = editor(server)
    header, payload, signature = tokens["access_token"].split(".")
    bad = [None, "", "x", tokens["refresh_token"], notes.token, notes.own_token(), f"{header}.{payload}.{signature[:-6]}AAAAAA"]
    with example(name, server, notes, tmp_path) as base:
        assert status(base, tokens["access_token"]).json() == {"notes_of": tokens["user"]["id"], "notes": []}
        assert status(base, server.member()["access_token"]).status_code == 403
        assert [status(base, token).status_code for token in bad] == [401] * len(bad)


# A service behind nginx


class Echo(http.server.BaseHTTPRequestHandler):
    """The service behind the proxy: tells which headers reached it."""

    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - As the library calls it.

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture(scope="module")
def proxied(server, notes, tmp_path_factory):
    """The address of the service behind nginx, with the configuration of the examples on other ports."""
    if NGINX is None:
        pytest.skip("needs nginx")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    text = FILES[0].read_text()
    for given, ours in (("5000", server.port), ("8000", service.server_address[1]), ("8080", port)):
        assert text.count(f"127.0.0.1:{given};") == 1
        text = text.replace(f"127.0.0.1:{given};", f"127.0.0.1:{ours};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(text.replace("http {", f"http {{ access_log off; {own}", 1))
    (folder / "nginx.conf").chmod(0o644)
    main = f"daemon off; pid {folder}/nginx.pid; error_log stderr;"
    with running([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", main], port, folder) as base:
        yield base
    service.shutdown()
    service.server_close()


def through(proxied, method="GET", token=None, **more):
    headers = {**SPOOFED, **more.pop("headers", {})} | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.request(method, f"{proxied}/notes", headers=headers, timeout=10, **more)


def arrived(answer):
    assert answer.status_code == 200, answer.text
    return [answer.json().get(name.lower(), "") for name in NAMES] + [answer.json().get("x_user_id", "")]


def test_behind_the_proxy_headers_are_what_the_server_says(server, notes, proxied):
    tokens, role = editor(server)
    user = tokens["user"]
    assert arrived(through(proxied, token=tokens["access_token"])) == [user["id"], user["email"], "editor", "", ""]
    assert arrived(through(proxied, token=notes.token)) == ["", "", "", "notes:read", ""]
    take_away(user["id"], role)
    assert through(proxied, token=tokens["access_token"]).status_code == 403


def test_the_proxy_lets_nobody_through_who_is_not_known_or_may_not(server, proxied):
    tokens, _ = editor(server)
    for token in (None, "x", tokens["refresh_token"]):
        answer = through(proxied, token=token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert through(proxied, token=server.member()["access_token"]).status_code == 403
    assert through(proxied, "POST", token=tokens["access_token"]).status_code == 403  # That takes notes:write.
    assert requests.get(f"{proxied}/_verify", headers={"Authorization": f"Bearer {tokens['access_token']}"}, timeout=10).status_code == 404
    server.post("/logout", token=tokens["access_token"])
    assert through(proxied, token=tokens["access_token"]).status_code == 401


def test_a_cookie_changes_nothing_without_its_csrf_token_whatever_method_a_visitor_claims(server, notes, proxied):
    tokens, _ = editor(server)
    give(tokens["user"]["id"], "notes", "writer", "notes:write")
    browser = server.login(tokens["user"]["email"], cookies=True)
    assert through(proxied, cookies=browser.cookies).status_code == 200
    claimed = {"X-Forwarded-Method": "GET", "X-Original-Method": "GET"}
    assert through(proxied, "POST", cookies=browser.cookies, headers=claimed, data="x").status_code == 403
    csrf = {"X-CSRF-TOKEN": browser.json["csrf_access_token"]}
    assert through(proxied, "POST", cookies=browser.cookies, headers=csrf, data="x").status_code == 200
