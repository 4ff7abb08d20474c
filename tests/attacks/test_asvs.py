"""What OWASP ASVS 5.0 asks and no other page shows: how answers are framed, where requests end, and what the code never does."""

import ast
import base64
import re
from pathlib import Path

import pytest
from cryptography.fernet import InvalidToken

from domain import login, secrets
from resources import base
from resources.routes import ROUTES
from resources.shapes import JSON, Page
from tests.attacks.acts import raw
from tests.pictures import form, plain

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = [
    *ROOT.glob("*.py"),
    *(path for folder in ("domain", "jobs", "outbound", "pages", "resources") for path in (ROOT / folder).rglob("*.py")),
]
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in PRODUCT}

# What would run data as code, read it as objects, or hand it to a shell or a directory.
NEVER_IMPORTED = {
    "subprocess",
    "pty",
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "code",
    "xml",
    "lxml",
    "ldap",
    "ldap3",
    "ctypes",
    "cffi",
    "random",
}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv", "yaml.load", "pd.read_pickle"}
WEAK_HASHES = {"md5", "new", "ripemd160"}
# Where SHA-1 stands: as the question to a service for breached passwords, which protects nothing (`usedforsecurity=False`).
SHA1 = {"outbound/breaches.py"}

# Every kind of answer: JSON, a problem, the document, a page, its style sheet, a script, a redirect, and what is not there.
KINDS = {
    "/healthz": "application/json",
    "/profile": "application/problem+json",
    "/nowhere": "application/problem+json",
    "/openapi.json": "application/json",
    "/docs": "text/html; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/static/page.css": "text/css; charset=utf-8",
    "/static/docs.js": "text/javascript; charset=utf-8",
    "/.well-known/jwks.json": "application/json",
    "/metrics": "text/plain; version=1.0.0; charset=utf-8",
}
# What anybody may read, as it stands for everybody.
PUBLIC = {"AliveOut", "ReadyOut", "Policy", "KeysOut", "MetadataOut", "MetricsOut", "DocumentOut", "SecurityOut"}
BINDING = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'")


def is_framed(answer) -> bool:
    policy = answer.headers["Content-Security-Policy"].split("; ")
    told = (answer.headers["X-Content-Type-Options"], answer.headers["Referrer-Policy"], answer.headers["X-Frame-Options"])
    return set(BINDING) <= set(policy) and told == ("nosniff", "no-referrer", "DENY")


@pytest.mark.settings(METRICS_TOKEN="x" * 40)
def test_every_kind_of_answer_names_its_kind_and_binds_the_browser(house):
    for path, kind in KINDS.items():
        answer = house.get(path, token="x" * 40 if path == "/metrics" else None)
        assert (answer.headers["Content-Type"], is_framed(answer)) == (kind, True), path
    page = house.get("/reset-password/x", headers={"Accept": "text/html"})
    assert (page.headers["Content-Type"], is_framed(page)) == ("text/html; charset=utf-8", True)
    picture = house.put("/profile", **form(plain()), token=house.member("ann@example.com")["access_token"]).json["picture_url"]
    shown = house.get("/uploads/profile_pictures/" + picture.rpartition("/")[2])
    assert (shown.headers["Content-Type"], is_framed(shown)) == ("image/webp", True)


@pytest.mark.once
def test_what_says_more_than_that_it_was_done_is_stored_nowhere():
    for route in ROUTES:
        for answer in base.operation_of(route).answers:
            says_little = set(answer.model_fields) <= {"status", "admin_email"}
            assert answer.private or says_little or issubclass(answer, Page) or answer.__name__ in PUBLIC, answer


def test_nothing_is_echoed_and_no_folder_is_listed(house):
    for path in {route.urls[0] for route in ROUTES} | {"/", "/static", "/static/", "/uploads/", "/uploads/profile_pictures/", "/docs/"}:
        answer = house.request("TRACE", path, headers={"X-Secret": "tell-me"})
        assert answer.status in (404, 405), path
        assert b"tell-me" not in answer.body
    for path in (
        "/static",
        "/static/",
        "/static/.",
        "/static/..%2f..%2fconfig.py",
        "/uploads",
        "/uploads/",
        "/uploads/profile_pictures/",
        "/.git/HEAD",
    ):
        assert house.get(path).code == "not_found", path


