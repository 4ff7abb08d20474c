"""Threat 41: one event is one line, whatever it holds, and after a whole life no secret stands in a log, a table, a backup or Redis."""

import base64
import hashlib
import json
import os
import re
import secrets
import socket
import sqlite3
import subprocess
import threading
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
import redis
from aiosmtpd.controller import Controller
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

import model
from domain import activity, clock, expired, outbox, passwords, seals
from domain.database import connection, transaction
from model import User
from tests.attacks.acts import account, exported, raw
from tests.attacks.whole_life import found_in, live
from tests.conftest import serving
from tests.mailbox import Mailbox, read
from tests.provider import Provider
from tests.serving import free_port

SETTINGS = {
    "LOG_LEVEL": "DEBUG",
    "MAIL_LIMIT": "1000 per hour",
    "PASSWORD_PEPPER": "a pepper of 0123456789 and abcdefghij",
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
}
CONTROLS = (
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x0b",
    "\x0c",
    "\x7f",
    "\x85",
    "\x9b2J",
    "\u2028",
    "\u2029",
    "\u202e",
    "\ufeff",
)


def log_of(server):
    """What the server has logged so far."""
    return (server.settings["INSTANCE_DIR"] / "app.log").read_bytes().decode()


class Post(Mailbox):
    """The mailboxes behind a real SMTP server: no file of the house holds a letter."""

    def __init__(self):
        self.got = []

    def of(self, address):
        outbox.deliver(now=True)
        return [letter for to, letter in self.got if to == [address]]

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.got.append((envelope.rcpt_tos, read(envelope.content)))
        return "250 OK"


class Listener:
    """Hears everything that is said to one db of a Redis, while the block runs."""

    def __init__(self, url):
        self.url, self.heard = url, b""

    def __enter__(self):
        if self.url:
            place = urlsplit(self.url)
            self.db = place.path.strip("/")
            self.socket = socket.create_connection((place.hostname, place.port))
            self.socket.sendall(b"MONITOR\r\n")
            self.thread = threading.Thread(target=self.listen)
            self.thread.start()
        return self

    def listen(self):
        with self.socket.makefile("rb") as said:
            self.heard = b"".join(line for line in said if f" [{self.db} ".encode() in line)

    def __exit__(self, *_):
        if self.url:
            self.socket.shutdown(socket.SHUT_RD)
            self.thread.join()
            self.socket.close()


@pytest.fixture(scope="module")
def google():
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def server(tmp_path_factory, google):
    post = Post()
    smtp = Controller(post, hostname="127.0.0.1", port=free_port())
    smtp.start()
    settings = {**SETTINGS, **google.settings, "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": smtp.port, "MAIL_USE_TLS": False}
    with serving(tmp_path_factory.mktemp("server"), settings) as running:
        running.mailbox = post
        yield running
    smtp.stop()


@pytest.fixture(scope="module")
def user(server, google):
    """A user who has done all that, and the jobs have run; and what Redis was told meanwhile."""
    with Listener(server.settings["REDIS_URL"]) as redis_:
        diary = live(server, f"user-{secrets.token_hex(4)}@example.com", google)
        activity.flush()
        seals.seal()
        expired.purge()
    diary.said_to_redis = redis_.heard
    return diary


def rows():
    """Every row of every table, as text."""
    with connection() as db:
        tables = {table: db.execute(text(f"SELECT * FROM {table}")).all() for table in model.Base.metadata.tables}
    return {table: ["\t".join(map(str, row)) for row in some] for table, some in tables.items()}


def backup(uri, folder):
    """A backup, as an operator makes it."""
    url = make_url(uri)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database)) as source, closing(sqlite3.connect(folder / "backup.db")) as copy:
            source.backup(copy)
            return "\n".join(copy.iterdump()).encode("utf-8", "surrogateescape")
    where = [f"--host={url.host}", f"--port={url.port}", f"--user={url.username}"]
    if url.get_backend_name() == "postgresql":
        dump = ["pg_dump", *where, url.database]
    else:
        dump = ["mariadb-dump", "--hex-blob", *where, url.database]
    environment = {**os.environ, "PGPASSWORD": url.password or "", "MYSQL_PWD": url.password or ""}
    return subprocess.run(dump, env=environment, capture_output=True, check=True).stdout


def test_the_life_was_a_full_one_and_its_secrets_would_be_found(user):
    kinds = {re.sub(r" \(\d+\)$", "", name) for name in (*user.long, *user.short)}
    assert kinds >= {"a link", "a mailed code", "a texted code", "a TOTP code", "the TOTP secret", "a recovery code"}
    assert kinds >= {"access_token", "refresh_token", "mfa_token", "otp_token", "device_token", "csrf_access_token"}
    assert kinds >= {"an API key", "an application token", "a service's token", "a code to exchange", "the provider's code_verifier"}
    assert kinds >= {"the secret of the client", "the SECRET_KEY", "the JWT_SECRET_KEY", "the FERNET_KEY", "the PASSWORD_PEPPER"}
    assert len(user.long) > 80
    for name, secret in (*user.long.items(), *user.short.items()):
        assert name in found_in(user, f'"said": "{secret}"')
    for shift in range(3):
        quoted = base64.b64encode(b'"' * shift + user.password.encode() + b'"')
        assert "the fifth password" in " ".join(found_in(user, quoted))
    hashed = hashlib.sha256(next(iter(user.short.values())).encode())
    assert next(iter(user.short)) in found_in(user, hashed.hexdigest())
    assert next(iter(user.short)) in found_in(user, b"x" + hashed.digest() + b"x")
    seed = next(secret for name, secret in user.long.items() if name.startswith("the TOTP secret"))
    assert "the TOTP secret" in " ".join(found_in(user, base64.b32decode(seed)))


