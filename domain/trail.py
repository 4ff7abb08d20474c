"""Reading the audit trail: as a list, for who it concerns and for administrators, and as a stream for a SIEM."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select

from domain import audit, lists, seals
from domain.lists import Part, Window
from model import AuditEvent

ECS_VERSION = "8.17.0"
WAITING = ("mfa_required", "mfa_setup_required", "confirmation_required")  # Neither a success nor a failure yet.
# What an Elastic Common Schema calls the kinds of our actions, by the first word of their names.
CATEGORIES = {
    "sign_in": "authentication",
    "step_up": "authentication",
    "session": "session",
    "sessions": "session",
    "alert": "intrusion_detection",
}


def events(window: Window, *, user: str | None = None, action: str | None = None, since: datetime | None = None) -> Part[AuditEvent]:
    """The events, the newest first: all, or those about a user, of an action, since a moment. `ValidationFailed` for a bad cursor."""
    query = select(AuditEvent)
    if user is not None:
        query = query.where(AuditEvent.user_id == user)
    if action is not None:
        query = query.where(AuditEvent.action == action)
    if since is not None:
        query = query.where(AuditEvent.at >= since)
    return lists.newest_first(query, AuditEvent.at, AuditEvent.id, window)


def about(user_id: str, window: Window) -> Part[AuditEvent]:
    """The events about a user, for that user; from where another user acted on the account is that user's own affair."""
    part = events(window, user=user_id)
    for event in part.rows:
        if is_anothers(event.actor, user_id):
            event.ip = event.user_agent = None
    return part


def is_anothers(actor: str | None, user_id: str) -> bool:
    """Whether another user did this; what strangers, jobs and the operator do about an account is its owner's affair."""
    return actor not in (None, user_id, audit.SYSTEM, audit.OPERATOR)


def export(after: int | None = None, since: datetime | None = None) -> Iterator[dict[str, Any]]:
    """Every event as Elastic Common Schema has it, by number, from behind this one on. What is not sealed is sealed first."""
    seals.seal()
    for row in seals.walk(after):
        if since is None or row.at >= since:
            yield _ecs(row)


def _ecs(row: AuditEvent) -> dict[str, Any]:
    """One event by the field names of ECS; what those have no name for stands under `gatehouse`."""
    kind = row.action.partition(".")[0]
    event = {
        "@timestamp": row.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "ecs": {"version": ECS_VERSION},
        "event": {
            "id": row.id,
            "kind": "alert" if kind == "alert" else "event",
            "category": [CATEGORIES.get(kind, "iam")],
            "action": row.action,
            "outcome": _outcome(row.result),
            "reason": None if row.result == audit.SUCCESS else row.result,
            "sequence": row.number,
            "dataset": "gatehouse.audit",
        },
        "user": {
            "id": None if row.actor in (audit.OPERATOR, audit.SYSTEM) else row.actor,
            "name": row.name,
            "target": {"id": row.user_id},
        },
        "source": {"ip": row.ip, "geo": {"country_iso_code": row.country}},
        "user_agent": {"original": row.user_agent},
    }
    ours = {"actor": row.actor, "result": row.result, "session_id": row.session_id, "seal": row.seal, "facts": row.facts}
    return _given(event) | {"gatehouse": ours}


def _outcome(result: str) -> str:
    if result == audit.SUCCESS:
        return "success"
    return "unknown" if result in WAITING else "failure"


def _given(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty."""
    inner = {key: _given(one) if isinstance(one, dict) else one for key, one in value.items()}
    return {key: one for key, one in inner.items() if one is not None and one != {}}