def test_what_a_form_of_another_site_can_send_is_no_json(house):
    asked = 0
    for route in ROUTES:
        shapes = base.operation_of(route).shapes
        if route.method == "GET" or not shapes or any(shape.media_types != (JSON,) for shape in shapes) or "<" in route.urls[0]:
            continue
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            answer = house.request(route.method, route.urls[0], data='{"email": "ann@example.com"}', headers={"Content-Type": kind})
            assert answer.status in (401, 415), (route.urls[0], kind)
            asked += answer.status == 415
    assert asked > 30
    assert not house.mailbox.of("ann@example.com")


def test_an_error_of_ours_tells_its_id_and_lets_nobody_in(house, monkeypatch, settings):
    def fail(*_):
        raise RuntimeError("SELECT * FROM users; postgresql://gatehouse:tell-me@db")

    monkeypatch.setattr(login, "begin", fail)
    answer = house.login("ann@example.com", "tell-me-too")
    assert answer.status == 500
    assert set(answer.json) == {"type", "title", "status", "code", "request_id"}
    assert not re.search(rb"SELECT|tell-me|Traceback|Runtime", answer.body)
    assert "Set-Cookie" not in answer.headers
    told = (settings["INSTANCE_DIR"] / "app.log").read_text()
    assert f"request {answer.json['request_id']} failed" in told
    assert "tell-me-too" not in told


def test_what_is_encrypted_can_not_be_changed(house):
    made = secrets.encrypt("JBSWY3DPEHPK3PXP")
    assert secrets.decrypt(made) == "JBSWY3DPEHPK3PXP"
    raw_bytes = base64.urlsafe_b64decode(made)
    for place in range(len(raw_bytes)):
        changed = bytearray(raw_bytes)
        changed[place] ^= 1
        with pytest.raises(InvalidToken):
            secrets.decrypt(base64.urlsafe_b64encode(changed))


@pytest.mark.once
def test_codes_have_the_chance_that_their_hashes_ask_for():
    recovery = {secrets.recovery_code() for _ in range(500)}
    assert len(recovery) == 500
    letters = {letter for code in recovery for letter in code.replace("-", "")}
    assert {len(code.replace("-", "")) for code in recovery} == {24}
    assert len(letters) == 32  # Five bits a letter: 120, and 112 is the least for a fast hash.
    codes = {secrets.code() for _ in range(500)}
    assert all(re.fullmatch("[0-9]{6}", code) for code in codes)
    assert len(codes) > 450
    assert len(base64.urlsafe_b64decode(secrets.token() + "=")) == 32


@pytest.mark.once
def test_no_code_runs_reads_or_asks_for_what_came_as_data():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not {one.partition(".")[0] for one in imported} & NEVER_IMPORTED, name
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in NEVER_CALLED, f"{name}:{node.lineno}"


@pytest.mark.once
def test_no_statement_is_made_of_what_came_as_data():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("exec_driver_sql", "literal_column", "text"):
                given = node.args[0] if node.args else None
                of_module = isinstance(node.func, ast.Name) or ast.unparse(node.func).endswith("exec_driver_sql")
                parts = [one.value for one in ast.walk(given) if isinstance(one, ast.FormattedValue)] if given else []
                constants = all(isinstance(part, ast.Name) and part.id.isupper() for part in parts)
                assert not of_module or (isinstance(given, ast.Constant | ast.JoinedStr) and constants), f"{name}:{node.lineno}"


@pytest.mark.once
def test_no_hash_is_weak_but_where_it_protects_nothing():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "hashlib":
                assert node.attr not in WEAK_HASHES, name
                assert node.attr != "sha1" or name in SHA1, name


BESIDE = "POST /login HTTP/1.1\r\nHost: gatehouse\r\nContent-Type: application/json\r\n"
HIDDEN = "GET /healthz HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        f"Content-Length: {{}}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
        f"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{HIDDEN}",
        f"Content-Length: 0\r\nContent-Length: {{}}\r\n\r\n{HIDDEN}",
        f"Transfer-Encoding: xchunked\r\n\r\n{HIDDEN}",
        f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
        f"Content-Length: +0\r\n\r\n{HIDDEN}",
    ],
    ids=["both", "both, the other way round", "two lengths", "an unknown coding", "a blank before the colon", "a sign"],
)
def test_where_a_request_ends_is_not_open_to_two_readings(server, head):
    answers = raw(server.port, BESIDE + head.format(len(HIDDEN) + 5))
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b'"alive"' not in answers
