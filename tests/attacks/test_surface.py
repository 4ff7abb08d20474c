"""Threat 40: hostile bodies on every field of every route: never 5xx, and the same verdict on SQLite as on this run's database."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from itertools import count

import pytest

from domain import accounts
from resources import base
from resources.routes import ROUTES
from resources.shapes import FORM, JSON, MULTIPART
from tests import databases, services
from tests.attacks.acts import raw
from tests.conftest import FAST
from tests.serving import PATIENCE, Server
from tests.visitor import PASSWORD

SETTINGS = {"MAX_SESSIONS_PER_USER": 1000}
MEMBER = "member@example.com"
OPERATIONS = {f"{route.method} {route.urls[0]}": base.operation_of(route) for route in ROUTES}
# Where an id is looked for first, an unknown one is all that is told.
BY_ID = {name: one for name, one in OPERATIONS.items() if one.route.resource.find is not base.Resource.find and one.route.method != "GET"}
WITH_BODIES = {name: one for name, one in OPERATIONS.items() if one.route.method != "GET" and name not in BY_ID}
WITH_PARTS = {name: one for name, one in OPERATIONS.items() if "<" in one.route.urls[0]}

# What stands in the place of a field, as JSON.
VALUES = {
    "list": "[]",
    "object": "{}",
    "null": "null",
    "true": "true",
    "2^63": str(2**63),
    "beyond all doubles": "1e400",
    "5,000 digits": "9" * 5000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "nothing": '""',
    "a blank": '" "',
    "NUL": r'"a\u0000b"',
    "half a pair": r'"\ud800"',
    "ends of lines": r'"a\r\nb\u2028c"',
    "escapes": r'"\u001b[2J\u0007\u202e"',
    "odd blanks": r'"\u00a0\u200b\ufeff\u3000"',
    "odd digits": r'"\uff11\u00b2\u0663\ud835\udfd8"',
    "a whole pair": r'"\ud83d\udd11"',
    "a query": json.dumps("' OR '1'='1'; DROP TABLE users --"),
    "a template": '"{{7*7}}${7*7}%s{0.__class__}"',
    "an address": '"somebody-else@example.com"',
    "60,000 characters": json.dumps("x" * 60000),
    "a NUL below": r'{"a": [{"b": "\u0000"}]}',
    "a prototype": '{"__proto__": {"is_admin": true}, "constructor": 1}',
    "300 deep": "[" * 300 + "]" * 300,
    "700 deep": "[" * 700 + "]" * 700,
    "30,000 deep": "[" * 30000 + "]" * 30000,
}
NO_OBJECTS = {
    **{f"nothing but {name}": VALUES[name] for name in ("list", "null", "true", "2^63", "NaN", "an address", "half a pair", "700 deep")},
    "100,000 deep": "[" * 100_000 + "]" * 100_000,
    "100,000 objects deep": '{"a":' * 100_000,
    "half an object": "{",
    "two objects": "{} {}",
    "a comment": "{/**/}",
    "a comma too many": '{"email": "a@example.com",}',
    "other quotes": "{'email': 1}",
    "a mark of byte order": "\ufeff{}",
    "UTF-16": '{"email": "a"}'.encode("utf-16"),
    "not UTF-8": b'{"email": "\xff"}',
    "NUL bytes": b"\0" * 100,
}
BODIES = {
    **NO_OBJECTS,
    "5,000 fields": json.dumps({f"f{number}": 1 for number in range(5000)}),
    "half a pair as a field": r'{"\ud800": 1}',
    "NUL as a field": r'{"\u0000": 1}',
    "a prototype as a field": '{"__proto__": 1, "__class__": 1, "self": 1, "model_config": 1}',
}
BOUNDARY = f"{MULTIPART}; boundary=x"
PART = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
FORMS = (
    (FORM, "password=%00"),
    (FORM, "password=%ED%A0%80&name=%ff"),
    (FORM, "password=a&password=b"),
    (FORM, "&".join(f"f{number}=1" for number in range(8000))),
    (FORM, "%" * 1000 + "=&&==&="),
    (FORM, ""),
    (FORM, "x" * 100_000),
    (MULTIPART, "no boundary"),
    (BOUNDARY, ""),
    (BOUNDARY, "--x"),
    (BOUNDARY, PART.format("name", "", "a\0b") + "--x--"),
    (BOUNDARY, PART.format("name", '; filename="../../x"', "x") + "--x--"),
    (BOUNDARY, PART.format("picture", '; filename="\0.png"', "\x89PNG\r\n\x1a\n") + "--x--"),
    (BOUNDARY, PART.format("picture", "", "x") + PART.format("picture", "", "y") + "--x--"),
    (BOUNDARY, "".join(PART.format(f"f{number}", "", "x") for number in range(500)) + "--x--"),
    (BOUNDARY, PART.format("metadata", "", "[" * 30000) + "--x--"),
    (BOUNDARY, PART.format("x" * 5000, "", "x")),
    ("text/plain", "x"),
    ("application/json; charset=utf-16", "{}"),
    ("application/xml", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"),
)
HEADERS = (
    *("User-Agent", "X-Device-Token", "X-Request-ID", "X-CSRF-TOKEN", "Accept", "Accept-Language", "Content-Type", "Cookie", "Origin"),
    *("Referer", "X-Forwarded-For", "Forwarded", "X-API-Key", "Range", "If-None-Match", "If-Modified-Since", "Accept-Encoding"),
)
HEADER_VALUES = ("x" * 5000, "\u00e9\u00ff", "%00", "a, b; c=d", "-1", "9" * 30, '"', "=;=;", "{}", "text/html\u00e9")
PARTS = (
    *(
        "%00",
        "a%00b",
        "%ff",
        "%ed%a0%80",
        "%0d%0aX-Evil:1",
        "%1b[2J",
        "%e2%80%ae",
        "%20",
        ".",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%5c..%5c",
    ),
    *("'", "%27%20OR%201=1--", "%25s%25n", "{}", "null", "-1", str(2**63), "9" * 3000, "x" * 3000, "%f0%9f%94%91", "%3cx%3e"),
)
QUERIES = (
    "?limit=NaN&cursor=%00&redirect_to=%00&code_challenge=%ff&state=%00&code=%00&error=%00&iss=%00",
    "?limit=99999999999999999999999&cursor=%ed%a0%80&redirect_to[]=x&state=a&state=b",
    "?" + "&".join(f"f{number}=1" for number in range(300)),
    "?redirect_to=" + "x" * 1500 + "&state=" + "y" * 1500,
    "?%00=%00&=&&&%",
)


def path_of(operation, part="something"):
    return re.sub(r"<[^>]+>", lambda _: part, operation.route.urls[0])


def bodies_of(operation, number):
    """Every hostile value in the place of every field of every shape, the other fields being plain; and whole bodies."""
    for shape in operation.shapes:
        for field in shape.model_fields:
            plain = {name: "x" for name, one in shape.model_fields.items() if one.is_required() and name != field}
            start = json.dumps(plain | ({"email": f"somebody-{number}@example.com"} if "email" in plain else {}))[:-1]
            start += ", " if plain else ""
            for name, value in VALUES.items():
                yield f"{shape.__name__}.{field}: {name}", f'{start}"{field}": {value}}}'
            yield f"{shape.__name__}.{field}: twice", f'{start}"{field}": "x", "{field}": "y"}}'
    yield from BODIES.items()


class Client:
    """Asks over one connection, as long as the server keeps it, with the token of a session of its own; as a service where only
    services may ask.
    """

    def __init__(self, server, tokens, app_token=""):
        self.wire = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.tokens = {"refreshing": tokens["refresh_token"], "asking_client": app_token or tokens["access_token"]}
        self.access_token = tokens["access_token"]

    def ask(self, operation, body=None, kind=JSON, path=None, **headers):
        """The verdict: status and code."""
        data = body.encode() if isinstance(body, str) else body
        token = self.tokens.get(operation.route.access.name, self.access_token)
        headers = {"Authorization": f"Bearer {token}", **({} if data is None else {"Content-Type": kind}), **headers}
        request = (operation.route.method, path or path_of(operation), data, headers)
        try:
            return self._send(*request)
        except (HTTPException, OSError):  # The server had closed the connection meanwhile; a second time it is a failure.
            self.wire.close()
            return self._send(*request)

    def _send(self, *request):
        self.wire.request(*request)
        answer = self.wire.getresponse()
        text = answer.read()
        told = json.loads(text) if answer.status >= 400 and "json" in answer.getheader("Content-Type", "") else {}
        return answer.status, told.get("code") or told.get("error")


def ask_all(server):
    """The verdicts on every body of every operation. Each has a session and an address of its own, so that none is in another's way."""
    accounts.create(MEMBER, PASSWORD, admin=True)
    asking = services.service(server).token
    clients = [Client(server, server.login(MEMBER).json, asking) for _ in WITH_BODIES]

    def of(number, client, operation):
        with closing(client.wire):
            return {name: client.ask(operation, body) for name, body in bodies_of(operation, number)}

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(WITH_BODIES, pool.map(of, count(), clients, WITH_BODIES.values()), strict=False))


