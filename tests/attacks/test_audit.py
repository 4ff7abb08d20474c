"""Threats 37 and 41 at the audit trail: whose rows it shows, what stands in a row, and a chain that nobody forks."""

import base64
import json
import multiprocessing
import secrets
import string
from urllib.parse import quote

import pytest
from sqlalchemy import select

import config
from domain import accounts, audit, database, limits, seals
from domain.caller import Client
from domain.database import reading
from model import AuditChain, AuditEvent
from tests.attacks.acts import count, exported, raw, user_of
from tests.serving import PATIENCE, at_once
from tests.visitor import PASSWORD

SETTINGS: dict[str, str] = {}  # Every row of the trail is looked at.
ACTIVITY, AUDIT = "/profile/activity", "/api/admin/audit"
FIELDS = {"id", "at", "action", "ip", "user_agent", "result"}
CONTROLS = ["\r\nX: y", "\n", "\0", "\x1b[2J", "\x07", "\x7f", "\x85", "\xa0", "\x0b"]
QUERIES = [
    "user={other}",
    "user_id={other}",
    "actor={other}",
    "user={other}&user={me}",
    "where=1%3D1",
    "sort=salt",
    "order_by=password_hash",
    "fields=salt,personal_hash,seal,facts,name",
    "include=facts",
    "limit=200%20OR%201%3D1",
    "user=%27%20OR%20%271%27%3D%271",
    "user[]={other}",
    "user={other}%00",
    "offset=-1",
    "cursor={cursor}",
    "cursor={cursor}%3D",
    "cursor={cursor}&cursor=",
]


def encoded(text):
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


FORGED = [
    "",
    "x",
    "=",
    "%00",
    "%F0%9F%94%91",
    "9" * 128,
    "A" * 129,
    "A" * 1000,
    *(
        encoded(text)
        for text in (
            "",
            "0",
            f"99999999999999999 {'0' * 32}",
            f"-1 {'0' * 32}",
            f"1e9 {'0' * 32}",
            f"1 {'0' * 31}'",
            f"1 ' OR 1=1 -- {'0' * 18}",
            f"{'9' * 40} {'0' * 32}",
            f"\u0661 {'0' * 32}",
            f"1 {'0' * 32}\n",
            f"01 {'0' * 32}",
            f"1 {'F' * 32}",
            '{"at": "2026", "id": 1}',
            "salt ASC",
            "\ud800",
        )
    ),
]


@pytest.fixture(scope="module")
def people(server):
    """Two users and an administrator, as their tokens, with ids."""
    accounts.create("admin@example.com", PASSWORD, admin=True)
    admin = server.login("admin@example.com").json
    me, other = server.member("me@example.com"), server.member("other@example.com")
    for token in (me["access_token"], other["access_token"]):
        for _ in range(3):
            server.patch("/profile", {"bio": "x"}, token=token)
    return {"admin": admin["access_token"], "me": me["access_token"], "my id": me["user"]["id"], "other": other["user"]["id"]}


def rows_of(*which):
    with reading() as db:
        return db.scalars(select(AuditEvent).where(*which).order_by(AuditEvent.at)).all()


def mine(people):
    return {row.id for row in rows_of(AuditEvent.user_id == people["my id"])}


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_shows_a_row_of_somebody_else_or_another_column(server, people, query):
    cursor = server.get(f"{AUDIT}?limit=1", token=people["admin"]).json["next_cursor"]
    answer = server.get(f"{ACTIVITY}?{query.format(other=people['other'], me=people['my id'], cursor=cursor)}", token=people["me"])
    assert answer.status in (200, 400), answer.body
    if answer.status == 200:
        assert {one["id"] for one in answer.json["events"]} <= mine(people)
        assert {frozenset(one) for one in answer.json["events"]} <= {frozenset(FIELDS)}


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_shows_an_administrator_a_secret_column(server, people, query):
    cursor = server.get(f"{AUDIT}?limit=1", token=people["admin"]).json["next_cursor"]
    answer = server.get(f"{AUDIT}?{query.format(other=people['other'], me=people['my id'], cursor=cursor)}", token=people["admin"])
    assert answer.status in (200, 400), answer.body
    if answer.status == 200:
        assert {frozenset(one) for one in answer.json["events"]} <= {frozenset(FIELDS | {"actor", "user"})}
    for row in rows_of():
        assert row.salt not in answer.text
        assert row.personal_hash not in answer.text


@pytest.mark.parametrize("path", [ACTIVITY, AUDIT])
@pytest.mark.parametrize("cursor", FORGED)
def test_a_cursor_that_we_have_not_given_is_refused_or_only_a_place(server, people, path, cursor):
    answer = server.get(f"{path}?cursor={quote(cursor, safe='%')}", token=people["me" if path == ACTIVITY else "admin"])
    assert answer.status in (200, 400, 431, 414), answer.body
    if answer.status == 400:
        assert (answer.code, [one["field"] for one in answer.json["errors"]]) == ("validation_failed", ["cursor"])
    else:
        assert cursor == encoded(f"99999999999999999 {'0' * 32}"), "and that is a place far in the future"
        assert path == AUDIT or {one["id"] for one in answer.json["events"]} <= mine(people)


