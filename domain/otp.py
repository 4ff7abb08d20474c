"""Six-digit codes by mail or text message: as the second step of a sign-in and for step-up; by mail to sign in, too."""

import config
from domain import accounts, audit, budgets, devices, factors, login, mail, metrics, secrets, social, stages, tickets, totp
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import Fault, MfaInvalidCode, MfaTicketExpired, ValidationFailed
from domain.sessions import Grant
from domain.stages import Pending
from model import PendingLogin


def send_to_sign_in(email: str) -> tuple[str, int]:
    """Mail a code to sign in with, if the address has an account; the token that goes with the code, and its seconds."""
    token = secrets.token()
    with transaction() as db:
        user = accounts.find(db, email)
        code = tickets.make_code(db, tickets.SIGN_IN, secrets.hashed(token), email, user.id if user else None)
        nobody = user is None or user.status != accounts.ACTIVE
        mail.send_capped(db, "code", email, mail.code_values(code, tickets.SIGN_IN), withheld=nobody, locale=user.locale if user else None)
    return token, config.settings.OTP_SECONDS


def send_for_ticket(ticket: str, method: str, client: Client) -> None:
    """Send the code for a pending sign-in; `MfaTicketExpired`, `ValidationFailed` for a method that sends nothing,
    `RateLimited` for text messages over their caps.
    """
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
    if pending is None or pending.stage not in (stages.SECOND_FACTOR, social.EMAIL_PROVEN):
        raise MfaTicketExpired
    if pending.stage == social.EMAIL_PROVEN:
        return _send_proof(pending, method)
    user = accounts.get(pending.user_id or "")
    used = factors.excluded(pending.amr.split())
    _refuse_unless_sent(method, [one for one in factors.methods(user.id) if one not in used])
    with transaction() as db:
        factors.send_code(db, user, method, tickets.SECOND_FACTOR, pending.id, client)
    return None


def send_for_step_up(caller: Caller, method: str) -> None:
    """Send the code with which the caller proves themselves again. Refuses as `send_for_ticket` does."""
    user = accounts.get(caller.user_id)
    _refuse_unless_sent(method, login.step_up_methods(user, caller.amr))
    with transaction() as db:
        factors.send_code(db, user, method, tickets.STEP_UP, caller.session_id, caller.client)


@metrics.sign_in("mailed_code")
def sign_in(token: str, code: str, client: Client) -> Grant | Pending:
    """Sign in by a mailed code; `MfaInvalidCode` whatever is wrong, `TooManyAttempts`, `AccountDisabled`."""
    subject = secrets.hashed(token)
    with reading() as db:
        email = tickets.email_of_code(db, tickets.SIGN_IN, subject)
    if email is None:
        raise MfaInvalidCode
    user = accounts.look_up(email)
    device = devices.recognise(client, user.id if user else "")
    tried = budgets.spend("code", accounts.budget_name(user, email), device.id if device else budgets.STRANGER)
    with audit.failures("sign_in", user.id if user else None, client, tried=tried, name=email):
        with transaction() as db:
            right = tickets.try_code(db, tickets.SIGN_IN, subject, totp.plain_digits(code))
            user = accounts.find(db, email) if right else None
        if right is None or user is None or user.id != right.user_id:  # A code of before the account is no key to it.
            raise MfaInvalidCode
        return login.enter(user, [login.MAILED_CODE], client, device, tried)


def finish(ticket: str, method: str, code: str, client: Client, *, trust: bool = False) -> Grant | Pending:
    """Give the code that a pending sign-in waits for, whichever its stage: `social.prove` or `login.finish`."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
    if pending is not None and pending.stage == social.EMAIL_PROVEN:
        return social.prove(ticket, method, code, client)
    return login.finish(ticket, method, code, client, trust=trust)


def _send_proof(pending: PendingLogin, method: str) -> None:
    """Mail the code that proves the address which a provider did not vouch for, once more."""
    _refuse_unless_sent(method, [factors.EMAIL])
    with transaction() as db:
        user = accounts.find(db, pending.email)
        code = tickets.make_code(db, tickets.PROVE, pending.id, pending.email, pending.user_id)
        locale = user.locale if user else None
        mail.send_capped(db, "code", pending.email, mail.code_values(code, tickets.PROVE), locale=locale)


def _refuse_unless_sent(method: str, enrolled: list[str]) -> None:
    if method not in factors.SENT or method not in enrolled:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "No code can be sent by this method.")])