@pytest.fixture
def client(server, email):
    """An administrator who asks odd things, or their service does."""
    accounts.create(email, PASSWORD, admin=True)
    made = Client(server, server.login(email).json, services.service(server).token)
    with closing(made.wire):
        yield made


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    """The verdicts of a server on SQLite, where this run's database is another one; None where it is that."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("TEST_DATABASE_URI", "sqlite").startswith("sqlite"):
            patch.setenv("TEST_DATABASE_URI", "")
            folder = tmp_path_factory.mktemp("sqlite")
            with databases.fresh(folder) as uri:
                places = {"INSTANCE_DIR": folder / "instance", "UPLOADS_DIR": folder / "uploads", "SQLALCHEMY_DATABASE_URI": uri}
                with Server({**FAST, **places, **SETTINGS, "REDIS_URL": ""}) as twin:
                    return ask_all(twin)
    return None


@pytest.fixture(scope="module")
def verdicts(on_sqlite, server):
    """The verdicts of this run's server. The one on SQLite is asked, and stopped, before it starts."""
    return ask_all(server)


@pytest.mark.parametrize("name", WITH_BODIES)
def test_no_body_is_an_error_of_ours(verdicts, name):
    assert {body: verdict for body, verdict in verdicts[name].items() if verdict[0] >= 500} == {}
    assert {status for status, _ in verdicts[name].values()} & {400, 413, 415}


