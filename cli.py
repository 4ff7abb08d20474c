"""`flask migrate|users|jobs|keys|sessions|audit|check`: each command is one call of the domain. A refusal is one line and exit 1."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO, NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

import config
from domain import (
    accounts,
    addresses,
    canaries,
    checks,
    imports,
    keys,
    mail,
    mfa,
    password_reset,
    runs,
    schema,
    seals,
    sessions,
    signing,
    trail,
)
from domain.errors import Fault, Refused, ValidationFailed
from jobs import schedule


def register(app: Flask) -> None:
    """Give the application its commands."""
    for command in (migrate, users, jobs, keys_, sessions_, audit_, check):
        app.cli.add_command(command)


def is_serving() -> bool:
    """Whether this process was started to answer requests, rather than for one of the commands or to watch for changes."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_object(ScriptInfo) is None:
        return True  # Not the `flask` command: gunicorn, granian, a test, `python app.py`.
    if context.info_name != "run":
        return False
    reloads = context.params.get("reload")
    return is_running_from_reloader() or not (get_debug_flag() if reloads is None else reloads)


def refuse(refusal: config.Refusal) -> NoReturn:
    """Say why nothing starts: a command in plain words; to a server that loads the app, as what it takes for a failure."""
    if click.get_current_context(silent=True) is None:
        raise refusal
    raise SystemExit(str(refusal))


@contextmanager
def refusals() -> Iterator[None]:
    """Say a refusal by its code."""
    try:
        yield
    except Refused as refused:
        reasons = [f"{fault.field}: {fault.message}" for fault in refused.errors]
        raise click.ClickException(" ".join([f"{refused.code}:", str(refused), *reasons])) from None


@click.group()
def migrate() -> None:
    """The tables: numbered revisions in migrations/versions."""


@migrate.command("create")
@click.argument("name")
def migrate_create(name: str) -> None:
    """Write the next revision from what model.py says now."""
    click.echo(schema.create(name))


@migrate.command("up")
@click.option("--steps", type=click.IntRange(min=1), help="Only so many revisions.")
@refusals()
def migrate_up(steps: int | None) -> None:
    """Bring the database to the newest revision."""
    done = schema.upgrade(steps)
    click.echo(f"Up: {' '.join(done)}" if done else "Nothing to do.")


