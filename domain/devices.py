"""Known and trusted devices: a client that has signed in before brings a random token back.

Alone it opens nothing. It gives its user a failure budget that no stranger can empty, and after `trust` it stands for
the second factor until `trusted_until`.
"""

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import clock, limits, secrets
from domain.caller import Client
from domain.database import new_id, reading
from model import Device


def recognise(client: Client, user_id: str) -> Device | None:
    """The device of this user whose token came along, if it is still known."""
    if client.device_token is None:
        return None
    mine = select(Device).where(Device.token_hash == secrets.hashed(client.device_token), Device.user_id == user_id)
    with reading() as db:
        found = db.scalar(mine)
    return found if found and found.expires_at > clock.now() else None


def is_trusted(device: Device | None) -> bool:
    """Whether this device stands for the second factor now."""
    return bool(device and device.trusted_until and device.trusted_until > clock.now())


def remember(db: Database, user_id: str, client: Client, device: Device | None) -> tuple[str, str]:
    """Note a sign-in by this device, or make one known; its id and its token."""
    now = clock.now()
    if device and client.device_token:
        db.execute(update(Device).where(Device.id == device.id).values(last_used_at=now, ip=client.ip, user_agent=client.user_agent))
        return device.id, client.device_token
    token = secrets.token()
    made = Device(
        id=new_id(),
        user_id=user_id,
        token_hash=secrets.hashed(token),
        ip=client.ip,
        user_agent=client.user_agent,
        created_at=now,
        expires_at=now + timedelta(days=limits.DEVICE_DAYS),
        last_used_at=now,
    )
    db.add(made)
    db.flush()
    return made.id, token


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
