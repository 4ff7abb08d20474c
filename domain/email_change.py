"""Another address for an account: nothing changes before the new mailbox has proven itself, and the old one can undo it.

Whether somebody has the new address shows in no answer: its owner gets a mail without a link, and the work is the same.
"""

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm.attributes import set_committed_value

import config
from domain import accounts, audit, cards, clock, devices, factors, limits, mail, sign_up, tickets
from domain.caller import Caller, Client
from domain.database import changed, transaction
from domain.errors import EmailTaken, LinkInvalid
from model import Factor, Link, User


def request(caller: Caller, email: str) -> None:
    """Mail a link to the new address; a newer request ends the older one. Asking for the present address calls the change off.

    `EmailTaken` only where PREVENT_ENUMERATION is off. Mail to one address is capped, and so is the mail that one account causes.
    """
    with transaction() as db:
        sign_up.lock(db, email)
        user = accounts.hold_caller(db, caller)
        owner = accounts.find(db, email)
        taken, same = owner is not None and owner.id != user.id, owner is not None and owner.id == user.id
        if taken and not config.settings.PREVENT_ENUMERATION:
            raise EmailTaken
        tickets.end_links_of(db, user.id, tickets.EMAIL_CONFIRM)
        within = mail.spend(db, email, withheld=same) and mail.spend(db, user.id)
        token = tickets.make_link(db, tickets.EMAIL_CONFIRM, email, config.settings.CONFIRMATION_SECONDS, user_id=user.id)
        offer = {"link": mail.link(f"/profile/email/confirm/{token}"), "hours": str(config.settings.CONFIRMATION_SECONDS // 3600)}
        values = mail.circumstances(caller.client) | ({} if taken else offer)
        template = "email_taken" if taken else "email_confirm"
        mail.send(db, template, email, values, withheld=same or not within, locale=(owner or user).locale, about=user.id)
        audit.of(db, "email.change_requested", caller, name=email)


def confirm(token: str, client: Client) -> None:
    """The new mailbox is proven: the account has this address from now on, and what its old one could still open ends.

    The old address gets a link to undo it. `TokenUsed`, `LinkInvalid` also where somebody has the address by now.
    """
    with transaction() as db:
        link, user = take(db, tickets.EMAIL_CONFIRM, token)
        old = user.email
        if not move(db, user, link.email):
            raise LinkInvalid
        devices.distrust(db, user.id)
        undo = tickets.make_link(db, tickets.EMAIL_UNDO, old, limits.REMEDY_SECONDS, user_id=user.id)
        told = mail.circumstances(client)
        mail.send(db, "email_changed", old, told | {"undo": mail.link(f"/profile/email/undo/{undo}")}, locale=user.locale)
        mail.send(db, "email_in_force", user.email, told, locale=user.locale)
        audit.note(db, "email.changed", user.id, client, actor=user.id, name=old)


def take(db: Database, purpose: str, token: str) -> tuple[Link, User]:
    """Use a link of an account's, and hold the account; `TokenUsed`, `LinkInvalid` also where the account is disabled. A remedy
    works while a deletion can be called off: it may be a thief who has asked for it.
    """
    address = tickets.address_of(db, purpose, token)
    sign_up.lock(db, address)
    user = accounts.hold(db, tickets.account_of(db, purpose, token))
    tickets.hold_links(db, address, tickets.EMAIL_CONFIRM)  # Whoever wants this address goes one by one, too.
    link = tickets.take_link(db, purpose, token)
    if user is None or not (user.status == accounts.ACTIVE or (purpose in tickets.REMEDIES and accounts.is_restorable(db, user))):
        raise LinkInvalid
    return link, user


def move(db: Database, user: User, email: str) -> bool:
    """Give an account that the act holds another address, and end what is pending at both; False if somebody has it."""
    old = user.email
    tickets.end_of_user(db, user)
    mine = update(User).where(User.id == user.id, User.email == old)
    try:
        with db.begin_nested():
            moved = changed(db, mine.values(email=email, email_confirmed_at=clock.now()))
    except IntegrityError:
        return False
    set_committed_value(user, "email", email)
    cards.mark(db, user.id)
    sign_up.end_attempts(db, email)
    tickets.end_links(db, email)
    named = (Factor.user_id == user.id, Factor.type == factors.EMAIL, Factor.name == old[:64])
    db.execute(update(Factor).where(*named).values(name=email[:64]))
    return moved == 1
