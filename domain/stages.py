"""The stages between a first factor and a session: the first one that is not met becomes a ticket for what it asks.

A second factor is asked where one is on. Where none is on and REQUIRE_MFA asks this user for one, it has to be turned on
before the sign-in goes on, once the grace of MFA_GRACE_DAYS is over; but who has a passkey gives that, or else a password
would be enough to turn a factor on beside it, and to come in by that.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm.attributes import set_committed_value

import config
from domain import clock, devices, factors, roles, tickets
from domain.database import changed
from domain.errors import InvalidCredentials
from model import Device, User

SECOND_FACTOR, ENROLMENT = "second_factor", "enrolment"
NOBODY, EVERYBODY = "none", "all"  # Of REQUIRE_MFA; anything else are names of roles.


class Pending(NamedTuple):
    """A sign-in that waits for its next stage. `status` names it; `methods` are what it can be met with, where that is a code
    of something that the user has.
    """

    status: str
    ticket: str
    methods: list[str] | None


class Entrance(NamedTuple):
    """A user who has given a first factor, and what is known of their client."""

    user: User
    amr: list[str]
    device: Device | None


def setup_by(user: User) -> datetime | None:
    """Until when a user who needs a second factor and has none may still sign in without; None for everybody else."""
    if user.mfa_enabled or user.mfa_asked_at is None or config.settings.REQUIRE_MFA == NOBODY:
        return None
    return user.mfa_asked_at + timedelta(days=config.settings.MFA_GRACE_DAYS)


def _second_factor(db: Database, entrance: Entrance) -> Pending | None:
    """Met by a trusted device, by a passkey with user verification, or where no factor is on. A mailed code is no second factor
    after a first that was mailed; a passkey without user verification opens nothing alone, on whatever device.
    """
    user, unfit = entrance.user, factors.excluded(entrance.amr)
    bare = factors.PASSKEY in unfit
    if bare and not user.mfa_enabled:
        raise InvalidCredentials
    if not user.mfa_enabled or factors.MFA in entrance.amr or (not bare and devices.is_trusted(db, entrance.device)):
        return None
    methods = [one for one in factors.offered(db, user.id) if one not in unfit]
    return Pending("mfa_required", tickets.make_pending(db, SECOND_FACTOR, user.email, entrance.amr, user.id), methods)


def _enrolment(db: Database, entrance: Entrance) -> Pending | None:
    """Met where a factor is on, where none is required, within the grace, and by a passkey: with user verification as the only
    factor, else as the second.
    """
    user = entrance.user
    if user.mfa_enabled:
        return None
    _ask(db, user, clock.now() if _is_required(db, user) else None)
    until = setup_by(user)
    if until is None or clock.now() < until or factors.MFA in entrance.amr:
        return None
    if factors.has_passkey(db, user.id):
        return Pending("mfa_required", tickets.make_pending(db, SECOND_FACTOR, user.email, entrance.amr, user.id), [factors.PASSKEY])
    return Pending("mfa_setup_required", tickets.make_pending(db, ENROLMENT, user.email, entrance.amr, user.id), None)


def _is_required(db: Database, user: User) -> bool:
    wanted = set(config.keys(config.settings.REQUIRE_MFA))
    if wanted <= {NOBODY}:
        return False
    return EVERYBODY in wanted or not wanted.isdisjoint(roles.names_of(db, user.id))


def _ask(db: Database, user: User, now: datetime | None) -> None:
    """Note when the requirement met this user first, or (None) that it does so no longer: should it return, the grace does too."""
    if (user.mfa_asked_at is None) == (now is None):
        return
    still = User.mfa_asked_at.is_(None) if now else User.mfa_asked_at.is_not(None)
    changed(db, update(User).where(User.id == user.id, still).values(mfa_asked_at=now))
    set_committed_value(user, "mfa_asked_at", now)


STAGES: tuple[Callable[[Database, Entrance], Pending | None], ...] = (_second_factor, _enrolment)
