"""The clock: what is due runs, once over all processes, whatever fails; and it stops without noise."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update

import config
from domain import canaries, clock, database, mail, outbox, runs, schema
from domain.database import reading, transaction
from domain.errors import NotFound
from jobs import schedule
from model import JobRun, Mail
from outbound import smtp
from tests import databases
from tests.serving import PATIENCE, eventually

ROOT = Path(schedule.__file__).resolve().parent.parent
ALONE = {job.name for job in schedule.JOBS if job.alone}


@pytest.fixture(autouse=True)
def house(tmp_path):
    with databases.connected(tmp_path):
        yield
        schedule.stop()


@pytest.fixture
def tables():
    schema.upgrade()


def write_mail():
    with transaction() as db:
        mail.send(db, "code", "jo@example.com", {"code": "042137", "minutes": "10", "purpose": "sign_in"})


def letters():
    return list((config.settings.INSTANCE_DIR / "outbox").glob("*.eml"))


def recorded():
    with reading() as db:
        return Counter(db.scalars(select(JobRun.name)))


@pytest.fixture
def process():
    """Starts `python -m jobs` on this test's database; whatever still runs at the end is stopped."""
    started = []

    def start(**settings):
        here = {"SQLALCHEMY_DATABASE_URI": config.settings.SQLALCHEMY_DATABASE_URI, "INSTANCE_DIR": str(config.settings.INSTANCE_DIR)}
        environment = {**os.environ, "APP_ENV": "testing", **here, **settings}
        options = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-m", "jobs"], **options))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()


def told_to_stop(one, number=signal.SIGTERM):
    one.send_signal(number)
    errors = one.communicate(timeout=PATIENCE)[1]
    return one.returncode, errors


def test_the_table_names_the_jobs_of_the_contract():
    assert [job.name for job in schedule.JOBS] == [
        "blacklist-idle",
        "purge-blacklist",
        "purge-expired",
        "flush-activity",
        "deliver-mail",
        "deliver-sms",
        "seal-audit",
        "warn-keys",
        "end-unused-keys",
        "raise-alerts",
        "erase-accounts",
        "watch-providers",
    ]


@pytest.mark.parametrize("name", [job.name for job in schedule.JOBS])
def test_every_job_runs_by_hand_and_rehearses(tables, name):
    assert schedule.run_now(name, dry_run=True) == (name, True, 0)
    assert recorded() == {}
    assert schedule.run_now(name) == (name, False, 0)
    assert recorded() == {name: 1}


def test_a_rehearsal_of_the_mail_counts_what_waits_and_sends_nothing(tables):
    write_mail()
    assert schedule.run_now("deliver-mail", dry_run=True).affected == 1
    assert letters() == []


def test_by_hand_a_mail_that_waits_for_its_next_try_leaves_at_once(tables):
    write_mail()
    with transaction() as db:
        db.execute(update(Mail).values(next_try_at=clock.now() + timedelta(hours=1)))
    assert schedule.run_now("deliver-mail").affected == 1
    assert len(letters()) == 1


def test_an_unknown_job_is_not_found():
    with pytest.raises(NotFound):
        schedule.run_now("sweep-the-floor")


def test_a_mail_leaves_within_five_seconds_without_any_request(tables):
    """Looked for every other second, so that there is time left for a machine that is slow; here it may be slower yet."""
    assert next(job for job in schedule.JOBS if job.name == "deliver-mail").seconds == 2
    schedule.start()
    write_mail()
    eventually(letters)


def test_soon_after_the_start_everything_that_is_due_has_run_once(tables):
    schedule.start()
    schedule.start()
    eventually(lambda: len(recorded()) == len(schedule.JOBS))
    assert all(recorded()[name] == 1 for name in ALONE)


def test_a_job_that_fails_again_and_again_stops_neither_itself_nor_the_others(tables, monkeypatch, caplog):
    beats = []

    def fail():
        raise RuntimeError("no")

    def beat():
        beats.append(1)
        return 0

    table = (schedule.Job("fails", 0.2, fail, fail), schedule.Job("beats", 0.2, beat, beat, alone=False))
    monkeypatch.setattr(schedule, "JOBS", table)
    schedule.start()
    eventually(lambda: len(beats) > 5 and caplog.text.count("Job fails failed") > 1)
    schedule.stop()
    assert "RuntimeError: no" in caplog.text
    assert runs.last("fails").result == "RuntimeError"


def test_a_database_that_is_away_costs_one_line_a_strike(caplog):
    database.disconnect()
    database.connect(config.load(APP_ENV="testing", SQLALCHEMY_DATABASE_URI="sqlite:////nowhere/at/all.db"))
    schedule._tick(schedule.JOBS[0])
    assert [record.getMessage() for record in caplog.records] == ["Job blacklist-idle did not run: the database or Redis is away"]
    assert caplog.records[0].exc_info is None


