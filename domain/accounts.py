"""Accounts: find them, make them, switch them on and off."""

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database

from domain import addresses, budgets, clock, devices, passwords, sessions, tickets
from domain.caller import Caller
from domain.database import changed, new_id, reading, transaction
from domain.errors import EmailTaken, NotFound, TokenRevoked
from model import User

ACTIVE, INACTIVE = "active", "inactive"

# Built once: building a statement costs more than running it.
_BY_ID = select(User).where(User.id == bindparam("id"))
_BY_EMAIL = select(User).where(User.email == bindparam("email"))
_BY_NAME = select(User).where(or_(User.email == bindparam("name"), User.username == bindparam("name")))
_HELD = _BY_ID.with_for_update(key_share=True).execution_options(populate_existing=True)


def find(db: Database, email: str) -> User | None:
    """The account of an address in its canonical form."""
    return db.scalar(_BY_EMAIL, {"email": email})


def hold(db: Database, user_id: str) -> User | None:
    """The account as it is now, held to the end of the act: who lets somebody in and who ends what runs wait for each other."""
    return db.scalar(_HELD, {"id": user_id})


def hold_caller(db: Database, caller: Caller) -> User:
    """The caller's account, held; `TokenRevoked` if the session was ended after the request was let in, as by a reset."""
    user = hold(db, caller.user_id)
    if user is None or not sessions.is_open(db, caller.session_id):
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


def budget_name(user: User | None, identifier: str) -> str:
    """The name under which failures are counted: one for all spellings of an account, and one for a name nobody has."""
    return f"user:{user.id}" if user else f"name:{identifier}"


def add(db: Database, email: str, password_hash: str | None, *, username: str | None = None, name: str | None = None) -> User:
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
            return user
    raise EmailTaken


def create(email: str, password: str | None = None) -> User:
    """A confirmed account, made by an operator; `EmailTaken`, `WeakPassword`."""
    if password is not None:
        passwords.check(password)
    hashed = passwords.hash(password) if password is not None else None
    with transaction() as db:
        return add(db, addresses.canonical(email), hashed)


def activate(email: str) -> None:
    """Give an account back the right to sign in, and nothing else; `NotFound`."""
    with transaction() as db:
        if not changed(db, update(User).where(User.email == addresses.canonical(email)).values(status=ACTIVE)):
            raise NotFound


def deactivate(email: str) -> None:
    """Take the right to sign in away, and end at once whatever is running or pending; `NotFound`."""
    with transaction() as db:
        user = find(db, addresses.canonical(email))
        if user is None or hold(db, user.id) is None:
            raise NotFound
        db.execute(update(User).where(User.id == user.id).values(status=INACTIVE))
        sessions.end_of_user(db, user.id)
        devices.forget(db, user.id)
        tickets.end_of_user(db, user)


def unlock(email: str) -> None:
    """Forget the failed attempts on an account, whoever made them; `NotFound`."""
    user = look_up(addresses.canonical(email))
    if user is None:
        raise NotFound
    budgets.unlock(budget_name(user, user.email))


def _new(email: str, password_hash: str | None, username: str | None, name: str | None) -> User:
    now = clock.now()
    return User(
        id=new_id(),
        email=email,
        username=username,
        name=name,
        password_hash=password_hash,
        status=ACTIVE,
        mfa_enabled=False,
        created_at=now,
        email_confirmed_at=now,
    )
