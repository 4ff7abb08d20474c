"""The caller's known devices: see them, remove them."""

from datetime import datetime

from domain import own_devices
from domain.caller import Caller
from resources.base import Resource
from resources.shapes import Out


class DeviceOut(Out):
    """A device that is known. Where `trusted_until` is not null, it stands for the second factor until then."""

    id: str
    name: str
    ip: str | None
    trusted_until: datetime | None
    last_used_at: datetime
    current: bool


class DevicesOut(Out):
    """The devices that are known, the last used first."""

    devices: list[DeviceOut]


class Devices(Resource):
    """The caller's devices."""

    def get(self, caller: Caller) -> DevicesOut:
        """List them."""
        return DevicesOut(devices=[DeviceOut(**one._asdict()) for one in own_devices.known(caller)])


class Device(Resource):
    """One of the caller's devices."""

    def delete(self, caller: Caller, id: str) -> None:  # noqa: A002 - As the path names it.
        """Forget it, and end the sessions that it has opened, but for this one."""
        own_devices.remove(caller, id)
