"""What the audit trail tells: to its users about themselves, to administrators about everybody."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from domain import trail
from domain.caller import Caller
from model import AuditEvent
from resources.base import Resource
from resources.shapes import ListQuery, Moment, Out


class ActivityEventOut(Out):
    """Something that happened to the caller's account. `result` is `success`, what a sign-in waits for, or why it was refused."""

    id: str
    at: datetime
    action: str
    ip: str | None
    user_agent: str | None
    result: str


class AuditEventOut(ActivityEventOut):
    """The same for administrators: who did it (a user's id, `operator`, `system`, or null for a stranger), and to whom."""

    actor: str | None
    user: str | None


class ActivityOut(Out):
    """A part of the caller's events, the newest first."""

    events: list[ActivityEventOut]
    next_cursor: str | None


class AuditOut(Out):
    """A part of all events, the newest first."""

    events: list[AuditEventOut]
    next_cursor: str | None


class AuditQuery(ListQuery):
    """Which events are asked for."""

    user: Annotated[str | None, Field(max_length=32, description="Events about this user's id.")] = None
    action: Annotated[str | None, Field(max_length=48, examples=["sign_in"])] = None
    since: Annotated[Moment | None, Field(examples=["2026-11-03T12:00:00Z"])] = None


class Activity(Resource):
    """What happened to the caller's account."""

    def get(self, query: ListQuery, caller: Caller) -> ActivityOut:
        """List it, the newest first."""
        part = trail.about(caller.user_id, query.window)
        return ActivityOut(events=[ActivityEventOut(**_told(one)) for one in part.rows], next_cursor=part.next_cursor)


class Audit(Resource):
    """The audit trail."""

    def get(self, query: AuditQuery) -> AuditOut:
        """List it, the newest first."""
        part = trail.events(query.window, user=query.user, action=query.action, since=query.since)
        events = [AuditEventOut(**_told(one), actor=one.actor, user=one.user_id) for one in part.rows]
        return AuditOut(events=events, next_cursor=part.next_cursor)


def _told(event: AuditEvent) -> dict[str, Any]:
    return {field: getattr(event, field) for field in ActivityEventOut.model_fields}
