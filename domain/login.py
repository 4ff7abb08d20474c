"""Sign-in: from the first factor through the stages to a session.

Every first factor (password, mailed code, a provider) ends in `enter`, which walks `STAGES`: the first one that is not
met becomes a pending sign-in with a ticket; when all are met there is a session. So no way in skips a check.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session as Database

import config
from domain import accounts, budgets, clock, devices, factors, metrics, passwords, sessions, sign_up, tickets
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import (
    AccountDisabled,
    EmailNotConfirmed,
    Fault,
    InvalidCredentials,
    MfaInvalidCode,
    MfaTicketExpired,
    ReauthenticationRequired,
)
from domain.sessions import Grant
from model import Device, User

# RFC 8176 words: how a session was authenticated. `mfa` is there once a second factor was given.
PASSWORD, MAILED_CODE, SOCIAL, MFA = "pwd", "email", "social", "mfa"
MISSING_CURRENT_PASSWORD = Fault("current_password", "missing", "Say the current password too.")
LOOK_INTO_MAILBOX = "If you have just signed up, open the mail with your confirmation link first."


class Pending(NamedTuple):
    """A sign-in that waits for its next stage. `status` names it, `methods` are what it can be met with."""

    status: str
    ticket: str
    methods: list[str]


class Entrance(NamedTuple):
    """A user who has given a first factor, and what is known of their client."""

    user: User
    amr: list[str]
    device: Device | None


@metrics.sign_in("password")
def begin(identifier: str, password: str, client: Client) -> Grant | Pending:
    """Sign in by address or username (canonical form) and password.

    `InvalidCredentials` whatever is wrong, `TooManyAttempts`, `AccountDisabled` after the right password.
    """
    user = accounts.look_up(identifier)
    device = devices.recognise(client, user.id if user else "")
    account, caller = accounts.budget_name(user, identifier), device.id if device else budgets.STRANGER
    tried = budgets.spend("password", account, caller)
    attempt = sign_up.newest_of(identifier)
    stored = user.password_hash if user else attempt.password_hash if attempt else None
    right = passwords.verify(stored, password)
    if right and user:
        return enter(user, [PASSWORD], client, device, tried)
    if right and attempt:
        sign_up.remind(identifier, attempt.id)
        if not config.settings.PREVENT_ENUMERATION:
            raise EmailNotConfirmed
    raise InvalidCredentials(LOOK_INTO_MAILBOX)


def enter(user: User, amr: list[str], client: Client, device: Device | None = None, tried: budgets.Try | None = None) -> Grant | Pending:
    """Take a user who has given a first factor (by the try `tried`) through the stages. `AccountDisabled`."""
    device = device or devices.recognise(client, user.id)
    with transaction() as db:
        # The row as it is now: what was true before the password was hashed may have changed meanwhile.
        fresh = accounts.hold(db, user.id)
        if fresh is None or fresh.password_hash != user.password_hash:
            raise InvalidCredentials(LOOK_INTO_MAILBOX)
        if fresh.status != accounts.ACTIVE:
            raise AccountDisabled
        entrance = Entrance(fresh, amr, device)
        pending = next(filter(None, (stage(db, entrance) for stage in STAGES)), None)
        # The codes of the next stage are counted with the mailed ones: a mailbox alone must not buy new guesses at them.
        if tried and not (pending and MAILED_CODE in amr):
            budgets.clear(db, tried)
        return pending or sessions.open(db, fresh, amr, client, device)


@metrics.sign_in("second_factor")
def finish(ticket: str, method: str, code: str, client: Client, *, trust: bool = False) -> Grant | Pending:
    """Give the second factor for a ticket. `MfaTicketExpired`, `MfaInvalidCode`, `TooManyAttempts`, `ValidationFailed`."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
        user = db.get(User, pending.user_id) if pending else None
    if pending is None or user is None or pending.stage != SECOND_FACTOR:
        raise MfaTicketExpired
    factors.require(user, method, but_not=_excluded(pending.amr.split()))
    device = devices.recognise(client, user.id)
    caller = device.id if device else budgets.STRANGER
    tried = budgets.spend("code", accounts.budget_name(user, user.email), caller)
    with transaction() as db:
        fresh = accounts.hold(db, user.id)
        right = factors.accept(db, user, method, code, pending.id)
        if right:
            budgets.clear(db, tried)
            if fresh is None or fresh.status != accounts.ACTIVE or not tickets.take_pending(db, pending):
                raise MfaTicketExpired
            amr = [*pending.amr.split(), factors.AMR[method], MFA]
            grant = sessions.open(db, fresh, amr, client, device, trust=trust)
    if not right:
        raise MfaInvalidCode
    return grant


