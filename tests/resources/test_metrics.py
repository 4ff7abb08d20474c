"""What Prometheus may ask for, and what it learns: sums over all workers, and nothing about anybody."""

import os
import re
import signal
from pathlib import Path

import pytest

from domain import metrics
from jobs import schedule
from tests.serving import WORKERS, at_once, eventually
from tests.visitor import code_of

TOKEN = "a-token-for-prometheus"
SETTINGS = {"METRICS_TOKEN": TOKEN}
with_token = pytest.mark.settings(METRICS_TOKEN=TOKEN)


def scrape(visitor) -> dict[str, float]:
    """Every sample by its name and labels."""
    answer = visitor.get("/metrics", token=TOKEN)
    assert answer.status == 200, answer.body
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len({name for name, _ in lines})
    return {name: float(value) for name, value in lines}


def test_without_a_token_configured_there_is_nothing_to_scrape(house):
    assert house.get("/metrics").code == "not_found"
    assert house.get("/metrics", token="").code == "not_found"


@pytest.mark.settings(APP_ENV="development", JOBS_IN_PROCESS=False)
def test_in_development_it_is_served_to_anybody(house):
    answer = house.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


@with_token
def test_the_token_has_to_come_as_a_bearer_and_to_be_right(house):
    assert house.get("/metrics").code == "token_missing"
    for wrong in ("Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ä"):
        answer = house.get("/metrics", headers={"Authorization": wrong})
        assert (wrong, answer.status, answer.code) == (wrong, 401, "token_invalid")
    assert house.get(f"/metrics?token={TOKEN}").code == "token_missing"
    assert house.get("/metrics", headers={"Authorization": f"bearer {TOKEN}"}).status == 200


@pytest.mark.settings(METRICS_TOKEN=TOKEN, APP_ENV="development", JOBS_IN_PROCESS=False)
def test_a_token_that_is_configured_is_asked_for_in_development_too(house):
    assert house.get("/metrics").code == "token_missing"


@with_token
def test_no_token_of_a_user_opens_it(house, email):
    assert house.get("/metrics", token=house.member(email)["access_token"]).code == "token_invalid"


@with_token
def test_sign_ins_are_counted_by_way_and_result(house, email):
    tokens = house.member(email)
    app, _ = house.turn_on_totp(tokens["access_token"])
    house.login(email, "not the password")
    ticket = house.login(email).json["mfa_token"]
    given = {"mfa_token": ticket, "method": "totp"}
    assert house.post("/verify-otp", {**given, "code": "000000"}).code == "mfa_invalid_code"
    assert house.post("/verify-otp", {**given, "code": code_of(app)}).status == 200
    found = scrape(house)
    signs = {name.split("{")[1]: value for name, value in found.items() if name.startswith("gatehouse_sign_ins_total")}
    assert signs == {
        'result="success",way="password"}': 1,
        'result="mfa_required",way="password"}': 1,
        'result="invalid_credentials",way="password"}': 1,
        'result="mfa_invalid_code",way="second_factor"}': 1,
        'result="success",way="second_factor"}': 1,
    }
    assert found['gatehouse_sign_in_seconds_count{way="password"}'] == 3
    assert found['gatehouse_failed_attempts_total{code="invalid_credentials"}'] == 1
    assert found['gatehouse_failed_attempts_total{code="mfa_invalid_code"}'] == 1


@with_token
def test_a_mailed_code_is_counted_as_a_way_of_its_own(house, email):
    house.join(email)
    ticket = house.post("/send-otp", {"email": email}).json["otp_token"]
    assert house.post("/verify-otp", {"otp_token": ticket, "code": house.mailbox.last(email).code}).status == 200
    assert scrape(house)['gatehouse_sign_ins_total{result="success",way="mailed_code"}'] == 1


@with_token
def test_token_checks_refreshes_and_look_ups_are_counted(house, settings, email):
    tokens = house.member(email)
    checks = 3 * metrics.ONE_IN
    for _ in range(checks):
        house.get("/mfa", token=tokens["access_token"])
    house.post("/refresh", token=tokens["refresh_token"])
    house.post("/refresh", token="wrong")
    found = scrape(house)
    assert found["gatehouse_token_check_seconds_count"] in (3, 4)
    assert found["gatehouse_refresh_seconds_count"] == 1
    hits, misses, off = (found[f'gatehouse_session_look_ups_total{{cache="{one}"}}'] for one in ("hit", "miss", "off"))
    assert hits + misses + off == checks
    assert (hits > misses > 0, off) == (True, 0) if settings["REDIS_URL"] else (hits, misses) == (0, 0)


@with_token
def test_waiting_mails_and_runs_of_jobs_are_counted(house, email):
    house.sign_up(email)
    assert scrape(house)["gatehouse_outbox_mails"] == 1
    schedule.run_now("deliver-mail")
    found = scrape(house)
    assert found["gatehouse_outbox_mails"] == 0
    assert found['gatehouse_job_runs_total{job="deliver-mail",result="ok"}'] == 1


@with_token
def test_nothing_in_it_tells_of_a_user(house, email):
    tokens = house.member(email, username="robin", name="Robin")
    house.login(email, "not the password")
    house.get("/mfa", token=tokens["access_token"])
    text = house.get("/metrics", token=TOKEN).text
    labels = {label for line in text.splitlines() for label in re.findall(r'(\w+)="', line.split(" ")[0])}
    assert labels == {"le", "way", "result", "cache", "code"}
    for secret in (email, "robin", tokens["user"]["id"], tokens["session_id"], TOKEN):
        assert secret not in text.lower()


def test_a_scrape_of_any_worker_shows_the_sum_of_all(server, email):
    server.join(email)
    at_once(12, lambda _: server.login(email, "not the password"))
    name = 'gatehouse_sign_in_seconds_count{way="password"}'
    assert {scrape(server)[name] for _ in range(4 * WORKERS)} == {12}


def test_the_counts_of_workers_that_died_stay_and_their_places_are_taken(server, email):
    server.join(email)
    name = 'gatehouse_sign_in_seconds_count{way="password"}'
    before = scrape(server).get(name, 0)
    at_once(12, lambda _: server.login(email, "not the password"))
    folder = server.settings["INSTANCE_DIR"] / "metrics"
    dead = workers_of(server)
    assert len(dead) == WORKERS
    for worker in dead:
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(workers_of(server) - dead) == WORKERS and server.answers())
    at_once(12, lambda _: server.login(email, "not the password"))
    assert scrape(server)[name] == before + 24
    assert len(list(folder.glob("*.lock"))) <= WORKERS


def workers_of(server) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return {int(pid) for pid in children.read_text().split()}
