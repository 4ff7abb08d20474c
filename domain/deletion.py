"""An account's owner deletes it (GDPR art. 17): nobody signs in from then on, and until it is erased a mailed link calls it off.

Meanwhile the account is inactive, with `erase_at` set, so every way in answers as a disabled account's does. `erasure` takes it
from there.
"""

from datetime import timedelta

import config
from domain import accounts, audit, clock, mail, roles, sign_up, tickets
from domain.caller import Caller, Client
from domain.database import transaction
from domain.errors import LinkInvalid

DAY_SECONDS = 86400


def request(caller: Caller) -> None:
    """Everything that runs on the caller's account ends, and after ACCOUNT_DELETION_DAYS it is erased. `LastAdmin`, `TokenRevoked`."""
    email, days = accounts.get(caller.user_id).email, config.settings.ACCOUNT_DELETION_DAYS
    with transaction() as db:
        roles.require_another_admin(db, caller.user_id)
        sign_up.lock(db, email)
        user = accounts.hold_caller(db, caller)
        erase_at = clock.now() + timedelta(days=days)
        accounts.shut(db, user, erase_at)
        values = mail.circumstances(caller.client) | {"ends": erase_at.isoformat(), "link": None}
        if days:
            token = tickets.make_link(db, tickets.RESTORE, user.email, days * DAY_SECONDS, user_id=user.id)
            values["link"] = mail.link(f"/profile/restore/{token}")
        mail.send(db, "account_deletion", user.email, values, locale=user.locale)
        audit.of(db, "account.deletion_requested", caller, days=days)


def restore(token: str, client: Client) -> None:
    """Call the deletion off by the mailed link: its owner can sign in again, and what was ended stays so. `TokenUsed`, `LinkInvalid`."""
    with transaction() as db:
        sign_up.lock(db, tickets.address_of(db, tickets.RESTORE, token))
        user = accounts.hold(db, tickets.account_of(db, tickets.RESTORE, token))
        tickets.take_link(db, tickets.RESTORE, token)
        if user is None or user.erase_at is None or user.erase_at <= clock.now():
            raise LinkInvalid
        accounts.bring_back(db, user)
        audit.note(db, "account.restored", user.id, client, actor=user.id)