@pytest.mark.parametrize("name", WITH_BODIES)
def test_every_database_gives_the_same_verdict(on_sqlite, verdicts, name):
    if on_sqlite is not None:
        assert verdicts[name] == on_sqlite[name]


@pytest.mark.parametrize("name", WITH_BODIES)
def test_what_is_no_json_object_is_never_taken(verdicts, name):
    refusals = {"malformed_json", "validation_failed", "too_large", "unsupported_media_type", "invalid_request"}
    assert {verdicts[name][body][1] for body in NO_OBJECTS} <= refusals


def test_an_unknown_id_is_told_before_any_body(client):
    for operation in BY_ID.values():
        bodies = [body for _, body in bodies_of(operation, 0) if "current_password" not in str(body)]
        assert {client.ask(operation, body) for body in bodies} == {(404, "not_found")}, operation.route


def test_no_body_for_a_factor_is_an_error_of_ours(server, email):
    tokens = server.member(email)
    server.turn_on_totp(tokens["access_token"])
    (factor,) = server.get("/mfa", token=tokens["access_token"]).json["methods"]
    rename = BY_ID["PATCH /mfa/<id>"]
    with closing((asking := Client(server, tokens)).wire):
        verdicts = {name: asking.ask(rename, body, path=f"/mfa/{factor['id']}") for name, body in bodies_of(rename, 0)}
    assert {status for status, _ in verdicts.values()} <= {200, 400, 413, 415}
    assert {verdicts[body][0] for body in NO_OBJECTS} <= {400, 413, 415}


def test_text_that_not_every_database_stores_is_refused_everywhere(verdicts):
    refused = ("NUL", "half a pair", "a NUL below")
    taken = [(name, body) for name in verdicts for body, (status, _) in verdicts[name].items() if status < 300 and body.endswith(refused)]
    assert taken == []


def test_a_field_that_comes_twice_is_refused(verdicts):
    twice = {verdict for name in verdicts for body, verdict in verdicts[name].items() if body.endswith(": twice")}
    assert twice == {(400, "malformed_json"), (400, "invalid_request")}


@pytest.mark.parametrize("name", WITH_PARTS)
def test_no_part_of_an_address_is_an_error_of_ours(client, name):
    operation = WITH_PARTS[name]
    for part in PARTS:
        assert client.ask(operation, path=path_of(operation, part))[0] < 500, part


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.route.method == "GET"])
def test_no_query_is_an_error_of_ours(client, name):
    operation = OPERATIONS[name]
    expected = client.ask(operation)[0]
    for query in QUERIES:
        status, _ = client.ask(operation, path=path_of(operation) + query)
        assert status == expected or 400 <= status < 500, query


@pytest.mark.parametrize("name", WITH_BODIES)
def test_no_form_is_an_error_of_ours(client, name):
    for kind, body in FORMS:
        assert client.ask(WITH_BODIES[name], body, kind)[0] < 500, (kind, body[:60])


@pytest.mark.parametrize("name", ["GET /mfa", "POST /login", "GET /confirm/<token>", "GET /auth/status"])
def test_no_header_is_an_error_of_ours(client, name):
    for header in HEADERS:
        for value in HEADER_VALUES:
            status, _ = client.ask(OPERATIONS[name], None if name.startswith("GET") else "{}", **{header: value})
            assert status < 500, (header, value[:20])


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(server):
    line = "x" * 4096
    chunks = "".join(f"{len(line):x}\r\n{line}\r\n" for _ in range(20)) + "0\r\n\r\n"
    head = f"POST /login HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(server.port, head + chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in answer
