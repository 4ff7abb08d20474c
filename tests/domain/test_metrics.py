"""Where a process counts: places that outlive their holders, processes that fork, files that can't be read."""

import os

import pytest

import config
from domain import metrics


@pytest.fixture
def folder(tmp_path):
    metrics.connect(config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path))
    return tmp_path / "metrics"


def counted() -> float:
    lines = [line for line in metrics.text(lambda: 0).splitlines() if line.startswith("gatehouse_job_runs_total")]
    return sum(float(line.split()[1]) for line in lines)


def in_a_child(act) -> None:
    pid = os.fork()
    if not pid:
        act()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def places(folder) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".lock"}


def test_a_process_goes_on_with_the_counts_of_one_that_is_gone(folder, tmp_path):
    metrics.job_run("a-job", "ok")
    metrics.connect(config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path))
    metrics.job_run("a-job", "ok")
    assert counted() == 2
    assert places(folder) == {"0.lock"}


def test_a_process_that_forks_off_counts_in_a_place_of_its_own(folder):
    metrics.job_run("a-job", "ok")
    for _ in range(3):
        in_a_child(lambda: metrics.job_run("a-job", "ok"))
    metrics.job_run("a-job", "ok")
    assert counted() == 5
    assert places(folder) == {"0.lock", "1.lock"}


@pytest.mark.parametrize("content", [b"", b"\0\1\0\0" * 9, b"\x40\0\0\0\0\0\0\0\x05\0\0\0{]{]{" + b"\0" * 70000])
def test_a_file_that_can_not_be_read_is_begun_anew(folder, tmp_path, content):
    metrics.job_run("a-job", "ok")
    (folder / "counter_0.db").write_bytes(content)
    metrics.connect(config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path))
    metrics.job_run("a-job", "ok")
    assert counted() == 1


def test_where_no_file_can_be_made_it_counts_in_memory(tmp_path):
    (tmp_path / "metrics").write_text("in the way")
    metrics.connect(config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path))
    metrics.job_run("a-job", "ok")
    assert counted() == 1


def test_all_labels_fit_into_the_space_that_a_file_takes_at_its_start(folder):
    for way in ("password", "second_factor", "mailed_code", "social", "passkey"):
        for number in range(12):
            metrics._counts.sign_ins.labels(way, f"a_refusal_with_a_long_name_{number}").inc()
        metrics._counts.sign_in.labels(way).observe(1)
    for number in range(40):
        metrics.job_run(f"a-job-with-a-name-{number}", "OperationalError")
    assert {path.stat().st_size for path in folder.glob("*.db")} == {metrics.FILE_BYTES}
