"""Accounts of another system: every line alone, in streams, with nothing written of a line that is refused."""

import json
from datetime import UTC, datetime

import pyotp
import pytest
from sqlalchemy import func, select
from werkzeug.security import generate_password_hash

from domain import accounts, imports, passwords, schema, secrets
from domain.database import reading
from model import AuditEvent, Factor, User
from tests import databases

PASSWORD = "seven quiet lanterns"
HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")


@pytest.fixture(autouse=True)
def house(tmp_path):
    with databases.connected(tmp_path):
        schema.upgrade()
        yield


def load(*records):
    """What becomes of these lines: the counts, and the number and reason of each that was refused."""
    refused = []
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in records]
    return tuple(imports.load(iter(lines), lambda number, reason: refused.append((number, reason)))), refused


def users():
    with reading() as db:
        return list(db.scalars(select(User).order_by(User.email)))


def test_a_line_becomes_a_confirmed_account_with_all_that_it_says():
    record = {
        "email": "Ann@Example.com",
        "password_hash": HASH,
        "username": "Ann",
        "name": " Ann Example ",
        "status": "inactive",
        "created_at": "2019-03-04T05:06:07+01:00",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
    }
    assert load(record) == ((1, 0, 0), [])
    (user,) = users()
    assert (user.email, user.username, user.name) == ("ann@example.com", "ann", "Ann Example")
    assert (user.status, user.locale, user.timezone) == ("inactive", "de-AT", "Europe/Vienna")
    assert user.created_at == datetime(2019, 3, 4, 4, 6, 7, tzinfo=UTC)
    assert user.email_confirmed_at is not None
    assert passwords.verify(user.password_hash, PASSWORD)


def test_an_account_may_come_without_a_password():
    assert load({"email": "ann@example.com"}) == ((1, 0, 0), [])
    assert (users()[0].password_hash, users()[0].password_changed_at) == (None, None)


def test_a_line_comes_with_its_authenticator_app():
    secret = pyotp.random_base32()
    load({"email": "ann@example.com", "totp_secret": f"{secret[:4]} {secret[4:].lower()}"})
    with reading() as db:
        factor = db.scalars(select(Factor)).one()
    assert secrets.decrypt(factor.secret_encrypted) == secret
    assert users()[0].mfa_enabled
    assert factor.proven_at is not None


BAD = {
    "no address": ({}, "email: Field required"),
    "no address at all": ({"email": "nobody"}, "email: is not an e-mail address"),
    "an unknown field": ({"email": "a@example.com", "is_admin": True}, "is_admin: Extra inputs are not permitted"),
    "a password in clear": ({"email": "a@example.com", "password_hash": PASSWORD}, "password_hash: is of no known form"),
    "an empty hash": ({"email": "a@example.com", "password_hash": ""}, "password_hash: is of no known form"),
    "a hash without bounds": (
        {"email": "a@example.com", "password_hash": "pbkdf2:sha256:1000000000$salt$" + "0" * 64},
        "password_hash: asks for more or less work than is served",
    ),
    "another's pepper": (
        {"email": "a@example.com", "password_hash": "v2$00000000$$2b$04$" + "." * 53},
        "password_hash: is under a pepper that PASSWORD_PEPPER does not list",
    ),
    "an odd username": ({"email": "a@example.com", "username": "a b"}, "username: is not 3 to 32 of a-z 0-9 . _ -"),
    "an odd status": ({"email": "a@example.com", "status": "admin"}, "status: Input should be 'active' or 'inactive'"),
    "a time without a zone": (
        {"email": "a@example.com", "created_at": "2019-03-04T05:06"},
        "created_at: Input should have timezone info",
    ),
    "a time to come": ({"email": "a@example.com", "created_at": "2999-01-01T00:00:00Z"}, "created_at: is before 1970 or still to come"),
    "a short secret": ({"email": "a@example.com", "totp_secret": "ABC"}, "totp_secret: is not base 32 of 112 bits or more"),
    "a NUL": ({"email": "a@example.com", "name": "a\0b"}, "name: holds a character that can't be stored"),
    "no object": ([], "Input should be an object"),
}


@pytest.mark.parametrize(("record", "reason"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_and_the_others_are_written(record, reason):
    good = [{"email": "first@example.com"}, {"email": "last@example.com"}]
    assert load(good[0], record, good[1]) == ((2, 0, 1), [(2, reason)])
    assert [user.email for user in users()] == ["first@example.com", "last@example.com"]


NO_JSON = [b"{", b"\xff\xfe\n", b'{"email": "\\ud800@example.com"}', b"x" * 70_000, b"[" * 50_000]


@pytest.mark.parametrize("line", NO_JSON, ids=lambda one: repr(one[:12]))
def test_what_is_no_json_is_a_bad_line_too(line):
    counts, refused = load(b"\n", line, {"email": "last@example.com"})
    assert counts == (1, 0, 1)
    assert [number for number, _ in refused] == [2]


def test_no_reason_holds_what_stood_in_the_line():
    _, refused = load(
        {"email": "a@example.com", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"},
        {"email": "b@example.com", "totp_secret": "hunter2"},
        {"email": "c@example.com", "\x1b[31m\n": "red"},
    )
    assert not any(secret in reason for _, reason in refused for secret in ("5f4d", "hunter", "red"))
    assert all(reason.isprintable() for _, reason in refused)


def test_addresses_that_have_an_account_are_skipped_and_left_as_they_are():
    accounts.create("ann@example.com")
    ann = {"email": "ANN@example.com", "password_hash": HASH, "name": "Somebody else"}
    assert load(ann, {"email": "bob@example.com"}, {"email": "bob@example.com"}) == ((1, 2, 0), [])
    assert (users()[0].password_hash, users()[0].name) == (None, None)


def test_a_username_that_is_taken_refuses_its_line():
    ann, bob = {"email": "ann@example.com", "username": "robin"}, {"email": "bob@example.com", "username": "Robin"}
    assert load(ann, bob) == ((1, 0, 1), [(2, "username: is taken")])
    assert [user.email for user in users()] == ["ann@example.com"]
    with reading() as db:
        assert db.scalar(select(func.count()).select_from(AuditEvent)) == 1


def test_every_account_is_in_the_audit_trail():
    load({"email": "ann@example.com"}, {"email": "bob@example.com"})
    with reading() as db:
        events = list(db.scalars(select(AuditEvent)))
    assert {(one.action, one.actor) for one in events} == {("account.created", "operator")}
    assert {one.user_id for one in events} == {user.id for user in users()}


def test_a_long_file_is_read_as_it_comes(monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 50)
    seen = []

    def lines():
        for number in range(175):
            seen.append(len(users()) if number % 50 == 0 else None)
            yield json.dumps({"email": f"user{number}@example.com"}).encode()

    assert imports.load(lines(), lambda *_: None) == (175, 0, 0)
    assert [one for one in seen if one is not None] == [0, 50, 100, 150]


def test_a_database_that_fails_in_the_middle_leaves_whole_batches(monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 2)
    real = imports._make

    def make(db, record):
        if record.email.startswith("c"):
            raise RuntimeError
        real(db, record)

    monkeypatch.setattr(imports, "_make", make)
    records = [{"email": f"{name}@example.com"} for name in "abdc"]
    with pytest.raises(RuntimeError):
        load(*records)
    assert [user.email for user in users()] == ["a@example.com", "b@example.com"]
    monkeypatch.setattr(imports, "_make", real)
    assert load(*records) == ((2, 2, 0), [])
