"""The jobs, for administrators: when they run, and run now."""

from datetime import datetime
from typing import Annotated

from flask import current_app
from pydantic import Field

from domain import runs
from domain.caller import Caller
from domain.errors import NotFound
from resources.base import Resource
from resources.shapes import Given, Out, Proof


class JobOut(Out):
    """A job. `schedule` says how often it runs, `last_result` is `ok` or what failed; null where it never ran."""

    name: str
    schedule: str
    last_run: datetime | None
    next_run: datetime | None
    last_result: str | None


class JobsOut(Out):
    """All jobs."""

    jobs: list[JobOut]


class RunJob(Proof):
    """A dry run only counts what would be affected."""

    dry_run: Given[Annotated[bool, Field(examples=[True])]] = None


class RunOut(Out):
    """What a run did, or would have done."""

    job: str
    dry_run: bool
    affected: int


class AdminJobs(Resource):
    """What runs on a clock."""

    def get(self) -> JobsOut:
        """List it."""
        return JobsOut(jobs=[_shown(job) for job in _table().values()])


class AdminJobRun(Resource):
    """One job, at once, due or not."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """A job's name."""
        if parts["name"] not in _table():
            raise NotFound

    def post(self, body: RunJob, caller: Caller, name: str) -> RunOut:
        """Run it; one that is running elsewhere is waited for, for a few seconds."""
        return RunOut(**runs.run_by(caller, _table()[name], dry_run=bool(body.dry_run))._asdict())


def _table() -> dict[str, runs.Job]:
    """The jobs by name, as the application has handed them over."""
    found: dict[str, runs.Job] = current_app.extensions["jobs"]
    return found


def _shown(job: runs.Job) -> JobOut:
    return JobOut(name=job.name, schedule=f"every {job.seconds:g} s", **runs.overview(job)._asdict())
