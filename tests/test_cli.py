"""The commands, as an operator types them: words, answers and exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import select, update

import cli
import config
from domain import accounts, audit, budgets, canaries, checks, clock, keys, passwords, schema, seals, secrets, tickets
from domain.caller import Client
from domain.database import new_id, reading, transaction
from domain.errors import TooManyAttempts
from model import AuditEvent, Factor, Session, SigningKey, User
from tests import databases
from tests.serving import PATIENCE

ROOT = Path(cli.__file__).resolve().parent
DONE = "Nothing is left under the others: they can go.\n"
EMAIL, PASSWORD = "jo@example.com", "correct horse battery"


@pytest.fixture(autouse=True)
def house(tmp_path):
    with databases.connected(tmp_path):
        yield


@pytest.fixture
def tables():
    schema.upgrade()


@pytest.fixture
def flask():
    """Runs a command; the answer has exit_code, stdout and stderr."""
    app = Flask("test")
    cli.register(app)
    return lambda words, given=None: app.test_cli_runner().invoke(args=words.split(), input=given)


def user():
    with reading() as db:
        return db.scalar(select(User))


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


# migrate


def test_migrate_up_status_and_down(flask):
    newest = max(schema._revisions())
    assert flask("migrate status").stdout == f"at nothing, newest {newest}, pending: {' '.join(schema._revisions())}\n"
    assert flask("migrate up").stdout == f"Up: {' '.join(schema._revisions())}\n"
    assert flask("migrate up").stdout == "Nothing to do.\n"
    assert flask("migrate status").stdout == f"at {newest}, newest {newest}, pending: none\n"
    assert flask("migrate down --steps 1").stdout == f"Down: {newest}\n"
    assert flask("migrate up --steps 1").stdout == f"Up: {newest}\n"
    assert flask("migrate down --yes").exit_code == 0
    assert schema.status().current is None


def test_migrate_down_without_steps_asks_first(flask, tables):
    refused = flask("migrate down", given="n\n")
    assert refused.exit_code == 1
    assert schema.is_current()
    assert flask("migrate down", given="y\n").exit_code == 0
    assert schema.status().current is None


def test_migrate_create_names_the_file_it_wrote(flask, tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (tmp_path / "migrations" / name).write_text((ROOT / "migrations" / name).read_text())
    answer = flask("migrate create add_everything")
    assert answer.exit_code == 0, answer.output
    assert Path(answer.stdout.strip()).name == "0001_add_everything.py"


# users


def test_an_account_made_with_a_password_can_be_signed_in_to(flask, tables):
    answer = flask("users create Jo@Example.com --password-stdin", given=f"{PASSWORD}\n")
    assert answer.exit_code == 0, answer.output
    assert "/reset-password/" not in answer.stdout
    assert (user().email, user().status) == (EMAIL, "active")
    assert passwords.verify(user().password_hash, PASSWORD)


def test_an_account_made_without_a_password_comes_with_a_link_alone_on_the_last_line(flask, tables):
    answer = flask(f"users create {EMAIL}")
    link = answer.stdout.splitlines()[-1]
    assert link.startswith(f"{config.settings.BASE_URL}/reset-password/")
    with reading() as db:
        tickets.check_link(db, tickets.RESET, link.rpartition("/")[2])


@pytest.mark.parametrize(
    ("words", "given", "code"),
    [
        (f"users create {EMAIL}", None, "email_taken"),
        ("users create new@example.com --password-stdin", "short\n", "weak_password"),
        ("users create not-an-address", None, "validation_failed"),
        ("users activate nobody@example.com", None, "not_found"),
        ("users deactivate nobody@example.com", None, "not_found"),
        ("users unlock nobody@example.com", None, "not_found"),
        ("users reset-mfa nobody@example.com", None, "not_found"),
    ],
)
def test_a_refused_command_says_its_code_and_exits_with_1(flask, tables, words, given, code):
    accounts.create(EMAIL)
    answer = flask(words, given)
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"Error: {code}: ")
    assert answer.stdout == ""


def test_an_account_is_switched_off_and_on(flask, tables):
    accounts.create(EMAIL)
    open_session()
    assert flask(f"users deactivate {EMAIL}").exit_code == 0
    assert user().status == "inactive"
    assert open_sessions() == 0
    assert flask(f"users activate {EMAIL}").exit_code == 0
    assert user().status == "active"


def test_the_last_administrator_is_not_switched_off(flask, tables):
    accounts.create(EMAIL, admin=True)
    refused = flask(f"users deactivate {EMAIL}")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: last_admin: ")
    assert user().status == "active"
    accounts.create("second@example.com", admin=True)
    assert flask(f"users deactivate {EMAIL}").exit_code == 0


def test_unlock_forgets_the_failures(flask, tables):
    account = accounts.budget_name(accounts.create(EMAIL), EMAIL)
    for _ in range(config.settings.FAILED_ATTEMPTS_LIMIT):
        budgets.spend("password", account)
    with pytest.raises(TooManyAttempts):
        budgets.spend("password", account)
    assert flask(f"users unlock {EMAIL}").exit_code == 0
    budgets.spend("password", account)


def test_lost_factors_are_reset(flask, tables):
    accounts.create(EMAIL)
    with transaction() as db:
        db.execute(update(User).values(mfa_enabled=True))
    open_session()
    answer = flask(f"users reset-mfa {EMAIL}")
    assert (answer.exit_code, answer.stdout) == (0, "The second factors are off.\n")
    assert user().mfa_enabled is False
    assert open_sessions() == 0


def lines(*records):
    return "".join(f"{json.dumps(record)}\n" for record in records)


def test_import_brings_accounts_in_and_names_the_lines_that_it_refuses(flask, tables, tmp_path):
    file = tmp_path / "accounts.jsonl"
    good = {"email": EMAIL, "password_hash": passwords.hash(PASSWORD)}
    file.write_text(lines(good))
    answer = flask(f"users import {file}")
    assert (answer.exit_code, answer.stdout) == (0, "Imported 1, skipped 0 that have an account, refused 0.\n")
    assert passwords.verify(user().password_hash, PASSWORD)
    answer = flask("users import -", lines(good, {"email": "new@example.com", "password_hash": "hunter2"}))
    assert (answer.exit_code, answer.stdout) == (1, "Imported 0, skipped 1 that have an account, refused 1.\n")
    assert answer.stderr == "line 2: password_hash: is of no known form\n"


def test_import_wants_a_file_that_is_there(flask, tables):
    assert flask("users import nowhere.jsonl").exit_code == 2


# sessions, keys


def open_session():
    now = clock.now()
    times = dict.fromkeys(("created_at", "authenticated_at", "rotated_at", "last_seen_at", "tokens_expire_at"), now)
    with transaction() as db:
        db.add(Session(id=new_id(), user_id=user().id, amr="pwd", generation=1, floor=0, **times))


def open_sessions():
    with reading() as db:
        return len(db.scalars(select(Session).where(Session.ended_at.is_(None))).all())


def test_sessions_end_all_ends_every_session(flask, tables):
    accounts.create(EMAIL)
    open_session()
    open_session()
    assert flask("sessions end --all").stdout == "Ended 2 sessions.\n"
    assert open_sessions() == 0


def test_sessions_end_wants_to_be_told_that_all_are_meant(flask, tables):
    assert flask("sessions end").exit_code == 2


def test_keys_rotate_encryption_says_how_many(flask, tables):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    accounts.create(EMAIL)
    settings(FERNET_KEY=old)
    factor = Factor(id=new_id(), user_id=user().id, type="totp", name="t", last_step=0, created_at=clock.now())
    factor.secret_encrypted = secrets.encrypt("seed")
    with transaction() as db:
        db.add(factor)
    settings(FERNET_KEY=f"{new},{old}")
    answer = flask("keys rotate encryption")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, f"1 secrets are encrypted under the newest key.\n{DONE}", "")
    settings(FERNET_KEY=new)
    with reading() as db:
        assert secrets.decrypt(db.get(Factor, factor.id).secret_encrypted) == "seed"
    with transaction() as db:
        db.execute(update(Factor).values(secret_encrypted=b"garbage"))
    assert "1 secrets are under none of the keys" in flask("keys rotate encryption").stderr


def test_with_another_key_only_what_repairs_works(flask, tables):
    accounts.create(EMAIL)
    canaries.keep()
    right, wrong = config.settings.FERNET_KEY, Fernet.generate_key().decode()
    settings(FERNET_KEY=wrong)
    for words in (f"users unlock {EMAIL}", "jobs run deliver-mail", "audit export"):
        refused = flask(words)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: FERNET_KEY: ")
    found = flask("check")
    assert found.exit_code == 1
    assert "FAIL keys: FERNET_KEY: " in found.stdout
    assert "under none of the keys" in flask("keys rotate encryption").stderr
    for words in ("migrate status", "migrate up", "sessions end --all", "users --help"):
        assert flask(words).exit_code == 0
    assert flask("keys accept", given="n\n").exit_code == 1
    settings(FERNET_KEY=right)
    assert flask("users unlock " + EMAIL).exit_code == 0
    settings(FERNET_KEY=wrong)
    accepted = flask("keys accept --yes")
    assert (accepted.exit_code, accepted.stdout) == (0, "The server starts with the present keys.\n")
    assert accepted.stderr.startswith("FERNET_KEY: ")
    assert flask(f"users unlock {EMAIL}").exit_code == 0
    assert not any(key in f"{one.output}" for one in (refused, found, accepted) for key in (right, wrong))


def test_a_rotation_beside_a_server_with_the_old_list_fails(flask, tables, monkeypatch):
    monkeypatch.setattr(keys, "rotate_encryption", lambda: keys.Rotation(3, 0, 2))
    answer = flask("keys rotate encryption")
    assert (answer.exit_code, answer.stdout) == (1, "3 secrets are encrypted under the newest key.\n")
    assert answer.stderr.startswith("Error: 2 are under an older key: ")


def test_keys_rotate_signing_makes_a_key_pair(flask, tables):
    settings(JWT_ALGORITHM="ES256")
    answer = flask("keys rotate signing")
    with reading() as db:
        (kid,) = db.scalars(select(SigningKey.kid))
    assert (answer.exit_code, answer.stdout) == (0, f"Within a minute every worker signs with {kid}.\n")


def test_keys_rotate_signing_is_refused_where_tokens_are_signed_with_a_secret(flask, tables):
    answer = flask("keys rotate signing")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: conflict: JWT_ALGORITHM is HS256")


# jobs


def test_jobs_list_has_a_line_a_job_with_its_name_first(flask, tables):
    flask("jobs run purge-expired")
    lines = flask("jobs list").stdout.splitlines()
    names = ["blacklist-idle", "purge-blacklist", "purge-expired", "flush-activity", "deliver-mail", "deliver-sms", "seal-audit"]
    names += ["warn-keys", "end-unused-keys", "raise-alerts", "erase-accounts", "watch-providers"]
    assert [line.split()[0] for line in lines] == names
    assert "never ran" in lines[0]
    assert "ok, affected 0" in lines[2]


def test_jobs_run_prints_json(flask, tables):
    assert json.loads(flask("jobs run purge-expired --dry-run").stdout) == {"job": "purge-expired", "dry_run": True, "affected": 0}
    assert json.loads(flask("jobs run deliver-mail").stdout) == {"job": "deliver-mail", "dry_run": False, "affected": 0}


def test_an_unknown_job_exits_with_2(flask, tables):
    assert flask("jobs run sweep-the-floor").exit_code == 2


# audit


def test_audit_verify_says_how_many_are_sealed_and_where_the_chain_ends(flask, tables):
    accounts.create(EMAIL)
    assert flask("audit verify").stdout == f"0 sealed and right, 1 not sealed yet, the chain ends at 0: {'0' * 64}\n"
    flask("jobs run seal-audit")
    answer = flask("audit verify")
    assert answer.exit_code == 0
    assert answer.stdout == f"1 sealed and right, 0 not sealed yet, the chain ends at 1: {seals.end().seal}\n"


def test_audit_verify_names_the_first_broken_row_and_exits_with_1(flask, tables):
    accounts.create(EMAIL)
    accounts.unlock(EMAIL)
    seals.seal()
    with transaction() as db:
        db.execute(update(AuditEvent).where(AuditEvent.number == 2).values(action="account.activated"))
        broken = db.scalar(select(AuditEvent.id).where(AuditEvent.number == 2))
    answer = flask("audit verify")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("1 sealed and right, 0 not sealed yet, the chain ends at 2: ")
    assert answer.stderr == f"Error: number 2 (id {broken}) was changed, or put in, or has changed places\n"


def events(answer):
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_audit_export_writes_a_line_an_event_by_the_names_of_ecs(flask, tables):
    agent = "Fire\u2028fox/\u00e9"
    audit.note_alone("sign_in", "u1", Client("203.0.113.7", agent), result="invalid_credentials", name="jo@example.com")
    audit.note_alone("sign_in", "u1", Client("203.0.113.7", agent), actor="u1", session_id="s1", amr=["pwd"])
    audit.note_alone("sign_in", "u1", result="mfa_required")
    audit.note_alone("alert.many_addresses", "u1", actor=audit.SYSTEM)
    failed, signed_in, waiting, alert = events(flask("audit export"))
    assert failed["event"] == {
        "id": failed["event"]["id"],
        "kind": "event",
        "category": ["authentication"],
        "action": "sign_in",
        "outcome": "failure",
        "reason": "invalid_credentials",
        "sequence": 1,
        "dataset": "gatehouse.audit",
    }
    assert failed["user"] == {"name": "jo@example.com", "target": {"id": "u1"}}
    assert failed["source"] == {"ip": "203.0.113.7"}
    assert failed["user_agent"] == {"original": agent}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", failed["@timestamp"])
    assert (signed_in["user"], signed_in["event"]["outcome"]) == ({"id": "u1", "target": {"id": "u1"}}, "success")
    assert {key: signed_in["gatehouse"][key] for key in ("actor", "session_id", "facts")} == {
        "actor": "u1",
        "session_id": "s1",
        "facts": {"amr": ["pwd"]},
    }
    assert waiting["event"]["outcome"] == "unknown"
    assert (alert["event"]["kind"], alert["event"]["category"], alert["user"]) == (
        "alert",
        ["intrusion_detection"],
        {"target": {"id": "u1"}},
    )
    assert "salt" not in json.dumps([failed, signed_in])


def test_audit_export_can_be_taken_up_where_it_ended(flask, tables):
    accounts.create(EMAIL)
    first = events(flask("audit export"))
    accounts.unlock(EMAIL)
    (second,) = events(flask(f"audit export --after {first[-1]['event']['sequence']}"))
    assert second["event"]["action"] == "account.unlocked"
    assert events(flask("audit export --after 2")) == []
    assert len(events(flask("audit export"))) == 2


def test_audit_export_since_a_moment(flask, tables, moved_clock):
    accounts.create(EMAIL)
    moved_clock(3600)
    since = clock.now()
    accounts.unlock(EMAIL)
    assert [one["event"]["action"] for one in events(flask(f"audit export --since {since:%Y-%m-%dT%H:%M:%SZ}"))] == ["account.unlocked"]
    assert len(events(flask("audit export --since 2020-01-01"))) == 2
    assert flask("audit export --since yesterday").exit_code == 2


# check


def test_check_has_a_line_a_part(flask, tables):
    answer = flask("check")
    assert answer.exit_code == 0, answer.output
    assert [line.split()[1] for line in answer.stdout.splitlines()] == [f"{one.part}:" for one in checks.each()]
    assert all(line.startswith("ok ") for line in answer.stdout.splitlines())


def test_check_exits_with_1_when_a_part_fails(flask):
    answer = flask("check")
    assert answer.exit_code == 1
    assert "FAIL schema: " in answer.stdout


# The real application


def test_the_application_itself_has_the_commands_and_prints_nothing_else(tables):
    answer = shell("jobs run purge-expired --dry-run")
    assert json.loads(answer.stdout) == {"job": "purge-expired", "dry_run": True, "affected": 0}
    assert answer.returncode == 0


def test_in_production_an_old_schema_can_be_migrated():
    keys = {"SECRET_KEY": "s" + new_id(), "JWT_SECRET_KEY": "j" + new_id(), "FERNET_KEY": Fernet.generate_key().decode()}
    answer = shell("migrate up", APP_ENV="production", **keys)
    assert answer.returncode == 0, answer.stderr
    assert schema.is_current()


def shell(words, **settings):
    here = {"SQLALCHEMY_DATABASE_URI": config.settings.SQLALCHEMY_DATABASE_URI, "INSTANCE_DIR": str(config.settings.INSTANCE_DIR)}
    command = [sys.executable, "-m", "flask", "--app", "app", *words.split()]
    environment = {**os.environ, "APP_ENV": "testing", **here, **settings}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
