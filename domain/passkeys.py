"""Passkeys of an account (W3C Web Authentication Level 3): made, listed, named, removed. `passkey_sign_in` lets in by them.

Who makes or removes one has signed in recently; either ends the user's other sessions, pending sign-ins and trusted devices, and is
told by mail. A passkey is a way in by itself, and stands for the second factor where one is on; it turns none on.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, ceremonies, challenges, clock, limits, mfa, notices, secrets
from domain.caller import Caller
from domain.ceremonies import Credential, Registered
from domain.database import changed, new_id, reading, transaction
from domain.errors import Fault, LastWayIn, NotFound, TooManyPasskeys, ValidationFailed
from model import Passkey, User


def options(caller: Caller) -> dict[str, Any]:
    """What the caller's browser needs to make a passkey (W3C WebAuthn 3, 5.4), good for limits.CEREMONY_SECONDS in this session."""
    return ceremonies.creation_options(accounts.get(caller.user_id), every(caller.user_id), caller.session_id)


def register(caller: Caller, credential: Credential, name: str | None = None) -> Passkey:
    """Keep the passkey that was made for `options`, once. `ValidationFailed` whatever is wrong with it, or if somebody has it
    already; `TooManyPasskeys`.
    """
    made = ceremonies.register(credential, caller.session_id)
    if made is None:
        raise _invalid("not_verified", "This is no passkey that was made here for what was asked for just now.")
    with transaction() as db:
        user = accounts.hold_caller(db, caller)  # So that the passkeys of one user are counted and made one by one.
        if not challenges.take(db, ceremonies.REGISTER, caller.session_id, made.challenge):
            raise _invalid("used", "This answer was given before.")
        if (db.scalar(select(func.count()).select_from(Passkey).where(Passkey.user_id == user.id)) or 0) >= limits.PASSKEYS:
            raise TooManyPasskeys
        passkey = _row(user.id, made, name or "Passkey")
        try:
            with db.begin_nested():
                db.add(passkey)
        except IntegrityError:
            raise _invalid("taken", "This passkey is known already.") from None
        mfa.settle(db, user, but=caller.session_id)
        audit.of(db, "passkey.added", caller, passkey=passkey.id, aaguid=made.aaguid)
        notices.send(db, user, "passkey_added", caller.client, passkey=passkey.name)
    return passkey


def every(user_id: str) -> list[Passkey]:
    """The passkeys of a user, oldest first."""
    with reading() as db:
        mine = select(Passkey).where(Passkey.user_id == user_id)
        return list(db.scalars(mine.order_by(Passkey.created_at, Passkey.id)))


def by_credential(credential_id: str) -> tuple[Passkey, User] | None:
    """The passkey with this id, as a browser writes it (base64url without padding), and whose it is."""
    theirs = select(Passkey, User).join(User, User.id == Passkey.user_id)
    with reading() as db:
        found = db.execute(theirs.where(Passkey.credential_hash == secrets.hashed(credential_id))).one_or_none()
    return (found[0], found[1]) if found else None


def find(caller: Caller, passkey_id: str) -> None:
    """Refuse an id that is no passkey of the caller's: `NotFound`."""
    with reading() as db:
        if db.scalar(select(Passkey.id).where(*_mine(caller, passkey_id))) is None:
            raise NotFound


def rename(caller: Caller, passkey_id: str, name: str) -> None:
    """Give a passkey another name; `NotFound` if it is not the caller's."""
    with transaction() as db:
        if not changed(db, update(Passkey).where(*_mine(caller, passkey_id)).values(name=name)):
            raise NotFound
        audit.of(db, "passkey.renamed", caller, passkey=passkey_id)


def remove(caller: Caller, passkey_id: str) -> None:
    """Remove a passkey; `NotFound`, or `LastWayIn` where nothing else would open the account."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)  # So that of two removals at once the second sees what the first has left.
        passkey = db.scalar(select(Passkey).where(*_mine(caller, passkey_id)))
        if passkey is None:
            raise NotFound
        if accounts.ways_in(db, user) == 1:
            raise LastWayIn
        db.execute(delete(Passkey).where(Passkey.id == passkey.id))
        mfa.settle(db, user, but=caller.session_id)
        audit.of(db, "passkey.removed", caller, passkey=passkey.id)
        notices.send(db, user, "passkey_removed", caller.client, passkey=passkey.name)


def remove_recent(db: Database, user_id: str) -> None:
    """Remove what was made within limits.REMEDY_SECONDS, when an owner takes the account back: it may be somebody else's."""
    since = clock.now() - timedelta(seconds=limits.REMEDY_SECONDS)
    db.execute(delete(Passkey).where(Passkey.user_id == user_id, Passkey.created_at > since))


def _row(user_id: str, made: Registered, name: str) -> Passkey:
    return Passkey(
        id=new_id(),
        user_id=user_id,
        credential_hash=secrets.hashed(ceremonies.written(made.credential_id)),
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        aaguid=made.aaguid,
        transports=made.transports,
        backup_eligible=made.backup_eligible,
        backed_up=made.backed_up,
        name=name,
        created_at=clock.now(),
    )


def _invalid(code: str, message: str) -> ValidationFailed:
    return ValidationFailed(errors=[Fault("credential", code, message)])


def _mine(caller: Caller, passkey_id: str) -> tuple[ColumnElement[bool], ...]:
    return Passkey.id == passkey_id, Passkey.user_id == caller.user_id
