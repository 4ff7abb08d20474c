"""Erase what is held on a person: every row, file and entry of Redis; and see for oneself that nothing was left.

An account that is due is taken first, for good, so that nobody restores what is half gone. Its files go, then all of its rows
in one transaction, which looks through every table before it is committed. Whoever dies in between leaves the account's row
with `erase_at` behind, and the next run begins anew.
"""

import logging
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, and_, delete, false, func, or_, select, update
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, budgets, cache, cards, clock, factors, lifetimes, pictures, secrets, sign_up, tickets
from domain.database import changed, reading, transaction
from domain.holdings import Person
from model import (
    Alert,
    AppToken,
    AuditEvent,
    Base,
    Budget,
    Code,
    Factor,
    Identity,
    Link,
    Mail,
    PendingLogin,
    SignUpAttempt,
    User,
)
from outbound import files

LATE = timedelta(minutes=10)  # So long it is looked whether a request that was under way has written something of an erased account.
ADDRESSES = ("email", "recipient")  # Columns in which a username can stand, too.
IDS = ("about", "actor", "created_by")  # And whatever ends in user_id.
IDENTITY = "identity"  # What a provider has said of somebody.

logger = logging.getLogger(__name__)


class Leftover(Exception):
    """Something of an erased person is still there: how many rows, by table."""


class Taken(NamedTuple):
    """An account that is about to be erased: whose, the addresses and numbers of their letters and messages, and the ids of letters
    to anybody that tell of it.
    """

    person: Person
    recipients: frozenset[str]
    letters: frozenset[str]


def run(*, dry_run: bool = False) -> int:
    """Erase the accounts that are due; how many. One that can't be erased holds up no other, and is tried again."""
    with reading() as db:
        due = list(db.scalars(select(User.id).where(User.erase_at <= clock.now()).order_by(User.erase_at)))
    if dry_run:
        return len(due)
    erased = sum(erase(one) for one in due)
    _look_after()
    return erased


def erase(user_id: str) -> bool:
    """Erase an account that is due; whether it is gone. What went wrong is told in the log, without naming anybody."""
    try:
        taken = _take(user_id)
        if taken is None:
            return False
        pictures.discard_all(user_id)
        files.forget(taken.recipients, taken.letters)
        _remove(taken.person)
        cache.forget(user_id)
    except Leftover as left:
        logger.error("An account could not be erased as a whole, and is tried again; what is left: %s", left)  # noqa: TRY400
    except Exception as failure:  # Whatever is wrong with one must not hold up the others.
        logger.error("An account could not be erased, and is tried again: %s", type(failure).__name__)  # noqa: TRY400
    else:
        return True
    return False


def leftovers(db: Database, person: Person) -> dict[str, int]:
    """How many rows are a person's by any column that `says` so, by table; but for other accounts' own rows."""
    trail = AuditEvent.__tablename__
    found = {table.name: _rows_with(db, table, person) for table in Base.metadata.sorted_tables if table.name != trail}
    found[trail] = audit.told(db, person.id, *person.addresses)
    return {name: rows for name, rows in found.items() if rows}


def _take(user_id: str) -> Taken | None:
    """Take an account that is due: from now on no link brings it back, whatever somebody's clock says."""
    with transaction() as db:
        user = accounts.hold(db, user_id)
        if user is None or user.erase_at is None or user.erase_at > clock.now():
            return None
        known = tuple((one.issuer, one.sub) for one in db.scalars(select(Identity).where(Identity.user_id == user.id)))
        person = Person(user.id, tuple(sorted(_proven(db, user))), user.username, known)
        letters = db.scalars(select(Mail.id).where(Mail.about == user.id)).all()
        user.erase_at = lifetimes.EVER
        for purpose in tickets.REMEDIES:
            tickets.end_links_of(db, user.id, purpose)
        return Taken(person, frozenset((*person.addresses, *_numbers(db, user))), frozenset(letters))


def _proven(db: Database, user: User) -> set[str]:
    """The addresses that the account has, and has had, but for those that are another's by now."""
    moved = ("email.changed", "email.undone")
    told = select(AuditEvent.name).where(AuditEvent.user_id == user.id, AuditEvent.action.in_(moved), AuditEvent.name.is_not(None))
    mailed = select(Link.email).where(Link.user_id == user.id, Link.purpose.in_(tickets.REMEDIES))
    return _of_nobody_else(db, user, {user.email, *filter(None, db.scalars(told)), *db.scalars(mailed)})


def _numbers(db: Database, user: User) -> set[str]:
    """The telephone numbers that the account has proven."""
    proven = select(Factor.secret_encrypted).where(Factor.user_id == user.id, Factor.type == factors.SMS, Factor.proven_at.is_not(None))
    return set(filter(None, (secrets.opened(one or b"") for one in db.scalars(proven))))


