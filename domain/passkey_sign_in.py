"""Sign-in by a passkey: as the only factor, as the second one, and as step-up in a running session.

With user verification (a PIN, a finger, a face) a passkey is two factors in one (NIST SP 800-63B 5.1.9), so it meets the second
factor, and for this sign-in the one that REQUIRE_MFA asks for. Whatever is wrong with an answer, it says the same; a wrong one
comes out of the account's failure budget, apart from passwords and codes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Database

from domain import (
    accounts,
    audit,
    budgets,
    ceremonies,
    challenges,
    clock,
    devices,
    factors,
    login,
    metrics,
    passkeys,
    sessions,
    stages,
    tickets,
)
from domain.caller import Caller, Client
from domain.ceremonies import Credential, Shown
from domain.database import changed, reading, transaction
from domain.errors import (
    Fault,
    InvalidCredentials,
    MfaInvalidCode,
    MfaTicketExpired,
    ReauthenticationRequired,
    Refused,
    ValidationFailed,
)
from domain.sessions import Grant
from domain.stages import Pending
from model import Passkey, PendingLogin, User

VERIFIED = "user"  # RFC 8176's word for the user's presence; said here only where the authenticator verified the user, too.
NOT_ENROLLED = Fault("mfa_token", "not_enrolled", "No passkey can be given in this sign-in.")


class Used(Exception):
    """The challenge was answered before, or the passkey is gone."""


class Copied(Exception):
    """The counter does not go on from where it was: there may be two of this passkey."""


def options() -> dict[str, Any]:
    """What a browser needs to sign somebody in by a passkey of theirs, whoever they are (W3C WebAuthn 3, 5.5)."""
    return ceremonies.request_options(ceremonies.SIGN_IN, "", [], verify=True)


def options_for_ticket(ticket: str) -> dict[str, Any]:
    """The same for the second factor of a sign-in. `MfaTicketExpired`, `ValidationFailed` if no passkey can be given in it."""
    pending, user = _waiting(ticket)
    return ceremonies.request_options(ceremonies.SECOND_FACTOR, pending.id, passkeys.every(user.id), verify=False)


def options_for_step_up(caller: Caller) -> dict[str, Any]:
    """The same for the caller to prove themselves again. `ReauthenticationRequired` names what else works for who has no passkey."""
    user, theirs = accounts.get(caller.user_id), passkeys.every(caller.user_id)
    if not theirs:
        raise ReauthenticationRequired(methods=login.step_up_methods(user, caller.amr))
    return ceremonies.request_options(ceremonies.STEP_UP, caller.session_id, theirs, verify=_must_verify(user, caller))


@metrics.sign_in("passkey")
def sign_in(credential: Credential, client: Client) -> Grant | Pending:
    """Sign in by a passkey alone. `InvalidCredentials` whatever is wrong, `TooManyAttempts`, `AccountDisabled`.

    One that came without user verification goes on to the second factor where one is on, else it is refused.
    """
    found = passkeys.by_credential(credential["id"])
    if found is None:
        with audit.failures("sign_in", None, client, way=factors.PASSKEY):
            raise InvalidCredentials
    passkey, user = found
    device = devices.recognise(client, user.id)
    tried = _spend(user, device.id if device else budgets.STRANGER)
    with audit.failures("sign_in", user.id, client, tried=tried, way=factors.PASSKEY), _telling(passkey, client, InvalidCredentials):
        shown = ceremonies.show(credential, passkey, ceremonies.SIGN_IN, "")
        if shown is None:
            raise InvalidCredentials
        use = partial(_use, passkey=passkey, shown=shown, purpose=ceremonies.SIGN_IN, subject="")
        return login.enter(user, _words(passkey, shown, two=shown.verified), client, device, tried, proof=use)


@metrics.sign_in("second_factor")
def finish(ticket: str, credential: Credential, client: Client) -> Grant:
    """Give a passkey as the second factor for a ticket. `MfaTicketExpired`, `MfaInvalidCode`, `TooManyAttempts`,
    `ValidationFailed` if no passkey can be given in this sign-in.
    """
    pending, user = _waiting(ticket)
    device = devices.recognise(client, user.id)
    tried = _spend(user, device.id if device else budgets.STRANGER)
    with audit.failures("sign_in.second_factor", user.id, client, tried=tried, method=factors.PASSKEY):
        passkey, shown = _shown(credential, user, ceremonies.SECOND_FACTOR, pending.id, MfaInvalidCode)
        with _telling(passkey, client, MfaInvalidCode), transaction() as db:
            fresh = accounts.hold(db, user.id)
            _use(db, passkey, shown, ceremonies.SECOND_FACTOR, pending.id)
            if fresh is None or fresh.status != accounts.ACTIVE or not tickets.take_pending(db, pending):
                raise MfaTicketExpired
            budgets.clear(db, tried)
            return sessions.open(db, fresh, [*pending.amr.split(), *_words(passkey, shown, two=True)], client, device)


def step_up(caller: Caller, credential: Credential) -> Grant:
    """The caller proves themselves again: the same session, a new auth_time and pair. `InvalidCredentials`, `TooManyAttempts`."""
    user = accounts.get(caller.user_id)
    tried = _spend(user, login.known_as(caller))
    with audit.failures("step_up", user.id, caller.client, tried=tried, session_id=caller.session_id, method=factors.PASSKEY):
        passkey, shown = _shown(credential, user, ceremonies.STEP_UP, caller.session_id, InvalidCredentials)
        if _must_verify(user, caller) and not shown.verified:
            raise InvalidCredentials
        with _telling(passkey, caller.client, InvalidCredentials), transaction() as db:
            accounts.hold_caller(db, caller)
            _use(db, passkey, shown, ceremonies.STEP_UP, caller.session_id)
            budgets.clear(db, tried)
    words = [*sessions.amr(caller.session_id), *_words(passkey, shown, two=True)]
    return sessions.step_up(caller, list(dict.fromkeys(words)))


def _waiting(ticket: str) -> tuple[PendingLogin, User]:
    """The sign-in that waits for a second factor, and its user, who has a passkey that may be it."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
        user = db.get(User, pending.user_id) if pending and pending.user_id else None
        if pending is None or user is None or pending.stage != stages.SECOND_FACTOR:
            raise MfaTicketExpired
        if not factors.has_passkey(db, user.id) or factors.PASSKEY in factors.excluded(pending.amr.split()):
            raise ValidationFailed(errors=[NOT_ENROLLED])
    return pending, user


