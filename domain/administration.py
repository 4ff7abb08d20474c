"""What administrators do to accounts: see them, invite, change, remove, and end what runs. The command line shares these acts.

Nobody sets another's password: an invitation and a reset mail a link to the account's own mailbox (ASVS 6.4.6). Nobody
touches an account that has one of the server's own permissions that they lack, and one administrator is always left.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Database

import config
from domain import accounts, audit, cards, clock, erasure, lifetimes, lists, mail, mfa, roles, sessions, sign_up, tickets
from domain.caller import Caller
from domain.database import transaction
from domain.errors import AddressTaken, EmailTaken, Forbidden, NotFound, SignUpClosed
from domain.lists import Part, Window
from model import User


def listed(window: Window, *, email: str | None = None, status: str | None = None) -> Part[User]:
    """The accounts, the newest first: all, the one of an address (canonical), those of a status."""
    query = select(User)
    if email is not None:
        query = query.where(User.email == email)
    if status is not None:
        query = query.where(User.status == status)
    return lists.newest_first(query, User.created_at, User.id, window)


def invite(caller: Caller, email: str, name: str | None = None) -> User:
    """An account without a password, and a mail with a link to set one. Nothing opens it before the mailbox is proven: by that
    link, by a mailed code, or by a provider that vouches for the address.

    `AddressTaken`; `SignUpClosed` where SIGN_UP leaves it to the operator alone to make accounts.
    """
    if config.settings.SIGN_UP == "closed":
        raise SignUpClosed
    with transaction() as db:
        sign_up.lock(db, email)
        try:
            user = accounts.add_invited(db, email, name)
        except EmailTaken:
            raise AddressTaken from None
        _mail_invitation(db, user)
        audit.by(db, "account.invited", caller, user.id)
        return user


def change(caller: Caller, user_id: str, changes: Mapping[str, Any]) -> User:
    """Change these of `status`, `name` and `app_metadata`, all or none. `NotFound`, `Forbidden`, `LastAdmin`."""
    require_right(caller, user_id)
    noted = {column: value for column, value in changes.items() if column != "status"}
    with transaction() as db:
        if "status" in changes:
            accounts.set_status(db, user_id, changes["status"], caller)
        user = accounts.hold(db, user_id)
        if user is None:
            raise NotFound
        for column, value in noted.items():
            setattr(user, column, value)
        if noted:
            cards.mark(db, user.id)
            audit.by(db, "account.changed", caller, user.id, fields=sorted(noted))
        return user


def remove(caller: Caller, user_id: str) -> None:
    """Delete an account, whose tokens stop at once, and erase what is held on its owner; what fails of that, the job tries again.

    `NotFound`, `Forbidden`, `LastAdmin`.
    """
    _not_by_own_key(caller, user_id)
    require_right(caller, user_id)
    with transaction() as db:
        roles.require_another_admin(db, user_id)
        user = _hold(db, user_id)
        accounts.shut(db, user, lifetimes.EVER)
        audit.by(db, "account.removed", caller, user.id)
    erasure.erase(user_id)


def unlock(caller: Caller, user_id: str) -> None:
    """Forget the failed attempts on an account, whoever made them; `NotFound`, `Forbidden`."""
    require_right(caller, user_id)
    accounts.unlock_by(caller, accounts.get(user_id))


def reset_password(caller: Caller, user_id: str) -> None:
    """End the sessions and whatever is pending, and mail a link to set a password; who is still invited gets the invitation anew.

    The password goes on until the owner sets another. `NotFound`, `Forbidden`.
    """
    require_right(caller, user_id)
    with transaction() as db:
        user = _hold(db, user_id)
        sessions.end_of_user(db, user.id)
        tickets.end_of_user(db, user)
        if user.invited_at is not None:
            _mail_invitation(db, user)
            audit.by(db, "account.invited", caller, user.id)
            return
        values = {"minutes": str(config.settings.RESET_SECONDS // 60)}
        _mail_link(db, user, "reset_by_admin", config.settings.RESET_SECONDS, values)
        audit.by(db, "password.reset_requested", caller, user.id)


def end_sessions(caller: Caller, user_id: str) -> int:
    """End all sessions of an account; how many. `NotFound`, `Forbidden`; `Unavailable` as in `sessions.end`."""
    _not_by_own_key(caller, user_id)
    require_right(caller, user_id)
    with transaction() as db:
        user = _hold(db, user_id)
        ended = sessions.end_of_user(db, user.id)
        audit.by(db, "sessions.ended", caller, user.id, number=ended)
        return ended


def reset_factors(caller: Caller, user_id: str) -> None:
    """Turn the second factors off for who has lost them; the owner is told. `NotFound`, `Forbidden`.

    One's own are turned off at `/mfa` alone, which asks for a code: a session, or a key, must not do without.
    """
    if caller.user_id == user_id:
        raise Forbidden("Turn your own second factors off with one of their codes.")
    require_right(caller, user_id)
    with transaction() as db:
        mfa.reset_by(db, caller, user_id)


def require_right(caller: Caller, user_id: str) -> None:
    """Refuse a caller who lacks one of the server's own permissions that this user has: `Forbidden`."""
    roles.require_own(caller, roles.permissions_of(user_id))


def _not_by_own_key(caller: Caller, user_id: str) -> None:
    """A key, whatever its scopes, ends neither its owner's account nor their sessions: `Forbidden`."""
    if caller.kind == "api_key" and caller.user_id == user_id:
        raise Forbidden


def _hold(db: Database, user_id: str) -> User:
    """The account, held, and its address's mail before it, so that no link for it is made meanwhile. `NotFound`."""
    email = db.scalar(select(User.email).where(User.id == user_id))
    if email is not None:
        sign_up.lock(db, email)
    user = accounts.hold(db, user_id)
    if user is None:
        raise NotFound
    return user


def _mail_invitation(db: Database, user: User) -> None:
    seconds = config.settings.CONFIRMATION_SECONDS
    _mail_link(db, user, "invitation", seconds, {"hours": str(seconds // 3600)})


def _mail_link(db: Database, user: User, template: str, seconds: int, values: dict[str, str]) -> None:
    """Mail a link to set a password. It says when, and nothing of where the administrator sits."""
    token = tickets.make_link(db, tickets.RESET, user.email, seconds)
    told = {**values, "link": mail.link(f"/reset-password/{token}"), "at": clock.now().isoformat()}
    mail.send(db, template, user.email, told, locale=user.locale)
