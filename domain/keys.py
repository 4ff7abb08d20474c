"""Keys of the server itself: put what is stored under the newest one, so that an older one can be thrown away."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import select, update

from domain import audit, secrets
from domain.database import changed, reading, transaction
from model import Canary, Factor, Mail, SigningKey, SocialFlow

BATCH = 500
# The mark of `canaries` is the last: a rotation that was cut short leaves a server that does not start without the older key.
ENCRYPTED: tuple[tuple[Any, Any], ...] = (
    (Factor.id, Factor.secret_encrypted),
    (SocialFlow.id, SocialFlow.verifier_encrypted),
    (Mail.id, Mail.values_encrypted),
    (SigningKey.kid, SigningKey.private_encrypted),
    (Canary.name, Canary.value_encrypted),
)


class Rotation(NamedTuple):
    """How many secrets were put under the newest key, how many no key of the list opens, which are left as they are, and how
    many are under an older key still, because somebody who runs with another list has written them meanwhile.
    """

    rotated: int
    unreadable: int
    older: int


def rotate_encryption() -> Rotation:
    """Put every stored secret that is not there yet under the first FERNET_KEY, in batches, each an act of its own.

    A server may run meanwhile. Cut short, it goes on when it is run again: what is under the newest key is left alone.
    """
    rotated = sum(_rotate(key, column) for key, column in ENCRYPTED)
    rest = [secrets.opened(value) is not None for key, column in ENCRYPTED for value in _not_newest(key, column)]
    done = Rotation(rotated, rest.count(False), rest.count(True))
    audit.note_alone("encryption.rotated", None, actor=audit.OPERATOR, **done._asdict())
    return done


def _rotate(key: Any, column: Any) -> int:
    rotated = 0
    for batch in _batches(key, column):
        renewed = [(row_id, old, new) for row_id, old in batch if not secrets.is_newest(old) and (new := secrets.rotate(old))]
        if renewed:
            with transaction() as db:
                for row_id, old, new in renewed:
                    # What somebody changed meanwhile is under the newest key already.
                    rotated += changed(db, update(key.class_).where(key == row_id, column == old).values({column: new}))
    return rotated


def _not_newest(key: Any, column: Any) -> Iterator[bytes]:
    for batch in _batches(key, column):
        yield from (value for _, value in batch if not secrets.is_newest(value))


def _batches(key: Any, column: Any) -> Iterator[list[tuple[str, bytes]]]:
    """Every row that has a secret, in the order of its key."""
    after = ""
    while rows := _next(key, column, after):
        yield rows
        after = rows[-1][0]


def _next(key: Any, column: Any, after: str) -> list[tuple[str, bytes]]:
    with reading() as db:
        found = db.execute(select(key, column).where(column.is_not(None), key > after).order_by(key).limit(BATCH))
        return [(row[0], row[1]) for row in found]