def test_after_the_stop_no_thread_is_left(tables):
    schedule.start()
    eventually(recorded)
    schedule.stop()
    eventually(lambda: not [thread for thread in threading.enumerate() if "job" in thread.name or "APScheduler" in thread.name])


def test_who_stops_sends_the_letter_that_is_under_way_and_takes_no_other(tables, monkeypatch):
    under_way, sent = threading.Event(), []

    def slowly(number, *_):
        under_way.set()
        assert outbox.stopping.wait(PATIENCE)
        sent.append(number)

    monkeypatch.setattr(smtp, "_write", slowly)
    for _ in range(3):
        write_mail()
    schedule.start()
    assert under_way.wait(PATIENCE)
    schedule.stop()
    with reading() as db:
        assert list(db.scalars(select(Mail.id).where(Mail.state == "sent"))) == sent
        assert len(db.scalars(select(Mail.id).where(Mail.state == "queued", Mail.claimed_until.is_(None))).all()) == 2


def test_two_processes_run_each_job_once_and_stop_cleanly(tables, process):
    both = [process(), process()]
    eventually(lambda: len(recorded()) == len(schedule.JOBS))
    time.sleep(2.5)
    assert {name: recorded()[name] for name in ALONE} == dict.fromkeys(ALONE, 1)
    for one, number in zip(both, (signal.SIGTERM, signal.SIGINT), strict=True):
        status, errors = told_to_stop(one, number)
        assert status == 0
        assert "Traceback" not in errors
        assert "The scheduler has stopped" in errors


def test_three_processes_run_a_job_every_second_as_if_they_were_one(tables):
    code = (
        "import sys, config\nfrom domain import database, logs\nfrom jobs import schedule\nfrom model import JobLease\n"
        "database.connect(config.load(APP_ENV='testing', INSTANCE_DIR=sys.argv[1], SQLALCHEMY_DATABASE_URI=sys.argv[2]))\n"
        "logs.set_up()\ndef tick():\n  with database.reading() as db: print(db.get(JobLease, 'tick').next_run_at, flush=True)\n  return 1\n"
        "schedule.JOBS = (schedule.Job('tick', 1, tick, tick),)\nschedule.LOOK_SECONDS = 0.1\n"
        "schedule.start(); sys.stdin.read(); schedule.stop()"
    )
    command = [sys.executable, "-c", code, str(config.settings.INSTANCE_DIR), config.settings.SQLALCHEMY_DATABASE_URI]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(3)]
    eventually(lambda: recorded()["tick"] >= 5)
    told = [one.communicate(timeout=PATIENCE) for one in running]
    assert [errors for _, errors in told] == [""] * 3
    turns = sorted(datetime.fromisoformat(line) for said, _ in told for line in said.splitlines())
    assert len(turns) == recorded()["tick"]
    assert min(after - before for before, after in itertools.pairwise(turns)) >= timedelta(seconds=0.9)


def test_a_process_stops_soon_though_the_mail_server_hangs(tables, process):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = process(MAIL_SERVER="127.0.0.1", MAIL_PORT=str(silent.getsockname()[1]), MAIL_TIMEOUT="300")
        write_mail()
        silent.settimeout(PATIENCE)
        connection = silent.accept()[0]
        status, errors = told_to_stop(one)  # Which waits for less than the mail server is waited for.
        connection.close()
    assert status == 0
    assert "Traceback" not in errors


def test_a_process_does_not_start_on_an_old_schema(process):
    one = process()
    assert "flask migrate up" in one.communicate(timeout=PATIENCE)[1]
    assert one.returncode == 1


def test_a_process_does_not_start_with_another_encryption_key(tables, process):
    canaries.keep()
    one = process(FERNET_KEY=Fernet.generate_key().decode())
    assert canaries.WRONG_FERNET_KEY in one.communicate(timeout=PATIENCE)[1]
    assert one.returncode == 1


def test_a_process_does_not_start_without_a_database(process):
    one = process(SQLALCHEMY_DATABASE_URI="postgresql://nobody@127.0.0.1:1/none")
    errors = one.communicate(timeout=PATIENCE)[1]
    assert one.returncode == 1
    assert "Traceback" not in errors


def test_a_process_logs_as_the_settings_say(tables, process):
    one = process(LOG_FORMAT="json")
    eventually(lambda: (config.settings.INSTANCE_DIR / "app.log").exists() and "scheduler runs" in config.settings.LOG_FILE.read_text())
    _, errors = told_to_stop(one)
    assert [json.loads(line)["logger"] for line in errors.splitlines()] == ["gatehouse.jobs"] * 2


def test_a_process_does_not_start_with_a_configuration_that_is_refused(process):
    one = process(APP_ENV="production")
    assert "SECRET_KEY is missing" in one.communicate(timeout=PATIENCE)[1]
    assert one.returncode == 1
