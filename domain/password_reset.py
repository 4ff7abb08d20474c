"""A new password: by a mailed link when the old one is forgotten, or in a running session.

A reset proves the mailbox, so it ends everything else that could still open the account: sessions, devices, pending
sign-ins, other links. It gives no tokens, and a second factor stays asked (ASVS 6.4.3).
"""

from sqlalchemy.orm import Session as Database

import config
from domain import accounts, audit, budgets, devices, login, mail, notices, passwords, sessions, sign_up, tickets
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import InvalidCredentials, NotFound, TokenRevoked, ValidationFailed
from model import User


def forget(email: str, client: Client) -> None:
    """Mail a reset link if the address has an account or an open attempt; the same work if it has neither."""
    with transaction() as db:
        sign_up.lock(db, email)
        user = accounts.find(db, email)
        attempt = sign_up.newest(db, email)
        nobody = user.status != accounts.ACTIVE if user else attempt is None
        within = mail.spend(db, email, withheld=nobody)
        # Over the limit it ends none: a stranger who asks again and again would end the link that the owner has.
        tickets.end_links(db, email if within else "", tickets.RESET)
        token = tickets.make_link(db, tickets.RESET, email, config.settings.RESET_SECONDS)
        values = {"link": mail.link(f"/reset-password/{token}"), "minutes": str(config.settings.RESET_SECONDS // 60)}
        locale = user.locale if user else None
        mail.send(db, "reset", email, values | mail.circumstances(client), withheld=nobody or not within, locale=locale)
        audit.note(db, "password.reset_requested", user.id if user else None, client, name=email)


def invite(email: str) -> str:
    """A link's path with which an account's owner sets a first password; `NotFound`."""
    with transaction() as db:
        user = accounts.find(db, email)
        if user is None:
            raise NotFound
        audit.note(db, "password.reset_requested", user.id, actor=audit.OPERATOR)
        return f"/reset-password/{tickets.make_link(db, tickets.RESET, user.email, config.settings.RESET_SECONDS)}"


def reset(token: str, password: str, client: Client) -> None:
    """Set the password by a link, once. `LinkInvalid`, `TokenUsed`, `WeakPassword` (the link stays good); `SignUpClosed` where it
    would make an account, and nobody may.
    """
    with reading() as db:
        tickets.check_link(db, tickets.RESET, token)
        address = tickets.address_of(db, tickets.RESET, token)
        user = accounts.find(db, address)
    passwords.check(password, address, user=user)
    hashed = passwords.hash(password)
    with transaction() as db:
        email = tickets.address_of(db, tickets.RESET, token)
        sign_up.lock(db, email)
        owner = accounts.find(db, email)
        if owner:
            accounts.hold(db, owner.id)  # Before the link: who else ends links holds the account first, too.
        attempt = sign_up.newest(db, email)
        sign_up.end_attempts(db, email)  # Before the link, too: it gives mails back, and `forget` counts its mail before it ends links.
        tickets.take_link(db, tickets.RESET, token)
        user = owner or sign_up.make_account(db, email, None, attempt, client)
        accounts.prove_mailbox(db, user, client)
        accounts.lock_down(db, user)
        _set(db, user, hashed, client)
        audit.note(db, "password.reset", user.id, client, actor=user.id)
    budgets.unlock(accounts.budget_name(user, email))


def change(caller: Caller, new: str, current: str | None) -> None:
    """Change the password in a running session, or set a first one; the other sessions end.

    The current one stands for a recent sign-in on an account without a factor. `ReauthenticationRequired`,
    `InvalidCredentials` if the current one is wrong, `WeakPassword`.
    """
    user = accounts.get(caller.user_id)
    if user.mfa_enabled or user.password_hash is None:
        login.require_recent(caller)
    if user.password_hash is not None:
        if current is None:
            raise ValidationFailed(errors=[login.MISSING_CURRENT_PASSWORD])
        login.prove_password(caller, user, current)
    passwords.check(new, field="new_password", user=user)
    hashed = passwords.hash(new)
    with transaction() as db:
        held = accounts.hold(db, user.id)
        if held is None or not sessions.is_open(db, caller.session_id):
            raise TokenRevoked  # A reset or another change was faster, and has ended this session.
        if not passwords.is_same(user, held):
            raise InvalidCredentials  # This session's own change was faster, as when a request is sent again: it goes on.
        sessions.end_of_user(db, user.id, but=caller.session_id)
        devices.distrust(db, user.id)
        tickets.end_of_user(db, user)
        _set(db, held, hashed, caller.client)
        audit.of(db, "password.changed", caller)


def _set(db: Database, user: User, hashed: str, client: Client) -> None:
    passwords.replace(db, user, hashed)
    notices.send(db, user, "password_changed", client)
