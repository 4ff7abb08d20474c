"""A new password: by a mailed link when the old one is forgotten, or in a running session.

A reset proves the mailbox, so it ends everything else that could still open the account: sessions, devices, pending
sign-ins, other links. It gives no tokens, and a second factor stays asked (ASVS 6.4.3).
"""

from sqlalchemy import update
from sqlalchemy.orm import Session as Database

import config
from domain import accounts, budgets, clock, devices, login, mail, passwords, sessions, sign_up, tickets
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import NotFound, TokenRevoked, ValidationFailed
from model import User


def forget(email: str, client: Client) -> None:
    """Mail a reset link if the address has an account or an open attempt; the same work if it has neither."""
    with transaction() as db:
        user = accounts.find(db, email)
        attempt = sign_up.newest(db, email)
        nobody = user.status != accounts.ACTIVE if user else attempt is None
        token = tickets.make_link(db, tickets.RESET, email, config.settings.RESET_SECONDS)
        values = {"link": mail.link(f"/reset-password/{token}"), "minutes": str(config.settings.RESET_SECONDS // 60)}
        within = mail.send_capped(db, "reset", email, values | mail.circumstances(client), withheld=nobody)
        if within:  # Else a stranger who asks again and again would end the link that the owner has.
            tickets.end_links(db, email, tickets.RESET, but=token)


def invite(email: str) -> str:
    """A link's path with which an account's owner sets a first password; `NotFound`."""
    with transaction() as db:
        user = accounts.find(db, email)
        if user is None:
            raise NotFound
        return f"/reset-password/{tickets.make_link(db, tickets.RESET, user.email, config.settings.RESET_SECONDS)}"


def reset(token: str, password: str, client: Client) -> None:
    """Set the password by a link, once. `LinkInvalid`, `TokenUsed`, `WeakPassword` (the link stays good)."""
    with reading() as db:
        tickets.check_link(db, tickets.RESET, token)
    passwords.check(password)
    hashed = passwords.hash(password)
    with transaction() as db:
        email = tickets.address_of(db, tickets.RESET, token)
        sign_up.lock(db, email)
        owner = accounts.find(db, email)
        if owner:
            accounts.hold(db, owner.id)  # Before the link: who else ends links holds the account first, too.
        tickets.take_link(db, tickets.RESET, token)
        user = owner or sign_up.make_account(db, email, None, sign_up.newest(db, email))
        sign_up.end_attempts(db, email)
        sessions.end_of_user(db, user.id)
        devices.forget(db, user.id)
        _set(db, user, hashed, client)
    budgets.unlock(accounts.budget_name(user, email))


def change(caller: Caller, new: str, current: str | None, client: Client) -> None:
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
    passwords.check(new)
    hashed = passwords.hash(new)
    with transaction() as db:
        held = accounts.hold(db, user.id)
        if held is None or held.password_hash != user.password_hash or not sessions.is_open(db, caller.session_id):
            raise TokenRevoked  # A reset or another change was faster, and has ended this session.
        sessions.end_of_user(db, user.id, but=caller.session_id)
        devices.distrust(db, user.id)
        _set(db, user, hashed, client)


def _set(db: Database, user: User, hashed: str, client: Client) -> None:
    db.execute(update(User).where(User.id == user.id).values(password_hash=hashed))
    tickets.end_of_user(db, user)
    mail.send(db, "password_changed", user.email, {"at": clock.now().isoformat(), "ip": client.ip, "user_agent": client.user_agent})
