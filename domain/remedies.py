"""An owner's way back, by a link in a mail that told of somebody else's doing: undo a change of address, or "this was not me".

Whoever holds the mailbox may stop everything, and gets no more than a reset would give: second factors stay, for a mailbox
alone must not remove them. Such a link works once, for limits.REMEDY_SECONDS: an old mailbox that is a stranger's by
now can't shut the owner out for ever.
"""

from sqlalchemy import update
from sqlalchemy.orm import Session as Database

import config
from domain import accounts, audit, email_change, identities, mail, passkeys, tickets
from domain.caller import Client
from domain.database import transaction
from domain.errors import LinkInvalid
from model import Link, User

GIVEN_AWAY = "Another account has this address by now."


def undo(token: str, client: Client) -> None:
    """Bring the old address back, end everything, void the password, and mail a link for a new one to the old address.

    `TokenUsed`, `LinkInvalid` also where another account has the old address by now.
    """
    with transaction() as db:
        link, user = email_change.take(db, tickets.EMAIL_UNDO, token)
        if not _bring_back(db, link, user, client):
            raise LinkInvalid(GIVEN_AWAY)
        _secure(db, user, client)


def not_me(token: str, client: Client) -> None:
    """End everything, void the password, and mail a link for a new one to the account's address. `TokenUsed`, `LinkInvalid`.

    Where the address was changed since the mail, the mailbox that says so has the link to undo that as well, and it is undone:
    else the link for a new password would go to whom the owner says no to. An address that is not the account's gets none.
    """
    with transaction() as db:
        link, user = email_change.take(db, tickets.NOT_ME, token)
        change = tickets.find_link(db, tickets.EMAIL_UNDO, link.email, user.id) if link.email != user.email else None
        if change is not None:
            _bring_back(db, change, user, client)
        _secure(db, user, client)
        audit.note(db, "not_me", user.id, client, actor=user.id)


def _bring_back(db: Database, change: Link, user: User, client: Client) -> bool:
    """The address that a change was made from; False if somebody has it. What went to the later ones is no remedy any more."""
    lost = user.email
    if not email_change.move(db, user, change.email):
        return False
    tickets.end_later_remedies(db, change)
    if lost != user.email:
        mail.send(db, "email_undone", lost, mail.circumstances(client), locale=user.locale)
    audit.note(db, "email.undone", user.id, client, actor=user.id, name=lost)
    return True


def _secure(db: Database, user: User, client: Client) -> None:
    """Nothing that was open stays open, and the way in is the mailbox. A deletion that was asked for is called off."""
    if user.erase_at is not None:
        accounts.bring_back(db, user)
        audit.note(db, "account.restored", user.id, client, actor=user.id)
    accounts.lock_down(db, user)
    identities.remove_recent(db, user.id)
    passkeys.remove_recent(db, user.id)
    db.execute(update(User).where(User.id == user.id).values(password_hash=None))
    seconds = config.settings.RESET_SECONDS
    token = tickets.make_link(db, tickets.RESET, user.email, seconds)
    values = {"link": mail.link(f"/reset-password/{token}"), "minutes": str(seconds // 60)}
    mail.send(db, "new_password", user.email, values | mail.circumstances(client), locale=user.locale)
