"""The jobs as administrators see and run them."""

from datetime import datetime, timedelta

import pytest

from domain import clock, runs
from jobs import schedule
from model import AuditEvent, JobLease
from tests.attacks.acts import aged, an_admin, count, staff

JOBS = "/api/admin/jobs"


@pytest.fixture
def token(house):
    return an_admin(house)["access_token"]


def listed(house, token):
    return {one.pop("name"): one for one in house.get(JOBS, token=token).json["jobs"]}


def test_every_job_is_listed_with_its_last_and_next_run(house, token):
    before = listed(house, token)
    assert list(before) == [job.name for job in schedule.JOBS]
    assert before["seal-audit"] == {"schedule": "every 30 s", "last_run": None, "next_run": None, "last_result": None}
    assert house.post(f"{JOBS}/seal-audit/run", token=token).status == 200
    after = listed(house, token)["seal-audit"]
    assert after["last_result"] == "ok"
    assert after["last_run"] < after["next_run"]


def test_a_job_is_run_and_told_and_a_dry_run_only_counts(house, token, email):
    house.sign_up(email)
    dry = house.post(f"{JOBS}/deliver-mail/run", {"dry_run": True}, token=token)
    assert (dry.status, dry.json) == (200, {"job": "deliver-mail", "dry_run": True, "affected": 1})
    assert count(AuditEvent, AuditEvent.action == "job.run") == 0
    assert house.post(f"{JOBS}/deliver-mail/run", token=token).json == {"job": "deliver-mail", "dry_run": False, "affected": 1}
    assert count(AuditEvent, AuditEvent.action == "job.run") == 1


def test_a_job_that_is_overdue_is_due_now(house, token, moved_clock):
    runs.record("raise-alerts", lambda: 1, every=60)
    moved_clock(600)
    next_run = listed(house, token)["raise-alerts"]["next_run"]
    assert abs(clock.now() - datetime.fromisoformat(next_run)) < timedelta(seconds=60)


def test_a_job_that_runs_elsewhere_is_refused(house, token, monkeypatch):
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0)
    with runs.transaction() as db:
        later = clock.now() + timedelta(seconds=60)
        db.add(JobLease(name="seal-audit", holder="another", leased_until=later, next_run_at=later))
    answer = house.post(f"{JOBS}/seal-audit/run", token=token)
    assert (answer.status, answer.code) == (409, "job_running")


def test_an_unknown_job_is_told_before_the_body(house, token):
    assert house.post(f"{JOBS}/sweep-the-floor/run", {"wrong": 1}, token=token).code == "not_found"
    assert house.post(f"{JOBS}/seal-audit/run", {"wrong": 1}, token=token).code == "validation_failed"
    assert house.post(f"{JOBS}/seal-audit/run", {"dry_run": None}, token=token).code == "validation_failed"


def test_who_may_only_look_runs_nothing(house, token):
    looks = staff(house, "jobs:read")["access_token"]
    assert house.get(JOBS, token=looks).status == 200
    assert house.post(f"{JOBS}/seal-audit/run", token=looks).code == "forbidden"
    assert house.post(f"{JOBS}/seal-audit/run", token=aged(token)).code == "reauthentication_required"
    assert house.get(JOBS, token=staff(house, "users:read")["access_token"]).code == "forbidden"
