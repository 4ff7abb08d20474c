"""Second factors of an account: listed, named, turned off (`enrolment` turns them on). Who changes them has signed in recently.

Turning one on or off ends the user's other sessions, pending sign-ins and trusted devices. That, and new recovery codes, is
told by mail.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, cards, clock, devices, factors, notices, sessions
from domain.caller import Caller
from domain.database import changed, reading, transaction
from domain.errors import MfaNotStarted, NotFound
from model import Code, Factor, Passkey, PendingLogin, RecoveryCode, User


class Overview(NamedTuple):
    """The factors that are on, and how many recovery codes are left."""

    factors: list[Factor]
    recovery_codes_left: int


def overview(user_id: str) -> Overview:
    """The factors of a user."""
    with reading() as db:
        return Overview(factors.on(db, user_id), factors.recovery_codes_left(db, user_id))


def find(caller: Caller, factor_id: str) -> None:
    """Refuse an id that is no factor of the caller's that is on: `NotFound`."""
    with reading() as db:
        if db.scalar(select(Factor.id).where(*_mine(caller, factor_id))) is None:
            raise NotFound


def rename(caller: Caller, factor_id: str, name: str) -> None:
    """Give a factor another name; `NotFound` if it is not the caller's."""
    with transaction() as db:
        if not changed(db, update(Factor).where(*_mine(caller, factor_id)).values(name=name)):
            raise NotFound
        audit.of(db, "factor.renamed", caller)


def remove(caller: Caller, factor_id: str) -> None:
    """Turn one factor off; with the last one the recovery codes go as well. `NotFound`."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        factor = db.scalar(select(Factor).where(*_mine(caller, factor_id)))
        if factor is None or not changed(db, delete(Factor).where(Factor.id == factor.id)):
            raise NotFound
        _turned_off(db, caller, user, [factor])


def remove_all(caller: Caller) -> None:
    """Turn every factor off, recovery codes too. The caller has given a code before this."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        gone = factors.on(db, user.id)
        db.execute(delete(Factor).where(Factor.user_id == user.id))
        _turned_off(db, caller, user, gone)


def renew_recovery_codes(caller: Caller) -> list[str]:
    """A new set of recovery codes; the old set is dead, and the owner is told. `MfaNotStarted` if no factor is on."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        if not user.mfa_enabled:
            raise MfaNotStarted
        audit.of(db, "recovery_codes.renewed", caller)
        notices.send(db, user, "recovery_codes_renewed", caller.client)
        return factors.renew_recovery_codes(db, user.id)


def reset(email: str) -> None:
    """The same as `reset_by` does, by the operator. `NotFound`."""
    with transaction() as db:
        reset_by(db, None, accounts.id_of(db, email))


def reset_by(db: Database, caller: Caller | None, user_id: str) -> None:
    """Turn everything off for who has lost it: factors, recovery codes, passkeys, and whatever they opened. REQUIRE_MFA asks anew, grace
    and all. The administrator, or (None) the operator, has made sure who asks for it; the owner is told. `NotFound`.
    """
    user = accounts.hold(db, user_id)
    if user is None:
        raise NotFound
    for table in (Factor, RecoveryCode, Code, Passkey):
        db.execute(delete(table).where(table.user_id == user.id))
    user.mfa_enabled, user.mfa_asked_at = False, None
    settle(db, user)
    audit.by(db, "factors.reset", caller, user.id)
    notices.send(db, user, "factors_reset", audit.NOWHERE)


def settle(db: Database, user: User, *, but: str | None = None) -> None:
    """End what rests on the factors as they were: sessions (but one), trusted devices and pending sign-ins."""
    cards.mark(db, user.id)
    sessions.end_of_user(db, user.id, but=but)
    devices.distrust(db, user.id)
    db.execute(update(PendingLogin).where(PendingLogin.user_id == user.id, PendingLogin.used_at.is_(None)).values(used_at=clock.now()))


def _turned_off(db: Database, caller: Caller, user: User, gone: list[Factor]) -> None:
    if not factors.on(db, user.id):
        user.mfa_enabled = False
        db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    settle(db, user, but=caller.session_id)
    for factor in gone:
        audit.of(db, "factor.off", caller, method=factor.type)
        notices.send(db, user, "factor_off", caller.client, factor=factor.type)


def _mine(caller: Caller, factor_id: str) -> tuple[ColumnElement[bool], ...]:
    return Factor.id == factor_id, Factor.user_id == caller.user_id, Factor.proven_at.is_not(None)
