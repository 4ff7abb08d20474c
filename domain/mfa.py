"""Turning second factors on and off. Whoever changes factors has signed in recently (`login.require_recent`).

Any change ends the user's other sessions, pending sign-ins and trusted devices, and is told by mail.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session as Database

from domain import accounts, budgets, clock, devices, factors, login, mail, secrets, sessions, tickets, totp
from domain.caller import Caller, Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import Fault, MfaInvalidCode, MfaNotStarted, NotFound, ValidationFailed
from model import Factor, PendingLogin, RecoveryCode, User


class Overview(NamedTuple):
    """The factors that are on, and how many recovery codes are left."""

    factors: list[Factor]
    recovery_codes_left: int


class Setup(NamedTuple):
    """What an authenticator app needs, shown once."""

    secret: str
    uri: str
    qr_code: str


def overview(user_id: str) -> Overview:
    """The factors of a user."""
    with reading() as db:
        return Overview(factors.on(db, user_id), factors.recovery_codes_left(db, user_id))


def start_totp(caller: Caller, name: str | None) -> Setup:
    """A new TOTP secret, which counts once a code of it has come. An earlier one that was not proven is forgotten."""
    user = accounts.get(caller.user_id)
    secret = totp.new_secret()
    with transaction() as db:
        db.execute(delete(Factor).where(Factor.user_id == user.id, Factor.type == factors.TOTP, Factor.proven_at.is_(None)))
        db.add(_factor(user, factors.TOTP, name or "Authenticator app", secrets.encrypt(secret)))
    uri = totp.uri(secret, user)
    return Setup(secret, uri, totp.qr_code(uri))


def prove_totp(caller: Caller, code: str, client: Client) -> list[str]:
    """Turn the started TOTP factor on; the recovery codes if it is the first factor. `MfaNotStarted`, `MfaInvalidCode`."""
    user = accounts.get(caller.user_id)
    with reading() as db:
        started = db.scalar(select(Factor).where(Factor.user_id == user.id, Factor.type == factors.TOTP, Factor.proven_at.is_(None)))
    if started is None:
        raise MfaNotStarted
    tried = budgets.spend("code", accounts.budget_name(user, user.email), caller.session_id)
    with transaction() as db:
        if not totp.accept(db, started, code):
            raise MfaInvalidCode
        budgets.clear(db, tried)
        return _turn_on(db, caller, user, started, client)


def start_email(caller: Caller) -> None:
    """Mail a code that turns mailed codes on as a factor."""
    user = accounts.get(caller.user_id)
    with transaction() as db:
        _refuse_second_mailbox(db, user)
        code = tickets.make_code(db, tickets.ENROL, user.id, user.email, user.id)
        mail.send_capped(db, "code", user.email, mail.code_values(code, "enrol"), by_owner=True)


def prove_email(caller: Caller, code: str, client: Client) -> list[str]:
    """Turn mailed codes on; the recovery codes if it is the first factor. `MfaInvalidCode`."""
    user = accounts.get(caller.user_id)
    tried = budgets.spend("code", accounts.budget_name(user, user.email), caller.session_id)
    with transaction() as db:
        _refuse_second_mailbox(db, user)
        right = tickets.try_code(db, tickets.ENROL, user.id, totp.plain_digits(code))
        if right:
            factor = _factor(user, factors.EMAIL, user.email)
            db.add(factor)
            db.flush()
            budgets.clear(db, tried)
            codes = _turn_on(db, caller, user, factor, client)
    if not right:
        raise MfaInvalidCode
    return codes


def rename(caller: Caller, factor_id: str, name: str) -> None:
    """Give a factor another name; `NotFound` if it is not the caller's."""
    with transaction() as db:
        if not changed(db, update(Factor).where(*_mine(caller, factor_id)).values(name=name)):
            raise NotFound


def remove(caller: Caller, factor_id: str, client: Client) -> None:
    """Turn one factor off; with the last one the recovery codes go as well. `NotFound`."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        factor = db.scalar(select(Factor).where(*_mine(caller, factor_id)))
        if factor is None or not changed(db, delete(Factor).where(Factor.id == factor.id)):
            raise NotFound
        _turned_off(db, caller, user, [factor], client)


def remove_all(caller: Caller, client: Client) -> None:
    """Turn every factor off, recovery codes too. The caller has given a code before this."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        gone = factors.on(db, user.id)
        db.execute(delete(Factor).where(Factor.user_id == user.id))
        _turned_off(db, caller, user, gone, client)


def renew_recovery_codes(caller: Caller) -> list[str]:
    """A new set of recovery codes; the old set is dead. `MfaNotStarted` if no factor is on."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)
        if not user.mfa_enabled:
            raise MfaNotStarted
        return factors.renew_recovery_codes(db, user.id)


def _factor(user: User, kind: str, name: str, secret: bytes | None = None) -> Factor:
    return Factor(id=new_id(), user_id=user.id, type=kind, name=name[:64], secret_encrypted=secret, last_step=0, created_at=clock.now())


def _turn_on(db: Database, caller: Caller, user: User, factor: Factor, client: Client) -> list[str]:
    held = accounts.hold_caller(db, caller)
    if not changed(db, update(Factor).where(Factor.id == factor.id, Factor.proven_at.is_(None)).values(proven_at=clock.now())):
        raise MfaNotStarted
    codes = [] if held.mfa_enabled else factors.renew_recovery_codes(db, user.id)
    held.mfa_enabled = True
    sessions.add_amr(db, caller.session_id, factors.AMR[factor.type], login.MFA)
    _settle(db, caller, user)
    mail.send(db, "factor_on", user.email, _notice(factor, client))
    return codes


def _turned_off(db: Database, caller: Caller, user: User, gone: list[Factor], client: Client) -> None:
    if not factors.on(db, user.id):
        user.mfa_enabled = False
        db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    _settle(db, caller, user)
    for factor in gone:
        mail.send(db, "factor_off", user.email, _notice(factor, client))


def _settle(db: Database, caller: Caller, user: User) -> None:
    sessions.end_of_user(db, user.id, but=caller.session_id)
    devices.distrust(db, user.id)
    db.execute(update(PendingLogin).where(PendingLogin.user_id == user.id, PendingLogin.used_at.is_(None)).values(used_at=clock.now()))


def _mine(caller: Caller, factor_id: str) -> tuple[ColumnElement[bool], ...]:
    return Factor.id == factor_id, Factor.user_id == caller.user_id, Factor.proven_at.is_not(None)


def _notice(factor: Factor, client: Client) -> dict[str, str | None]:
    return {"factor": factor.type, **mail.circumstances(client)}


def _refuse_second_mailbox(db: Database, user: User) -> None:
    if any(one.type == factors.EMAIL for one in factors.on(db, user.id)):
        raise ValidationFailed(errors=[Fault("method", "already_on", "Codes by mail are on already.")])
