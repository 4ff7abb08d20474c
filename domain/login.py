"""Sign-in: from the first factor through the stages to a session.

Every first factor (password, mailed code, a provider, a passkey) ends in `enter`, which walks the `stages`: the first one that is not
met becomes a pending sign-in with a ticket; when all are met there is a session. So no way in skips a check.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session as Database

import config
from domain import accounts, audit, budgets, clock, devices, factors, metrics, passwords, sessions, sign_up, stages, tickets
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
from domain.stages import Entrance, Pending
from model import Device, User

# RFC 8176 words: how a session was authenticated. `mfa` is there once a second factor was given.
PASSWORD, MAILED_CODE, SOCIAL, MFA = "pwd", "email", "social", factors.MFA
MISSING_CURRENT_PASSWORD = Fault("current_password", "missing", "Say the current password too.")
LOOK_INTO_MAILBOX = "If you have just signed up, open the mail with your confirmation link first."


@metrics.sign_in("password")
def begin(identifier: str, password: str, client: Client) -> Grant | Pending:
    """Sign in by address or username (canonical form) and password.

    `InvalidCredentials` whatever is wrong, `TooManyAttempts`; `AccountDisabled`, `PasswordExpired` after the right password.
    """
    user = accounts.look_up(identifier)
    device = devices.recognise(client, user.id if user else "")
    account, caller = accounts.budget_name(user, identifier), device.id if device else budgets.STRANGER
    tried = budgets.spend("password", account, caller)
    with audit.failures("sign_in", user.id if user else None, client, tried=tried, name=identifier):
        attempt = sign_up.newest_of(identifier)
        stored = user.password_hash if user else attempt.password_hash if attempt else None
        right = passwords.verify(stored, password)
        if right and user:
            passwords.renew(user, password)
            return enter(user, [PASSWORD], client, device, tried)
        # Who has signed up and tries to sign in is mailed the link again; who has not, costs the same work.
        sign_up.resend(identifier, wanted=right)
        if right and not config.settings.PREVENT_ENUMERATION:
            raise EmailNotConfirmed
        raise InvalidCredentials(LOOK_INTO_MAILBOX)


def enter(
    user: User,
    amr: list[str],
    client: Client,
    device: Device | None = None,
    tried: budgets.Try | None = None,
    *,
    proof: Callable[[Database], None] | None = None,
) -> Grant | Pending:
    """Take a user who has given a first factor (by the try `tried`) through the stages. `AccountDisabled`.

    `proof` uses the factor up, in the same act, where that is still to be done; it refuses by raising.
    """
    device = device or devices.recognise(client, user.id)
    with transaction() as db:
        if user.invited_at is not None:
            sign_up.lock(db, user.email)
        # The row as it is now: what was true before the password was hashed may have changed meanwhile.
        fresh = accounts.hold(db, user.id)
        if fresh is None or not passwords.is_same(user, fresh):
            raise InvalidCredentials(LOOK_INTO_MAILBOX)
        if proof:
            proof(db)
        if fresh.status != accounts.ACTIVE:
            raise AccountDisabled
        if PASSWORD in amr:
            passwords.refuse_expired(fresh)
        if fresh.invited_at is not None:  # It has no password and no identity yet: the code came from its mailbox.
            sign_up.end_attempts(db, fresh.email)
            accounts.prove_mailbox(db, fresh, client)
        entrance = Entrance(fresh, amr, device)
        pending = next(filter(None, (stage(db, entrance) for stage in stages.STAGES)), None)
        # The codes of the next stage are counted with the mailed ones: a mailbox alone must not buy new guesses at them.
        if tried and not (pending and MAILED_CODE in amr):
            budgets.clear(db, tried)
        if pending is None:
            return sessions.open(db, fresh, amr, client, device)
        audit.note(db, "sign_in", fresh.id, client, result=pending.status, amr=amr)
        return pending


@metrics.sign_in("second_factor")
def finish(ticket: str, method: str, code: str, client: Client, *, trust: bool = False) -> Grant | Pending:
    """Give the second factor for a ticket. `MfaTicketExpired`, `MfaInvalidCode`, `TooManyAttempts`, `ValidationFailed`."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
        user = db.get(User, pending.user_id) if pending and pending.user_id else None
    if pending is None or user is None or pending.stage != stages.SECOND_FACTOR:
        raise MfaTicketExpired
    factors.require(user, method, but_not=factors.excluded(pending.amr.split()))
    device = devices.recognise(client, user.id)
    caller = device.id if device else budgets.STRANGER
    tried = budgets.spend("code", accounts.budget_name(user, user.email), caller)
    with audit.failures("sign_in.second_factor", user.id, client, tried=tried, method=method):
        with transaction() as db:
            fresh = accounts.hold(db, user.id)
            right = factors.accept(db, user, method, code, pending.id, client)
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
    """The running session's user says their password; `InvalidCredentials`, `TooManyAttempts` on a budget apart from the strangers'."""
    tried = budgets.spend("password", accounts.budget_name(user, user.email), known_as(caller))
    with audit.failures("step_up", user.id, caller.client, tried=tried, session_id=caller.session_id):
        if not passwords.verify(user.password_hash, password):
            raise InvalidCredentials
    with transaction() as db:
        budgets.clear(db, tried)