def _of_nobody_else(db: Database, user: User, addresses: set[str]) -> set[str]:
    return addresses - set(db.scalars(select(User.email).where(User.email.in_(addresses), User.id != user.id)))


def _remove(person: Person) -> None:
    """Delete every row, and look. `Leftover`, and then all of them are still there."""
    with transaction() as db:
        for address in person.addresses:
            sign_up.lock(db, address)
        if accounts.hold(db, person.id) is None:
            return
        removed = sum(changed(db, one) for one in _deletions(person)) + _forget_told(db, person)
        told = audit.forget(db, person.id, *person.addresses)
        cards.mark(db, person.id)
        changed(db, delete(User).where(User.id == person.id))
        if left := leftovers(db, person):
            raise Leftover(", ".join(f"{table} {rows}" for table, rows in sorted(left.items())))
        audit.note(db, "account.erased", person.id, actor=audit.SYSTEM, rows=removed, events=told)


def _deletions(person: Person) -> list[Any]:
    """What does not go with the account's row by itself."""
    mine, names = person.id, person.names
    return [
        delete(Link).where(or_(Link.user_id == mine, and_(Link.user_id.is_(None), Link.email.in_(names)))),
        delete(Code).where(or_(Code.user_id == mine, and_(Code.user_id.is_(None), Code.email.in_(names)))),
        delete(PendingLogin).where(PendingLogin.user_id.is_(None), PendingLogin.email.in_(names)),
        delete(SignUpAttempt).where(SignUpAttempt.email.in_(names)),
        delete(Mail).where(or_(Mail.about == mine, Mail.to.in_(names))),
        delete(Budget).where(Budget.account.in_(_counted(person))),
        delete(Alert).where(Alert.user_id == mine),
        update(AppToken).where(AppToken.created_by == mine).values(created_by=None),
    ]


def _forget_told(db: Database, person: Person) -> int:
    """Visits to a provider, and sign-ins under way, in which it told of the person; there are only those of the last hour."""
    tables = [one for one in Base.metadata.sorted_tables if IDENTITY in one.c]
    return sum(changed(db, delete(one).where(one.c.id.in_(_told_of(db, one, person)))) for one in tables)


def _counted(person: Person) -> list[str]:
    return [budgets.account_hash(name) for name in (f"user:{person.id}", *(f"name:{one}" for one in person.addresses))]


def _rows_with(db: Database, table: Table, person: Person) -> int:
    said = [one for one in (says(column, person) for column in table.columns) if one is not None]
    rows = select(func.count()).select_from(table).where(or_(false(), *said), *_nobody_elses(table, person))
    return (db.scalar(rows) or 0) + (len(_told_of(db, table, person)) if IDENTITY in table.c else 0)


def says(column: Column[Any], person: Person) -> ColumnElement[bool] | None:
    """Whether a row is this person's, by a column that says whose it is; None: this one does not. In any other column a stranger
    may write somebody's address or id, and must not stop their erasure by it.
    """
    if column.name in ADDRESSES:
        return column.in_(person.names)
    if column.name in IDS or column.name.endswith("user_id") or column is User.__table__.c.id:
        return column == person.id
    return column.in_(_counted(person)) if column is Budget.__table__.c.account else None


def _nobody_elses(table: Table, person: Person) -> list[ColumnElement[bool]]:
    owners = [table.c[name] for name in ("user_id", "link_user_id") if name in table.c] + ([table.c.id] if table.name == "users" else [])
    return [or_(owner.is_(None), owner == person.id) for owner in owners]


def _told_of(db: Database, table: Table, person: Person) -> list[str]:
    """The ids of rows in which a provider has said the person's address, or how it knows them; nothing else of it counts."""
    told = table.c[IDENTITY]
    rows = db.execute(select(table.c.id, told).where(told.is_not(None), *_nobody_elses(table, person)))
    said = [(row_id, what or {}) for row_id, what in rows]
    return [
        row_id
        for row_id, what in said
        if (what.get("issuer"), what.get("sub")) in person.identities or what.get("email") in person.addresses
    ]


def _look_after() -> None:
    """What a request that was under way has written of an account after it was erased: it goes, too."""
    with reading() as db:
        lately = (AuditEvent.action == "account.erased", AuditEvent.at > clock.now() - LATE, AuditEvent.user_id.is_not(None))
        erased = [Person(one or "") for one in db.scalars(select(AuditEvent.user_id).where(*lately))]
        late = [one for one in erased if leftovers(db, one)]
    for person in late:
        with transaction() as db:
            for one in _deletions(person):
                changed(db, one)
            audit.forget(db, person.id)
