"""What is over is deleted, what is not over stays, and failures are forgotten slowly."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from domain import clock, database, expired, limits
from domain.database import new_id, reading, transaction
from model import Base, Budget, Code, Device, JobRun, Link, Mail, MailCount, PendingLogin, SignUpAttempt, SocialFlow, SpentChallenge, User
from tests import databases

PAST, FUTURE = timedelta(minutes=-1), timedelta(minutes=1)
DAY = 86400


@pytest.fixture(autouse=True)
def user(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        now = clock.now()
        add(User(id="u", email="jo@example.com", status="active", mfa_enabled=False, created_at=now, email_confirmed_at=now))
        yield


def add(*rows):
    with transaction() as db:
        db.add_all(rows)


def rows(table):
    with reading() as db:
        return db.scalar(select(func.count()).select_from(table))


def one_of_each(offset):
    now = clock.now()
    common = {"id": new_id(), "created_at": now, "expires_at": now + offset}
    email = {"email": "jo@example.com"}
    add(
        Code(**common, **email, purpose="sign_in", subject=new_id(), user_id="u", code_hash="h", tries=0),
        Link(**common, **email, purpose="reset", token_hash=new_id()),
        PendingLogin(**common, **email, ticket_hash=new_id(), stage="second_factor", amr="pwd"),
        SignUpAttempt(**common, **email, password_hash="h"),
        Device(**common, user_id="u", token_hash=new_id(), last_used_at=now),
        SocialFlow(**common, provider="google", state_hash=new_id(), nonce="n", verifier_encrypted=b"v"),
        MailCount(key=new_id(), count=1, expires_at=now + offset),
        SpentChallenge(key=new_id(), expires_at=now + offset),
    )


TABLES = (Code, Link, PendingLogin, SignUpAttempt, Device, SocialFlow, MailCount, SpentChallenge)


def test_what_is_over_goes_and_what_is_not_over_stays():
    one_of_each(PAST)
    one_of_each(FUTURE)
    assert expired.purge() == len(TABLES)
    assert [rows(table) for table in TABLES] == [1] * len(TABLES)
    assert expired.purge() == 0


def test_a_dry_run_counts_the_same_and_deletes_nothing():
    one_of_each(PAST)
    assert expired.purge(dry_run=True) == len(TABLES)
    assert [rows(table) for table in TABLES] == [1] * len(TABLES)
    assert expired.purge() == len(TABLES)


def test_a_flow_whose_code_can_still_be_exchanged_stays():
    now = clock.now()
    flow = {"id": new_id(), "provider": "google", "state_hash": new_id(), "nonce": "n", "verifier_encrypted": b"v"}
    add(SocialFlow(**flow, created_at=now, expires_at=now + PAST, code_hash="c", code_expires_at=now + FUTURE))
    assert expired.purge() == 0


def budget(in_a_row, days_ago, blocked_for=0):
    now = clock.epoch()
    times = {"window_epoch": now - int(days_ago * DAY), "blocked_until_epoch": now + blocked_for}
    add(Budget(key=new_id(), account="a", failures=1, in_a_row=in_a_row, pause_seconds=60, **times))


@pytest.mark.parametrize(
    ("in_a_row", "days_ago", "blocked_for", "goes"),
    [
        (1, 1.1, -1, True),
        (1, 0.9, -1, False),
        (50, 49, -1, False),
        (50, 51, -1, True),
        (limits.FAILURES_IN_A_ROW, 10_000, -1, False),
        (1, 1.1, 60, False),
    ],
)
def test_each_failure_in_a_row_keeps_the_count_for_a_day(in_a_row, days_ago, blocked_for, goes):
    budget(in_a_row, days_ago, blocked_for)
    assert expired.purge() == int(goes)


def test_old_mails_and_runs_go_and_mails_that_wait_stay():
    now, old = clock.now(), clock.now() - timedelta(days=60)
    for state in ("queued", "sent", "withheld", "dead"):
        add(Mail(id=new_id(), state=state, template="code", to="jo@example.com", tries=0, created_at=old, next_try_at=old))
        add(Mail(id=new_id(), state=state, template="code", to="jo@example.com", tries=0, created_at=now, next_try_at=now))
    add(JobRun(id=new_id(), name="sweep", started_at=old, seconds=0, affected=0, result="ok"))
    assert expired.purge(dry_run=True) == 4
    assert expired.purge() == 4
    assert rows(Mail) == 5


def test_more_than_one_batch_goes(monkeypatch):
    monkeypatch.setattr(expired, "BATCH", 3)
    for _ in range(4):
        one_of_each(PAST)
    assert expired.purge() == 4 * len(TABLES)