def test_no_secret_is_in_a_log(server, user):
    folder = server.settings["INSTANCE_DIR"]
    places = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt" and path.name != "secrets.json"]
    assert {"app.log", "server.out"} <= {path.name for path in places}
    assert not any(path.suffix == ".eml" for path in places)
    assert "/verify-otp" in log_of(server)
    found = {path.name: found_in(user, path.read_bytes()) for path in places}
    assert {name: names for name, names in found.items() if names} == {}


def test_no_secret_is_in_a_table(user):
    everything = rows()
    assert any(user.email in row for row in everything["users"])
    found = {table: found_in(user, "\n".join(some)) for table, some in everything.items()}
    assert {table: names for table, names in found.items() if names} == {}


def test_no_secret_is_in_the_audit_trail_as_it_is_exported(server, user):
    trail = exported(server)
    done = {json.loads(line)["event"]["action"] for line in trail.splitlines()}
    assert done >= {"account.created", "sign_in", "sign_in.second_factor", "factor.on", "step_up", "password.reset", "session.ended"}
    assert user.email in trail
    assert found_in(user, trail) == []


def test_no_secret_is_in_a_backup(server, user, tmp_path):
    dump = backup(server.settings["SQLALCHEMY_DATABASE_URI"], tmp_path)
    assert user.email.encode() in dump
    assert found_in(user, dump) == []


def test_no_secret_is_in_the_file_of_the_database(server, user):
    """In no page that was freed and in no journal either."""
    path = urlsplit(server.settings["SQLALCHEMY_DATABASE_URI"]).path
    if not server.settings["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("the database is no file")
    for part in ("", "-wal"):
        with open(path[1:] + part, "rb") as file:
            content = file.read()
        assert [name for name in found_in(user, content) if name in user.long] == []


def test_no_secret_is_in_redis_nor_was_ever_said_to_it(server, user):
    if not server.settings["REDIS_URL"]:
        pytest.skip("no Redis")
    with redis.Redis.from_url(server.settings["REDIS_URL"]) as client:
        keys = list(client.scan_iter())
        kept = b"\n".join(key + b" " + (client.get(key) if client.type(key) == b"string" else client.dump(key)) for key in keys)
    assert b"gatehouse:epoch" in keys
    assert user.said_to_redis.count(b"\n") > 100
    assert found_in(user, kept) == []
    assert found_in(user, user.said_to_redis) == []


def test_every_request_is_one_line_whatever_it_holds(server, email):
    before = log_of(server)
    answers = []
    for control in CONTROLS:
        answers.append(server.get(f"/{quote('a' + control + 'b')}/x"))
        answers.append(server.get(f"/confirm/{quote('a' + control + 'b')}?a={quote(control)}"))
        answers.append(server.post("/signup", {"email": f"{email}{control}", "password": "x", "username": control, control: control}))
        answers.append(server.post("/signup", {"email": email, "password": "a good long password", "name": f"Ann{control}Arbor"}))
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    lines = log_of(server).removeprefix(before).splitlines()
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if sum(f"request_id={one} " in line for line in lines) != 1] == []
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ [\w.]+: ", line)] == []
    assert [line for line in lines if not line.isprintable()] == []


def test_raw_bytes_in_a_request_make_no_line_of_their_own(server):
    before = log_of(server)
    for line in ("GET /a\x1b[2Jb HTTP/1.1", "GET /a\x00b HTTP/1.1", "GET /\xe9\xff HTTP/1.1", "GET /a\rb HTTP/1.1", "G\x1bT / HTTP/1.1"):
        for header in ("User-Agent: a\x1b[2Jb", "X-Request-ID: a\x00b\x07", "Host: a\x1bb", "Accept: \xff"):
            raw(server.port, f"{line}\r\nHost: gatehouse\r\nConnection: close\r\n{header}\r\n\r\n")
            raw(server.port, f"GET /healthz HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\n{header}\r\n\r\n")
    lines = log_of(server).removeprefix(before).splitlines()
    assert [line for line in lines if not line.isprintable() or not line.startswith("20")] == []
    console = server.log.read_bytes().decode().splitlines()
    assert [line for line in console if not line.isprintable() or not re.match(r"\[?20\d\d-", line)] == []


def test_a_path_can_not_claim_what_only_the_server_says(server):
    before = log_of(server)
    server.get(f"/{quote(' status=200 /caller=boss /x')}")
    server.get("/x%20request_id=0%20ip=1.2.3.4/%09status=200")
    lines = log_of(server).removeprefix(before).splitlines()
    assert len(lines) == 2
    for line in lines:
        words = [word.split("=")[0] for word in line.split(" ") if "=" in word]
        assert sorted(words) == sorted(set(words))
        assert "status=404" in line


def test_what_a_statement_was_given_is_not_told_by_its_error(server, email):
    account(email)
    hashed, now = passwords.hash("some password that is long"), clock.now()
    again = User(id="1", email=email, password_hash=hashed, status="active", mfa_enabled=False, created_at=now, email_confirmed_at=now)
    with pytest.raises(IntegrityError) as failure, transaction() as db:
        db.add(again)
    assert "users" in str(failure.value)
    assert hashed not in str(failure.value)
