"""Known and trusted devices: a client that has signed in before brings a random token back.

Alone it opens nothing. It gives its user a failure budget that no stranger can empty, and after `trust` it stands for
the second factor until `trusted_until`.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import agents, clock, limits, secrets
from domain.caller import Client
from domain.database import changed, new_id, reading
from model import Device

# The devices of a user, trusted ones before the others, then the last used. A client that never brings its token back is a
# new one each time: its owner is told of the first, and the oldest go.
_OTHERS = (
    select(Device.id, Device.ip, Device.user_agent)
    .where(Device.user_id == bindparam("user"))
    .order_by(Device.trusted_until.is_(None), Device.last_used_at.desc(), Device.id)
)


class Known(NamedTuple):
    """A device that has just signed in: its id, its token, and whether its owner has to be told of it."""

    id: str
    token: str
    new: bool


def recognise(client: Client, user_id: str) -> Device | None:
    """The device of this user whose token came along, if it is still known."""
    if client.device_token is None:
        return None
    mine = select(Device).where(Device.token_hash == secrets.hashed(client.device_token), Device.user_id == user_id)
    with reading() as db:
        found = db.scalar(mine)
    return found if found and found.expires_at > clock.now() else None


def is_trusted(db: Database, device: Device | None) -> bool:
    """Whether this device stands for the second factor now, as an act sees it that holds the user's row."""
    if device is None:
        return False
    return db.scalar(select(Device.id).where(Device.id == device.id, Device.trusted_until > clock.now())) is not None


def remember(db: Database, user_id: str, client: Client, device: Device | None) -> Known:
    """Note a sign-in by this device, or by one that was not known, or is no more; part of an act that holds the user's row."""
    seen = {"last_used_at": clock.now(), "ip": client.ip, "user_agent": client.user_agent, "name": agents.words(client.user_agent)}
    if device and client.device_token and changed(db, update(Device).where(Device.id == device.id).values(**seen)):
        return Known(device.id, client.device_token, new=False)
    token, now = secrets.token(), clock.now()
    until = now + timedelta(days=limits.DEVICE_DAYS)
    others = db.execute(_OTHERS, {"user": user_id}).all()
    made = Device(id=new_id(), user_id=user_id, token_hash=secrets.hashed(token), created_at=now, expires_at=until, **seen)
    db.add(made)
    db.flush()
    if surplus := [one.id for one in others[limits.DEVICES - 1 :]]:
        db.execute(delete(Device).where(Device.id.in_(surplus)))
    return Known(made.id, token, new=(client.ip, client.user_agent) not in {(one.ip, one.user_agent) for one in others})


def trust(db: Database, device_id: str) -> None:
    """From now on this device stands for the second factor, for TRUSTED_DEVICE_DAYS."""
    until = clock.now() + timedelta(days=config.settings.TRUSTED_DEVICE_DAYS)
    db.execute(update(Device).where(Device.id == device_id).values(trusted_until=until))


def distrust(db: Database, user_id: str) -> None:
    """No device stands for the second factor any more: after any change of password, address or factor."""
    db.execute(update(Device).where(Device.user_id == user_id).values(trusted_until=None))


def forget(db: Database, user_id: str) -> None:
    """No device is known any more: after a reset."""
    db.execute(delete(Device).where(Device.user_id == user_id))