def prove_factor(caller: Caller, method: str, code: str) -> None:
    """The running session's user gives a code of a factor that is on (or, without any factor or password, of the mailbox)."""
    user = accounts.get(caller.user_id)
    if method not in step_up_methods(user, caller.amr) or method in ("password", factors.PASSKEY):  # Those are no codes.
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))
    tried = budgets.spend("code", accounts.budget_name(user, user.email), known_as(caller))
    with audit.failures("step_up", user.id, caller.client, tried=tried, session_id=caller.session_id, method=method):
        with transaction() as db:
            right = factors.accept(db, user, method, code, caller.session_id, caller.client, purpose=tickets.STEP_UP)
            if right:
                budgets.clear(db, tried)
        if not right:
            raise MfaInvalidCode


def known_as(caller: Caller) -> str:
    """Whose budget the tries of a running session come out of: one for all the sessions of a device, for a trusted one may open
    as many as it likes, and a new sign-in must buy no new guesses (CVE-2026-128332).
    """
    return f"session on {sessions.device_of(caller.session_id)}"


def step_up_methods(user: User, amr: Sequence[str]) -> list[str]:
    """With what this user can prove themselves again in a session of these words: the factors that are on (but a mailed
    code, where a mailed code opened the session), else the password, else the mailbox.
    """
    if not user.mfa_enabled:
        return ["password"] if user.password_hash else ["email"]
    by_mail = MAILED_CODE in amr and (amr[0] == MAILED_CODE or MFA not in amr)
    with reading() as db:
        return [one for one in factors.offered(db, user.id) if not (by_mail and one == factors.EMAIL)]


def require_recent(caller: Caller, current_password: str | None = None) -> None:
    """Refuse a caller who has not signed in within RECENT_SIGN_IN_SECONDS (RFC 9470); where a factor is on, a sign-in
    counts only if it was given. On an account without a factor the current password stands for it.
    """
    user = accounts.get(caller.user_id)
    if current_password is not None and not user.mfa_enabled and user.password_hash is not None:
        return prove_password(caller, user, current_password)
    recent = caller.authenticated > clock.epoch() - config.settings.RECENT_SIGN_IN_SECONDS
    if not recent or _lacks_factor(caller, user):
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))
    return None


def require_factor(caller: Caller) -> None:
    """Refuse a caller who has a second factor on and has not given it in this session (a trusted device stood for it)."""
    user = accounts.get(caller.user_id)
    if _lacks_factor(caller, user):
        raise ReauthenticationRequired(methods=step_up_methods(user, caller.amr))


def _lacks_factor(caller: Caller, user: User) -> bool:
    return user.mfa_enabled and MFA not in sessions.amr(caller.session_id)
