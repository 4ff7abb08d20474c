"""Passwords: what is acceptable, and how they are kept. Hashing is slow on purpose: never do it inside a transaction."""

import logging
import unicodedata
from datetime import timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import clock, hashes, strength
from domain.database import changed, new_id, reading, transaction
from domain.errors import Fault, PasswordExpired, WeakPassword
from model import PasswordHistory, User
from outbound import breaches

BREACHED = "This password has leaked from somewhere, and is on the lists that guessers use. Choose another."
USED_BEFORE = "You have had this password before. Choose another."

logger = logging.getLogger(__name__)


def check(password: str, *known: str | None, field: str = "password", user: User | None = None) -> None:
    """Refuse a new password that is not acceptable: `WeakPassword`, with every reason, under the name of its field.

    `known` is what is known of who chooses it, such as the address; of a `user` that is taken from the account.
    """
    about = [*known, user.email, user.username, user.name] if user else list(known)
    found = strength.faults(field, password, about)
    if _is_breached(password):
        found.append(Fault(field, "breached", BREACHED))
    if user and _was_used(user, password):
        found.append(Fault(field, "used_before", USED_BEFORE))
    if found:
        raise WeakPassword(errors=found)


def hash(password: str) -> str:
    """The hash to store."""
    return hashes.make(password)


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password behind `stored`. One hash of the present kind is made in any case: without `stored`, or
    where that is of another kind (a right password is then hashed anew by `renew`), so that time tells as little as it can.
    """
    against = stored or hashes.nobody()
    right = hashes.verify(against, password)
    if not right and not hashes.is_current(against):
        hashes.make(password)
    return right and stored is not None


def renew(user: User, password: str) -> None:
    """Keep the right password of an account by the present scheme, cost and pepper, unless it is another by now."""
    old = user.password_hash
    if old is None or hashes.is_current(old):
        return
    new = hashes.make(password)
    with transaction() as db:
        changed(db, update(User).where(User.id == user.id, User.password_hash == old).values(password_hash=new))


def is_same(before: User, now: User) -> bool:
    """Whether an account still has the password that it had; one that was only hashed anew is the same."""
    return (before.password_hash is None, before.password_changed_at) == (now.password_hash is None, now.password_changed_at)


def refuse_expired(user: User) -> None:
    """Refuse a password that is older than PASSWORD_MAX_AGE_DAYS: `PasswordExpired`."""
    days, since = config.settings.PASSWORD_MAX_AGE_DAYS, user.password_changed_at
    if days and since and since + timedelta(days=days) <= clock.now():
        raise PasswordExpired


def replace(db: Database, user: User, hashed: str) -> None:
    """Give an account, which the caller holds, its new password; the old one goes into its history where one is kept."""
    now, kept = clock.now(), config.settings.PASSWORD_HISTORY
    if kept and user.password_hash:
        db.add(PasswordHistory(id=new_id(), user_id=user.id, password_hash=user.password_hash, replaced_at=now))
    db.execute(update(User).where(User.id == user.id).values(password_hash=hashed, password_changed_at=now))
    for one in db.scalars(_past(user).offset(kept).limit(100)):
        db.delete(one)


def _is_breached(password: str) -> bool:
    """As the service for it says, where one is set; while it is away the list that is built in has to do."""
    if not config.settings.PASSWORD_RANGE_URL:
        return False
    try:
        return breaches.knows(config.settings.PASSWORD_RANGE_URL, unicodedata.normalize("NFC", password))
    except breaches.Away as error:
        logger.warning("PASSWORD_RANGE_URL is away, and only the built-in list was asked: %s", error)
        return False


def _was_used(user: User, password: str) -> bool:
    if not config.settings.PASSWORD_HISTORY:
        return False
    with reading() as db:
        past = [one.password_hash for one in db.scalars(_past(user).limit(config.settings.PASSWORD_HISTORY))]
    return any(hashes.verify(one, password) for one in [user.password_hash, *past] if one)


def _past(user: User) -> Select[PasswordHistory]:
    """What an account's passwords were, newest first."""
    mine = select(PasswordHistory).where(PasswordHistory.user_id == user.id)
    return mine.order_by(PasswordHistory.replaced_at.desc(), PasswordHistory.id)
