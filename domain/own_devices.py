"""A user's own known devices, as they see and remove them."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, select

from domain import accounts, agents, audit, clock, devices, sessions
from domain.caller import Caller
from domain.database import changed, reading, transaction
from domain.errors import NotFound
from model import Device, Session


class Shown(NamedTuple):
    """A device that is known; trusted, if at all, until then."""

    id: str
    name: str
    ip: str | None
    trusted_until: datetime | None
    last_used_at: datetime
    current: bool


def known(caller: Caller) -> list[Shown]:
    """The caller's devices, the last used first. Current is what asks, by its token or by the session it has opened."""
    present = devices.recognise(caller.client, caller.user_id)
    with reading() as db:
        opened_by = db.scalar(select(Session.device_id).where(Session.id == caller.session_id))
        found = db.scalars(select(Device).where(*_mine(caller)).order_by(Device.last_used_at.desc(), Device.id)).all()
    current = present.id if present else opened_by
    return [_shown(one, current) for one in found]


def remove(caller: Caller, device_id: str) -> None:
    """The device is neither known nor trusted from now on, and what it has opened ends, but for the caller's own session.

    `NotFound`; `Unavailable` as in `sessions.end`, and then nothing has happened.
    """
    with transaction() as db:
        accounts.hold_caller(db, caller)
        if not changed(db, delete(Device).where(Device.id == device_id, *_mine(caller))):
            raise NotFound
        opened = select(Session.id).where(Session.user_id == caller.user_id, Session.device_id == device_id)
        others = db.scalars(opened.where(Session.id != caller.session_id, Session.ended_at.is_(None))).all()
        ended = sessions.end_some(db, others)
        audit.of(db, "device.removed", caller, device=device_id, sessions=ended)


def _mine(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return Device.user_id == caller.user_id, Device.expires_at > clock.now()


def _shown(device: Device, current: str | None) -> Shown:
    trusted = device.trusted_until if device.trusted_until and device.trusted_until > clock.now() else None
    name = device.name or agents.words(device.user_agent)
    return Shown(device.id, name, device.ip, trusted, device.last_used_at, device.id == current)
