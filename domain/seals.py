"""The chain of seals: what makes a change of the audit trail show.

A job numbers the rows and seals each by HMAC-SHA-256 over the seal before it and everything of the row that may never
change, under a key derived from SECRET_KEY. What tells a person is covered by its salted hash only, so that it can be erased.
Who can write to the database but does not have the key can't change, take out, put in or reorder a sealed row unseen.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session as Database

from domain import audit, secrets
from domain.database import add_if_absent, changed, reading, transaction
from model import AuditChain, AuditEvent

CHAIN, PURPOSE = "main", "audit seal"
BATCH = 500

_WAITING = select(AuditEvent).where(AuditEvent.number.is_(None)).order_by(AuditEvent.at, AuditEvent.id)
_MARK = (
    update(AuditEvent)
    .where(AuditEvent.id == bindparam("row"), AuditEvent.number.is_(None))
    .values(number=bindparam("next"), seal=bindparam("made"))
)

logger = logging.getLogger("gatehouse.audit")


class End(NamedTuple):
    """Where the chain ends: the number of its last row, and that row's seal."""

    number: int
    seal: str


START = End(0, "0" * 64)  # Before the first row.


class Broken(NamedTuple):
    """A row that is not as it was sealed."""

    number: int
    id: str | None
    why: str


class Verdict(NamedTuple):
    """What a walk along the chain found: how many rows are sealed and right, and where it breaks, if it does."""

    right: int
    unsealed: int
    end: End
    broken: Broken | None


def seal(*, dry_run: bool = False) -> int:
    """Seal what is not sealed yet, in order; how many rows. Of two sealers at once one works, and the other leaves off."""
    if dry_run:
        return unsealed()
    sealed = 0
    while some := _seal_some():
        sealed += some
    if sealed:
        last = end()
        # In a log that is kept elsewhere this shows when the newest rows were cut off.
        logger.info("The audit trail is sealed up to number %d: %s", last.number, last.seal[:16])
    return sealed


def unsealed() -> int:
    """How many rows are not sealed yet."""
    with reading() as db:
        return db.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.number.is_(None))) or 0


def end() -> End:
    """Where the chain ends now."""
    with reading() as db:
        return _end(db) or START


def some_are_ours(newest: int) -> bool:
    """Whether any of the newest seals was made with a SECRET_KEY of the list; so it is, too, where nothing is sealed yet."""
    with reading() as db:
        sealed = select(AuditEvent).where(AuditEvent.number.is_not(None)).order_by(AuditEvent.number.desc())
        rows = db.scalars(sealed.limit(newest + 1)).all()
    before = [End(row.number or 0, row.seal or "") for row in rows[1:]] + ([START] if len(rows) <= newest else [])
    return not rows or any(row.seal in _seals(last, row) for last, row in zip(before, rows, strict=False))


def walk(after: int | None = None) -> Iterator[AuditEvent]:
    """The sealed rows by their numbers, from behind this one on, in batches. `ValueError` or `TypeError` at one that can't be read."""
    while some := _behind(after):
        yield from some
        after = some[-1].number


def verify() -> Verdict:
    """Walk along the chain to its end, or to the first row that is not as it was sealed."""
    last, broken, told = START, None, START
    try:
        while not broken:
            # The end that is told here was committed with its rows, so the next look finds all of them.
            told = end()
            some = _behind(last.number or None)
            if not some:
                broken = _misses(last, told)
                break
            for row in some:
                if broken := _fault(last, row):
                    break
                last = End(last.number + 1, row.seal or "")
    except (ValueError, TypeError):
        broken = Broken(last.number + 1, _id_behind(last.number), "can't be read")
    return Verdict(last.number, unsealed(), told, broken)


def canonical(number: int, row: AuditEvent) -> str:
    """What is sealed of a row, in one form whichever the database."""
    at = row.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kept = [number, row.id, at, row.action, row.result, row.actor, row.user_id, row.session_id, row.facts, row.personal_hash]
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _seal_some() -> int:
    """Give the next rows their numbers and seals. The chain's end moves first: who finds that it has moved leaves off."""
    if not unsealed():
        return 0
    with transaction() as db:
        last = _end(db) or _begin(db)
        marks, moved = [], last
        for row in db.scalars(_WAITING.limit(BATCH)):
            moved = End(moved.number + 1, _seals(moved, row)[0])
            marks.append({"row": row.id, "next": moved.number, "made": moved.seal})
        here = (AuditChain.name == CHAIN, AuditChain.number == last.number, AuditChain.seal == last.seal)
        if not marks or not changed(db, update(AuditChain).where(*here).values(number=moved.number, seal=moved.seal)):
            return 0
        db.connection().execute(_MARK, marks)
    return len(marks)


def _seals(last: End, row: AuditEvent) -> list[str]:
    """The seals that a row may have behind this one, under each of the keys, the newest first."""
    return secrets.keyed_hashes(PURPOSE, last.seal + canonical(last.number + 1, row))


def _end(db: Database) -> End | None:
    found = db.get(AuditChain, CHAIN)
    return End(found.number, found.seal) if found else None


def _begin(db: Database) -> End:
    add_if_absent(db, AuditChain, name=CHAIN, **START._asdict())
    return START


def _behind(after: int | None, limit: int = BATCH) -> Sequence[AuditEvent]:
    """The next sealed rows. Where one of them can't be read, those before it; where it is the first, its error."""
    query = select(AuditEvent).where(AuditEvent.number.is_not(None) if after is None else AuditEvent.number > after)
    try:
        with reading() as db:
            return db.scalars(query.order_by(AuditEvent.number).limit(limit)).all()
    except (ValueError, TypeError):
        if limit == 1:
            raise
        return _behind(after, limit=1)


def _id_behind(number: int) -> str | None:
    """The id of the first row behind this number."""
    with reading() as db:
        return db.scalar(select(AuditEvent.id).where(AuditEvent.number > number).order_by(AuditEvent.number).limit(1))


def _fault(last: End, row: AuditEvent) -> Broken | None:
    """What is wrong with the row that stands behind this one."""
    number = last.number + 1
    if row.number is None or row.number < number:
        return Broken(row.number or 0, row.id, "does not belong there")
    if row.number > number:
        return Broken(number, None, f"is missing: the next one there is {row.number}")
    if row.seal not in _seals(last, row):
        return Broken(number, row.id, "was changed, or put in, or has changed places")
    personal = {key: getattr(row, key) for key in audit.PERSONAL}
    erased = row.salt is None and not any(value is not None for value in personal.values())
    if not erased and (row.salt is None or audit.personal_hash(row.salt, personal) != row.personal_hash):
        return Broken(number, row.id, "tells another address, user agent, country or name than it did")
    return None


def _misses(last: End, told: End) -> Broken | None:
    """What is wrong with the end of a chain that is right up to its last row."""
    if last.number < told.number:
        return Broken(last.number + 1, None, f"is missing: the chain goes to {told.number}")
    if last != told:
        return Broken(told.number + 1, _id_behind(told.number), "stands behind the end of the chain")
    return None