def reauthenticate(caller: Caller, *, password: str | None = None, method: str | None = None, code: str | None = None) -> Grant:
    """Prove oneself again in a running session: by a factor where one is on, else by the password; a new auth_time.

    `ReauthenticationRequired` names the methods if the wrong kind of proof came.
    """
    user = accounts.get(caller.user_id)
    if method is not None and code is not None:
        prove_factor(caller, method, code)
        more = [factors.AMR[method], MFA] if user.mfa_enabled else [factors.AMR[method]]
        return sessions.step_up(caller, list(dict.fromkeys([*sessions.amr(caller.session_id), *more])))
    if password is None or user.mfa_enabled or user.password_hash is None:
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))
    prove_password(caller, user, password)
    return sessions.step_up(caller, [PASSWORD])


def prove_password(caller: Caller, user: User, password: str) -> None:
    """The running session's user says their password; `InvalidCredentials`, `TooManyAttempts` on a budget of its own."""
    tried = budgets.spend("password", accounts.budget_name(user, user.email), caller.session_id)
    if not passwords.verify(user.password_hash, password):
        raise InvalidCredentials
    with transaction() as db:
        budgets.clear(db, tried)


def prove_factor(caller: Caller, method: str, code: str) -> None:
    """The running session's user gives a code of a factor that is on (or, without any factor or password, of the mailbox)."""
    user = accounts.get(caller.user_id)
    if method not in step_up_methods(user, caller.amr) or method == "password":
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))
    tried = budgets.spend("code", accounts.budget_name(user, user.email), caller.session_id)
    with transaction() as db:
        right = factors.accept(db, user, method, code, caller.session_id, purpose=tickets.STEP_UP)
        if right:
            budgets.clear(db, tried)
    if not right:
        raise MfaInvalidCode


def step_up_methods(user: User, amr: Sequence[str]) -> list[str]:
    """With what this user can prove themselves again in a session of these words: the factors that are on (but a mailed
    code, where a mailed code opened the session), else the password, else the mailbox.
    """
    if not user.mfa_enabled:
        return ["password"] if user.password_hash else ["email"]
    by_mail = MAILED_CODE in amr and (amr[0] == MAILED_CODE or MFA not in amr)
    return [one for one in factors.methods(user.id) if not (by_mail and one == factors.EMAIL)]


def require_recent(caller: Caller, current_password: str | None = None) -> None:
    """Refuse a caller who has not signed in within RECENT_SIGN_IN_SECONDS (RFC 9470); where a factor is on, a sign-in
    counts only if it was given. On an account without a factor the current password stands for it.
    """
    user = accounts.get(caller.user_id)
    if current_password is not None and not user.mfa_enabled and user.password_hash is not None:
        return prove_password(caller, user, current_password)
    recent = caller.authenticated > clock.epoch() - config.settings.RECENT_SIGN_IN_SECONDS
    if not recent or (user.mfa_enabled and MFA not in sessions.amr(caller.session_id)):
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))
    return None


SECOND_FACTOR = "second_factor"


def _second_factor(db: Database, entrance: Entrance) -> Pending | None:
    """Met by a trusted device, or where no factor is on. A mailed code is no second factor after a first that was mailed."""
    if not entrance.user.mfa_enabled or devices.is_trusted(entrance.device):
        return None
    user = entrance.user
    methods = [one for one in factors.methods_in(db, user.id) if one not in _excluded(entrance.amr)]
    return Pending("mfa_required", tickets.make_pending(db, SECOND_FACTOR, user.email, entrance.amr, user.id), methods)


def _excluded(amr: Sequence[str]) -> list[str]:
    return ["email"] if MAILED_CODE in amr else []


STAGES: tuple[Callable[[Database, Entrance], Pending | None], ...] = (_second_factor,)