def _must_verify(user: User, caller: Caller) -> bool:
    """Whether a step-up asks for user verification: where the passkey is all there is, and where a passkey opened the session."""
    return not user.mfa_enabled or factors.is_passkey(caller.amr)


def _spend(user: User, known_as: str) -> budgets.Try:
    return budgets.spend("passkey", accounts.budget_name(user, user.email), known_as)


def _shown(credential: Credential, user: User, purpose: str, subject: str, refusal: type[Refused]) -> tuple[Passkey, Shown]:
    """A passkey of this user's, and what it showed; refused if it is somebody else's, or anything is wrong."""
    found = passkeys.by_credential(credential["id"])
    shown = ceremonies.show(credential, found[0], purpose, subject) if found and found[1].id == user.id else None
    if found is None or shown is None:
        raise refusal
    return found[0], shown


def _use(db: Database, passkey: Passkey, shown: Shown, purpose: str, subject: str) -> None:
    """Take the challenge, once, and move the counter on (7.2, step 22), in an act that holds the user: `Used`, `Copied`."""
    if not challenges.take(db, purpose, subject, shown.challenge):
        raise Used
    # Authenticators without a counter always show 0.
    before = Passkey.sign_count < shown.sign_count if shown.sign_count else Passkey.sign_count == 0
    seen = {"sign_count": shown.sign_count, "backed_up": shown.backed_up, "last_used_at": clock.now()}
    if not changed(db, update(Passkey).where(Passkey.id == passkey.id, before).values(**seen)):
        gone = db.scalar(select(Passkey.id).where(Passkey.id == passkey.id)) is None
        raise Used if gone else Copied


@contextmanager
def _telling(passkey: Passkey, client: Client, refusal: type[Refused]) -> Iterator[None]:
    """Around an act that uses a passkey: whatever stops it is one refusal to who asks; a copy is told to who runs this."""
    try:
        yield
    except Used:
        raise refusal from None
    except Copied:
        audit.note_alone("passkey.cloned", passkey.user_id, client, result=refusal.code, passkey=passkey.id)
        raise refusal from None


def _words(passkey: Passkey, shown: Shown, *, two: bool) -> list[str]:
    """The RFC 8176 words of a passkey, with `mfa` where it makes two factors."""
    kept = factors.PASSKEY_WORDS[passkey.backup_eligible]
    return [kept, *([VERIFIED] if shown.verified else []), *([factors.MFA] if two else [])]
