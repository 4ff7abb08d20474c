"""Accounts: find them, make them, switch them on and off."""

from datetime import datetime

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database
from sqlalchemy.orm.attributes import set_committed_value

from domain import addresses, api_keys, audit, budgets, cards, clock, devices, passwords, permissions, roles, sessions, tickets
from domain.caller import Caller, Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import EmailTaken, NotFound, TokenRevoked
from model import Identity, Passkey, User

ACTIVE, INACTIVE = "active", "inactive"

# Built once: building a statement costs more than running it.
_BY_ID = select(User).where(User.id == bindparam("id"))
_BY_EMAIL = select(User).where(User.email == bindparam("email"))
_BY_NAME = select(User).where(or_(User.email == bindparam("name"), User.username == bindparam("name")))
_HELD = _BY_ID.with_for_update(key_share=True).execution_options(populate_existing=True)


def find(db: Database, email: str) -> User | None:
    """The account of an address in its canonical form."""
    return db.scalar(_BY_EMAIL, {"email": email})


def id_of(db: Database, email: str) -> str:
    """The id of the account of an address, in whatever spelling; `NotFound`."""
    user = find(db, addresses.canonical(email))
    if user is None:
        raise NotFound
    return user.id


def hold(db: Database, user_id: str) -> User | None:
    """The account as it is now, held to the end of the act: who lets somebody in and who ends what runs wait for each other."""
    return db.scalar(_HELD, {"id": user_id})


def hold_caller(db: Database, caller: Caller) -> User:
    """The caller's account, held; `TokenRevoked` if the session or key was ended after the request was let in, as by a reset."""
    user = hold(db, caller.user_id)
    if user is None or not _goes_on(db, caller):
        raise TokenRevoked
    return user


def look_up(identifier: str) -> User | None:
    """The account behind what somebody typed: an address or a username, in canonical form."""
    with reading() as db:
        return db.scalar(_BY_NAME, {"name": identifier})


def get(user_id: str) -> User:
    """The account with this id; `NotFound` if there is none."""
    with reading() as db:
        user = db.scalar(_BY_ID, {"id": user_id})
    if user is None:
        raise NotFound
    return user


def ways_in(db: Database, user: User) -> int:
    """How many things open an account that the act holds: its password, identities and passkeys. The mailbox is always one more."""
    counts = [db.scalar(select(func.count()).select_from(table).where(table.user_id == user.id)) or 0 for table in (Identity, Passkey)]
    return (user.password_hash is not None) + sum(counts)


def budget_name(user: User | None, identifier: str) -> str:
    """The name under which failures are counted: one for all spellings of an account, and one for a name nobody has."""
    return f"user:{user.id}" if user else f"name:{identifier}"


def add(
    db: Database,
    email: str,
    password_hash: str | None,
    *,
    username: str | None = None,
    name: str | None = None,
    actor: str | None = None,
    client: Client = audit.NOWHERE,
) -> User:
    """A new active account whose mailbox is proven; `EmailTaken`. A username that is gone by now is left empty."""
    for free_name in (username, None):
        try:
            with db.begin_nested():
                user = _new(email, password_hash, free_name, name)
                db.add(user)
        except IntegrityError:
            if find(db, email) is not None:
                raise EmailTaken from None
        else:
            audit.note(db, "account.created", user.id, client, actor=actor or user.id)
            return user
    raise EmailTaken


def add_invited(db: Database, email: str, name: str | None) -> User:
    """A new account that waits for its mailbox to be proven, and has no way in before; `EmailTaken`."""
    user = _new(email, None, None, name)
    user.invited_at = user.created_at
    try:
        with db.begin_nested():
            db.add(user)
    except IntegrityError:
        raise EmailTaken from None
    return user


def prove_mailbox(db: Database, user: User, client: Client) -> None:
    """Somebody has shown that the mailbox of an account is theirs: from now on one that was invited is like any other."""
    waiting = update(User).where(User.id == user.id, User.invited_at.is_not(None))
    if changed(db, waiting.values(invited_at=None, email_confirmed_at=clock.now())):
        set_committed_value(user, "invited_at", None)
        cards.mark(db, user.id)
        audit.note(db, "account.confirmed", user.id, client, actor=user.id)


