"""Keys of the server itself: put what is stored under the newest one, so that an older one can be thrown away."""

from typing import Any, NamedTuple

from sqlalchemy import select, update

from domain import audit, secrets
from domain.database import changed, reading, transaction
from model import Factor, Mail, SigningKey, SocialFlow

BATCH = 500
ENCRYPTED: tuple[tuple[Any, Any], ...] = (
    (Factor.id, Factor.secret_encrypted),
    (SocialFlow.id, SocialFlow.verifier_encrypted),
    (Mail.id, Mail.values_encrypted),
    (SigningKey.kid, SigningKey.private_encrypted),
)


class Rotation(NamedTuple):
    """How many secrets are under the newest key now, and how many no key of the list opens; those are left as they are."""

    rotated: int
    unreadable: int


def rotate_encryption() -> Rotation:
    """Encrypt every stored secret anew under the first FERNET_KEY. Again is fine; so is a server that runs meanwhile."""
    done = [_rotate(key, column) for key, column in ENCRYPTED]
    whole = Rotation(sum(one.rotated for one in done), sum(one.unreadable for one in done))
    audit.note_alone("encryption.rotated", None, actor=audit.OPERATOR, **whole._asdict())
    return whole


def _rotate(key: Any, column: Any) -> Rotation:
    rotated, unreadable, after = 0, 0, ""
    while rows := _next(key, column, after):
        renewed = [(row_id, old, secrets.rotate(old)) for row_id, old in rows]
        with transaction() as db:
            for row_id, old, new in renewed:
                # What somebody changed meanwhile is under the newest key already.
                rotated += changed(db, update(key.class_).where(key == row_id, column == old).values({column: new})) if new else 0
        unreadable += sum(new is None for _, _, new in renewed)
        after = rows[-1][0]
    return Rotation(rotated, unreadable)


def _next(key: Any, column: Any, after: str) -> list[tuple[str, bytes]]:
    with reading() as db:
        found = db.execute(select(key, column).where(column.is_not(None), key > after).order_by(key).limit(BATCH))
        return [(row[0], row[1]) for row in found]
