"""Six-digit codes by mail: to sign in without a password, as the second step of a sign-in, and for step-up."""

import config
from domain import accounts, budgets, devices, factors, login, mail, metrics, secrets, social, tickets, totp
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import Fault, MfaInvalidCode, MfaTicketExpired, ValidationFailed
from domain.login import Pending
from domain.sessions import Grant


def send_to_sign_in(email: str) -> tuple[str, int]:
    """Mail a code to sign in with, if the address has an account; the token that goes with the code, and its seconds."""
    token = secrets.token()
    with transaction() as db:
        user = accounts.find(db, email)
        code = tickets.make_code(db, tickets.SIGN_IN, secrets.hashed(token), email, user.id if user else None)
        nobody = user is None or user.status != accounts.ACTIVE
        mail.send_capped(db, "code", email, mail.code_values(code, tickets.SIGN_IN), withheld=nobody)
    return token, config.settings.OTP_SECONDS


def send_for_ticket(ticket: str, method: str) -> None:
    """Mail the code for a pending sign-in; `MfaTicketExpired`, or `ValidationFailed` for a method that sends nothing."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
    if pending is None:
        raise MfaTicketExpired
    if pending.stage == login.SECOND_FACTOR:
        _refuse_unless_mailed(method, [] if login.MAILED_CODE in pending.amr.split() else factors.methods(pending.user_id or ""))
    else:
        _refuse_unless_mailed(method, ["email"])
    purpose = tickets.SECOND_FACTOR if pending.stage == login.SECOND_FACTOR else tickets.PROVE
    with transaction() as db:
        code = tickets.make_code(db, purpose, pending.id, pending.email, pending.user_id)
        mail.send_capped(db, "code", pending.email, mail.code_values(code, purpose), by_owner=purpose == tickets.SECOND_FACTOR)


def send_for_step_up(caller: Caller, method: str) -> None:
    """Mail the code with which the caller proves themselves again."""
    user = accounts.get(caller.user_id)
    _refuse_unless_mailed(method, login.step_up_methods(user, caller.amr))
    with transaction() as db:
        code = tickets.make_code(db, tickets.STEP_UP, caller.session_id, user.email, user.id)
        mail.send_capped(db, "code", user.email, mail.code_values(code, tickets.STEP_UP), by_owner=True)


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
    with transaction() as db:
        right = tickets.try_code(db, tickets.SIGN_IN, subject, totp.plain_digits(code))
        user = accounts.find(db, email) if right and right.user_id else None
    if user is None:
        raise MfaInvalidCode
    return login.enter(user, [login.MAILED_CODE], client, device, tried)


def finish(ticket: str, method: str, code: str, client: Client, *, trust: bool = False) -> Grant | Pending:
    """Give the code that a pending sign-in waits for, whichever its stage: `social.prove` or `login.finish`."""
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
    if pending is not None and pending.stage == social.EMAIL_PROVEN:
        return social.prove(ticket, method, code, client)
    return login.finish(ticket, method, code, client, trust=trust)


def _refuse_unless_mailed(method: str, enrolled: list[str]) -> None:
    if method != factors.EMAIL or method not in enrolled:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "No code can be sent by this method.")])