def create(email: str, password: str | None = None, *, admin: bool = False) -> User:
    """A confirmed account, made by an operator, with the role `admin` if so asked; `EmailTaken`, `WeakPassword`."""
    if password is not None:
        passwords.check(password, email)
    hashed = passwords.hash(password) if password is not None else None
    with transaction() as db:
        user = add(db, addresses.canonical(email), hashed, actor=audit.OPERATOR)
        if admin:
            roles.make_admin(db, user)
            audit.note(db, "role.granted", user.id, actor=audit.OPERATOR, role=permissions.ADMIN, service=permissions.GATEHOUSE)
        return user


def activate(email: str) -> None:
    """Give an account back the right to sign in, and nothing else; `NotFound`."""
    with transaction() as db:
        set_status(db, id_of(db, email), ACTIVE, None)


def deactivate(email: str) -> None:
    """Take the right to sign in away, and end at once whatever is running or pending; `NotFound`, `LastAdmin`."""
    with transaction() as db:
        set_status(db, id_of(db, email), INACTIVE, None)


def set_status(db: Database, user_id: str, status: str, by: Caller | None) -> None:
    """Switch an account on or off, part of the act of an administrator or (None) the operator; again is fine.

    `NotFound`, `LastAdmin`.
    """
    if status == INACTIVE:
        roles.require_another_admin(db, user_id)
    user = hold(db, user_id)
    if user is None or (user.erase_at is not None and user.erase_at <= clock.now()):
        raise NotFound
    if status == INACTIVE and user.erase_at is not None:
        tickets.end_links_of(db, user.id, tickets.RESTORE)  # Its owner's wish goes on, and nobody but an administrator calls it off.
        return audit.by(db, "account.deactivated", by, user.id)
    if user.status == status:
        return None
    if status == ACTIVE:
        bring_back(db, user)
        return audit.by(db, "account.activated", by, user.id)
    shut(db, user)
    return audit.by(db, "account.deactivated", by, user.id)


def shut(db: Database, user: User, erase_at: datetime | None = None) -> None:
    """Nobody signs in to an account that the act holds, and whatever is running or pending ends; if it is so wished, it is
    erased from that moment on.
    """
    user.status, user.erase_at = INACTIVE, erase_at
    cards.mark(db, user.id)
    lock_down(db, user)


def bring_back(db: Database, user: User) -> None:
    """The right to sign in to an account that the act holds, and nothing else; a deletion that was asked for is called off."""
    user.status, user.erase_at = ACTIVE, None
    cards.mark(db, user.id)
    tickets.end_links_of(db, user.id, tickets.RESTORE)


def is_restorable(db: Database, user: User) -> bool:
    """Whether the account waits to be erased, and its owner may still call that off."""
    return (
        user.erase_at is not None
        and user.erase_at > clock.now()
        and tickets.find_link(db, tickets.RESTORE, user.email, user.id) is not None
    )


def lock_down(db: Database, user: User) -> None:
    """End at once whatever is running, known or pending on an account that the act holds: sessions, keys, devices, links,
    codes, sign-ins. Second factors stay, and so do the owner's remedies.
    """
    sessions.end_of_user(db, user.id)
    api_keys.end_of_user(db, user.id)
    devices.forget(db, user.id)
    tickets.end_of_user(db, user)


def unlock(email: str) -> None:
    """Forget the failed attempts on an account, whoever made them; `NotFound`."""
    user = look_up(addresses.canonical(email))
    if user is None:
        raise NotFound
    unlock_by(None, user)


def unlock_by(caller: Caller | None, user: User) -> None:
    """The same as an administrator, or (None) the operator, does it."""
    budgets.unlock(budget_name(user, user.email))
    with transaction() as db:
        audit.by(db, "account.unlocked", caller, user.id)


def _goes_on(db: Database, caller: Caller) -> bool:
    return api_keys.is_live(db, caller.credential_id) if caller.kind == "api_key" else sessions.is_open(db, caller.session_id)


def _new(email: str, password_hash: str | None, username: str | None, name: str | None) -> User:
    now = clock.now()
    return User(
        id=new_id(),
        email=email,
        username=username,
        name=name,
        password_hash=password_hash,
        password_changed_at=now if password_hash else None,
        status=ACTIVE,
        mfa_enabled=False,
        created_at=now,
        email_confirmed_at=now,
    )