def test_a_cursor_whose_characters_are_changed_shows_no_row_of_somebody_else(server, people):
    cursor = server.get(f"{AUDIT}?limit=1", token=people["admin"]).json["next_cursor"]
    statuses = set()
    for place in range(len(cursor)):
        changed = cursor[:place] + secrets.choice(string.ascii_letters) + cursor[place + 1 :]
        answer = server.get(f"{ACTIVITY}?cursor={changed}", token=people["me"])
        statuses.add(answer.status)
        if answer.status == 200:
            assert {one["id"] for one in answer.json["events"]} <= mine(people)
    assert statuses <= {200, 400}


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_what_a_client_says_of_itself_is_one_clean_row(server, email, control):
    before = count(AuditEvent)
    body = json.dumps({"email": email, "password": f"wrong{control}"})
    head = f"POST /login?x={quote(control)} HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\nContent-Type: application/json\r\n"
    answer = raw(server.port, f"{head}User-Agent: Fire{control}fox\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    taken = b" 401 " in answer.splitlines()[0]
    assert taken or b" 400 " in answer.splitlines()[0], answer
    assert count(AuditEvent) == before + taken
    for row in rows_of(AuditEvent.name == email):
        assert row.user_agent.isprintable()
        assert len(row.user_agent) <= 400


@pytest.mark.parametrize("typed", ["\n", "\r\n", "\x1b[2J", "\u2028", "\u202e", "\0", "\x85"], ids=ascii)
def test_what_is_typed_as_a_name_is_clean_or_no_row(server, typed):
    before = count(AuditEvent)
    for field in ("email", "username"):
        for value in (f"jo{typed}@example.com", f"{typed}jo@example.com", f"jo{typed}n"):
            server.post("/login", {field: value, "password": "wrong"})
    names = [row.name for row in rows_of() if row.name is not None]
    assert [name for name in names if not name.isprintable()] == []
    assert count(AuditEvent) == before


def test_every_event_is_one_line_of_the_export(server, email):
    for control in ("\u2028", "\x85", "é", "\U0001f511"):
        server.post("/login", {"email": email, "password": "wrong"}, headers={"User-Agent": f"a{control}b".encode()})
        audit.note_alone("sign_in", "u", Client("203.0.113.7", f"a{control}b"))
    lines = exported(server).splitlines()
    assert [line for line in lines if not (line.isascii() and line.isprintable())] == []
    assert sorted(json.loads(line)["event"]["id"] for line in lines) == sorted(row.id for row in rows_of())


def test_a_password_that_is_typed_into_the_field_of_the_name_is_not_kept(server):
    password = f"violet-otters.{secrets.token_hex(4)}"
    assert server.post("/login", {"username": password, "password": "something else"}).code == "invalid_credentials"
    newest = rows_of()[-1]
    assert (newest.action, newest.result, newest.name) == ("sign_in", "invalid_credentials", None)
    assert password not in exported(server)


def test_guesses_at_once_are_no_flood_and_their_lockout_is_one_event(server, email):
    server.join(email)
    answers = at_once(30, lambda _: server.login(email, "a wrong password"))
    assert {one.status for one in answers} == {401, 429}
    user_id = user_of(email).id
    for _ in range(5):
        assert server.login(email, "a wrong password").status == 429
    failed = rows_of(AuditEvent.user_id == user_id, AuditEvent.action == "sign_in")
    assert len(failed) == config.settings.FAILED_ATTEMPTS_LIMIT
    (locked,) = rows_of(AuditEvent.user_id == user_id, AuditEvent.action == "account.locked")
    assert locked.facts == {"secret": "password", "pause_seconds": limits.FIRST_PAUSE_SECONDS}


def _seal(settings, gate, _):
    config.settings, seals.BATCH = settings, 7
    database.connect(settings)
    gate.wait(PATIENCE)
    try:
        return seals.seal()
    except Exception as failure:
        return repr(failure)


def test_sealers_at_once_make_one_chain(server):
    for _ in range(100):
        audit.note_alone("step_up", "u", actor="u")
    before = count(AuditEvent, AuditEvent.number.is_(None))
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(20) as pool:
        gate = manager.Barrier(20)
        done = pool.starmap(_seal, [(config.settings, gate, one) for one in range(20)], 1)
    assert [one for one in done if not isinstance(one, int)] == []
    assert sum(done) + seals.seal() == before
    rows = rows_of()
    assert sorted(row.number for row in rows) == list(range(1, len(rows) + 1))
    assert seals.verify().broken is None
    with reading() as db:
        assert db.get(AuditChain, seals.CHAIN).number == len(rows)
