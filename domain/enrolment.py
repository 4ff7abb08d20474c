"""Turning a second factor on: begun, then proven by a code of it; by who is signed in, or on the way in by who needs one.

Who is signed in has signed in recently (`login.require_recent`). On the way in the ticket of the stage `enrolment` stands for
the session, as long as no factor is on, and the proof opens one. Any factor that is turned on ends the user's other sessions,
pending sign-ins and trusted devices, and is told by mail.
"""

from typing import NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session as Database

from domain import (
    accounts,
    audit,
    budgets,
    clock,
    devices,
    factors,
    login,
    mail,
    metrics,
    mfa,
    notices,
    secrets,
    sessions,
    stages,
    texts,
    tickets,
    totp,
)
from domain.caller import Caller, Client
from domain.database import changed, new_id, transaction
from domain.errors import Fault, MfaInvalidCode, MfaNotStarted, MfaTicketExpired, ValidationFailed
from domain.sessions import Grant
from model import Factor, PendingLogin, User


class Applicant(NamedTuple):
    """Somebody on the way in who has to turn a factor on first: the ticket of their sign-in, and where they come from."""

    ticket: str
    client: Client


Enroller = Caller | Applicant


class Setup(NamedTuple):
    """What an authenticator app needs, shown once."""

    secret: str
    uri: str
    qr_code: str


class Enabled(NamedTuple):
    """What comes of a proof: recovery codes with the first factor, and on the way in the session that was asked for."""

    recovery_codes: list[str]
    grant: Grant | None


def start_totp(who: Enroller, name: str | None) -> Setup:
    """A new TOTP secret, which counts once a code of it has come. An earlier one that was not proven is forgotten."""
    secret = totp.new_secret()
    with transaction() as db:
        user, _ = _admit(db, who, factors.TOTP)
        _begin(db, user, factors.TOTP, name or "Authenticator app", secret)
    uri = totp.uri(secret, user)
    return Setup(secret, uri, totp.qr_code(uri))


def start_sent(who: Enroller, kind: str, phone: str | None) -> None:
    """Send a code that turns mailed codes on, or texted ones to the number `phone`. `ValidationFailed` if they are on, or for a
    number that gets none; `RateLimited` for text messages over their caps.
    """
    if kind == factors.EMAIL and phone is not None:
        raise ValidationFailed(errors=[Fault("phone", "not_used", "Mailed codes go to the address of the account.")])
    number = texts.number(phone or "") if kind == factors.SMS else None
    with transaction() as db:
        user, _ = _admit(db, who, kind)
        factor = _begin(db, user, kind, f"SMS to {texts.masked(number)}" if number else user.email, number)
        code = tickets.make_code(db, tickets.ENROL, factor.id, user.email, user.id)
        if number:
            texts.send_code(db, user, number, mail.code_values(code, "enrol_sms"), who.client)
        else:
            mail.send_capped(db, "code", user.email, mail.code_values(code, tickets.ENROL), by_owner=True, locale=user.locale)


def prove(who: Enroller, kind: str, code: str) -> Enabled:
    """Turn a factor on that was begun. `MfaNotStarted`, `MfaInvalidCode`, `TooManyAttempts`; on the way in `MfaTicketExpired`
    once the ticket is over or a factor is on.
    """
    return _prove(who, kind, code) if isinstance(who, Caller) else _prove_and_enter(who, kind, code)


def _prove(who: Enroller, kind: str, code: str) -> Enabled:
    with transaction() as db:
        user, _ = _admit(db, who, kind)
        factor = _begun(db, user, kind)
    tried = budgets.spend("code", accounts.budget_name(user, user.email), _known_as(who, user))
    with audit.failures("factor.on", user.id, who.client, tried=tried, session_id=_session_of(who), method=kind):
        with transaction() as db:
            user, pending = _admit(db, who, kind)
            right = _judge(db, factor, code)
            if right:
                budgets.clear(db, tried)
                enabled = _turn_on(db, who, user, factor, pending)
        if not right:
            raise MfaInvalidCode
    return enabled


_prove_and_enter = metrics.sign_in("enrolment")(_prove)