@migrate.command("down")
@click.option("--steps", type=click.IntRange(min=1), help="Only so many revisions.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@refusals()
def migrate_down(steps: int | None, *, yes: bool) -> None:
    """Undo revisions; without --steps all of them, with all data."""
    if steps is None and not yes:
        click.confirm("This deletes every table and all data. Go on?", abort=True)
    undone = schema.downgrade(steps)
    click.echo(f"Down: {' '.join(undone)}" if undone else "Nothing to do.")


@migrate.command("status")
@refusals()
def migrate_status() -> None:
    """Where the database stands."""
    found = schema.status()
    click.echo(f"at {found.current or 'nothing'}, newest {found.newest}, pending: {' '.join(found.pending) or 'none'}")


def _require_keys() -> None:
    """Write nothing under keys that do not fit what is stored. Commands that repair do not ask."""
    if found := canaries.faults():
        raise click.ClickException("\n".join(found))


@click.group()
def users() -> None:
    """Accounts."""
    _require_keys()


@users.command("create")
@click.argument("email")
@click.option("--admin", is_flag=True, help="With the role admin of this server.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@refusals()
def users_create(email: str, *, admin: bool, password_stdin: bool) -> None:
    """A confirmed account. Without a password the last line is the link to set one."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    user = accounts.create(_address(email), password, admin=admin)
    click.echo(f"Created {user.email} ({user.id}).")
    if password is None:
        click.echo(mail.link(password_reset.invite(user.email)))


@users.command("import")
@click.argument("file", type=click.File("rb"))
@refusals()
def users_import(file: BinaryIO) -> None:
    """Confirmed accounts from JSON lines (- for standard input). Exit 1 if any line was refused."""
    done = imports.load(file, lambda number, reason: click.echo(f"line {number}: {reason}", err=True))
    click.echo(f"Imported {done.imported}, skipped {done.skipped} that have an account, refused {done.refused}.")
    sys.exit(1 if done.refused else 0)


# What is done to one account: the command, the act, what it says when it is done, and what it is for.
ACTS: tuple[tuple[str, Callable[[str], None], str, str], ...] = (
    ("activate", accounts.activate, "Activated.", "Give an account back the right to sign in."),
    ("deactivate", accounts.deactivate, "Deactivated.", "Take the right to sign in away, and end everything at once."),
    ("unlock", accounts.unlock, "Unlocked.", "Forget the failed attempts on an account."),
    ("reset-mfa", mfa.reset, "The second factors are off.", "For who has lost them; the owner is told."),
)


def _add_act(name: str, act: Callable[[str], None], done: str, meaning: str) -> None:
    @users.command(name, help=meaning)
    @click.argument("email")
    @refusals()
    def run(email: str) -> None:
        act(_address(email))
        click.echo(done)


for _act in ACTS:
    _add_act(*_act)


@click.group()
def jobs() -> None:
    """What runs on a clock."""
    _require_keys()


@jobs.command("list")
@refusals()
def jobs_list() -> None:
    """A line a job: its name, how often, its last run."""
    for job in schedule.JOBS:
        run = runs.last(job.name)
        told = f"last {run.started_at:%Y-%m-%dT%H:%M:%SZ} {run.result}, affected {run.affected}" if run else "never ran"
        click.echo(f"{job.name:16} every {job.seconds:g} s, {told}")


@jobs.command("run")
@click.argument("name", type=click.Choice([job.name for job in schedule.JOBS]))
@click.option("--dry-run", is_flag=True, help="Only count what would be affected.")
@refusals()
def jobs_run(name: str, *, dry_run: bool) -> None:
    """Run a job now, due or not."""
    click.echo(json.dumps(schedule.run_now(name, dry_run=dry_run)._asdict()))


@click.group("keys")
def keys_() -> None:
    """Keys of the server itself."""


@keys_.group("rotate")
def keys_rotate() -> None:
    """Bring a newer key into use."""


@keys_rotate.command("encryption")
@refusals()
def keys_rotate_encryption() -> None:
    """Encrypt every stored secret under the first FERNET_KEY; afterwards the others can go."""
    done = keys.rotate_encryption()
    click.echo(f"{done.rotated} secrets are encrypted under the newest key.")
    if done.unreadable:
        click.echo(f"{done.unreadable} secrets are under none of the keys, and were left as they are.", err=True)
    if done.older:
        raise click.ClickException(
            f"{done.older} are under an older key: a process without the new one in front runs. Restart it, and again."
        )
    click.echo("Nothing is left under the others: they can go.")


@keys_rotate.command("signing")
@refusals()
def keys_rotate_signing() -> None:
    """A new key pair for tokens (ES256, EdDSA); the old one verifies until its last token is over."""
    click.echo(f"Within a minute every worker signs with {signing.rotate()}.")


@keys_.command("accept")
@click.option("--yes", is_flag=True, help="Don't ask.")
@refusals()
def keys_accept(*, yes: bool) -> None:
    """Let the server start with the present keys, although others were in use and are lost."""
    for fault in canaries.faults():
        click.echo(fault, err=True)
    if not yes:
        click.confirm("Nobody will be able to use what is stored under the others. Go on?", abort=True)
    canaries.accept()
    click.echo("The server starts with the present keys.")


@click.group("sessions")
def sessions_() -> None:
    """Who is signed in."""


@sessions_.command("end")
@click.option("--all", is_flag=True, required=True, expose_value=False, help="Every session of everybody.")
@refusals()
def sessions_end() -> None:
    """End every session, as after a restore of a backup."""
    click.echo(f"Ended {sessions.end_all()} sessions.")


@click.group("audit")
def audit_() -> None:
    """Who did what."""
    _require_keys()


@audit_.command("verify")
@refusals()
def audit_verify() -> None:
    """Walk along the chain of seals; exit 1 at the first row that is not as it was sealed."""
    found = seals.verify()
    click.echo(f"{found.right} sealed and right, {found.unsealed} not sealed yet, the chain ends at {found.end.number}: {found.end.seal}")
    if found.broken:
        raise click.ClickException(f"number {found.broken.number} (id {found.broken.id or 'unknown'}) {found.broken.why}")


@audit_.command("export")
@click.option("--after", type=click.IntRange(min=0), help="Only what comes behind this number (event.sequence).")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="Only what happened since then (UTC).")
@refusals()
def audit_export(after: int | None, since: datetime | None) -> None:
    """Write every event as a line of JSON by the names of the Elastic Common Schema, the oldest first."""
    for event in trail.export(after, since.replace(tzinfo=UTC) if since else None):
        click.echo(json.dumps(event))


@click.command()
def check() -> None:
    """Try configuration, database, keys, mail, Redis and providers, a line each; exit 1 if any fails."""
    findings = []
    for finding in checks.each():
        click.echo(f"{'ok  ' if finding.is_good else 'FAIL'} {finding.part}: {finding.words}")
        findings.append(finding.is_good)
    sys.exit(0 if all(findings) else 1)


def _address(email: str) -> str:
    try:
        return addresses.canonical(email)
    except ValueError as error:
        raise ValidationFailed(errors=[Fault("email", "invalid", f"{error}.")]) from None