def _admit(db: Database, who: Enroller, kind: str) -> tuple[User, PendingLogin | None]:
    """The account, held, of who may turn this kind on; and the sign-in that waits for it, if one does."""
    if isinstance(who, Caller):
        user, pending = accounts.hold_caller(db, who), None
    else:
        user, pending = _applying(db, who.ticket)
        if kind in factors.excluded(pending.amr.split()):
            raise ValidationFailed(errors=[Fault("method", "not_enrolled", "You have come by a mailed code: use something else.")])
    if kind in factors.SENT and any(one.type == kind for one in factors.on(db, user.id)):
        raise ValidationFailed(errors=[Fault("method", "already_on", "Such codes are on already.")])
    return user, pending


def _applying(db: Database, ticket: str) -> tuple[User, PendingLogin]:
    """The sign-in that a ticket belongs to, if it still waits for a first factor."""
    pending = tickets.find_pending(db, ticket)
    if pending is None or pending.stage != stages.ENROLMENT:
        raise MfaTicketExpired
    user = accounts.hold(db, pending.user_id or "")
    if user is None or user.status != accounts.ACTIVE or user.mfa_enabled:
        raise MfaTicketExpired
    return user, pending


def _begin(db: Database, user: User, kind: str, name: str, secret: str | None = None) -> Factor:
    """A factor that is still to be proven, in the place of an earlier one that was not."""
    db.execute(delete(Factor).where(Factor.user_id == user.id, Factor.type == kind, Factor.proven_at.is_(None)))
    factor = Factor(id=new_id(), user_id=user.id, type=kind, name=name[:64], last_step=0, created_at=clock.now())
    factor.secret_encrypted = secrets.encrypt(secret) if secret else None
    db.add(factor)
    return factor


def _begun(db: Database, user: User, kind: str) -> Factor:
    mine = (Factor.user_id == user.id, Factor.type == kind, Factor.proven_at.is_(None))
    found = db.scalar(select(Factor).where(*mine).order_by(Factor.created_at.desc(), Factor.id).limit(1))
    if found is None:
        raise MfaNotStarted
    return found


def _known_as(who: Enroller, user: User) -> str:
    """Whose budget a try comes out of: a running session's, a known device's, or the strangers'."""
    if isinstance(who, Caller):
        return login.known_as(who)
    device = devices.recognise(who.client, user.id)
    return device.id if device else budgets.STRANGER


def _session_of(who: Enroller) -> str | None:
    return who.session_id if isinstance(who, Caller) else None


def _judge(db: Database, factor: Factor, code: str) -> bool:
    """Whether the code is right for a factor that was begun; a code that was sent for an earlier beginning is not."""
    if factor.type == factors.TOTP:
        return totp.accept(db, factor, code)
    return tickets.try_code(db, tickets.ENROL, factor.id, totp.plain_digits(code)) is not None


def _turn_on(db: Database, who: Enroller, user: User, factor: Factor, pending: PendingLogin | None) -> Enabled:
    if not changed(db, update(Factor).where(Factor.id == factor.id, Factor.proven_at.is_(None)).values(proven_at=clock.now())):
        raise MfaNotStarted
    codes = [] if user.mfa_enabled else factors.renew_recovery_codes(db, user.id)
    user.mfa_enabled = True
    grant = _enter(db, who.client, user, factor, pending) if pending else None
    session_id = grant.session.id if grant else _session_of(who)
    if session_id and not grant:
        sessions.add_amr(db, session_id, factors.AMR[factor.type], login.MFA)
    mfa.settle(db, user, but=session_id)
    audit.note(db, "factor.on", user.id, who.client, actor=user.id, session_id=session_id, method=factor.type)
    notices.send(db, user, "factor_on", who.client, factor=factor.type)
    return Enabled(codes, grant)


def _enter(db: Database, client: Client, user: User, factor: Factor, pending: PendingLogin) -> Grant:
    """The session that the sign-in was for: one, however many proofs come for its ticket."""
    if not tickets.take_pending(db, pending):
        raise MfaTicketExpired
    amr = [*pending.amr.split(), factors.AMR[factor.type], login.MFA]
    return sessions.open(db, user, amr, client, devices.recognise(client, user.id))
