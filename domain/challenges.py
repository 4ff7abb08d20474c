"""Challenges that are signed rather than stored: whoever asks for one costs no row, and an answer counts once.

A challenge is 16 random bytes, the second at which it is over, and an HMAC-SHA-256 of both under a key derived from SECRET_KEY,
bound to what it is for (`purpose`) and to whom it was given (`subject`: a session's id, a ticket, "" for a stranger). It has 128
random bits, twice the least of ASVS 6.7.2 and the 16 bytes that W3C WebAuthn (13.4.3) asks for.
"""

import hmac
import secrets as random
from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.orm import Session as Database

from domain import clock, secrets
from domain.database import add_if_absent, changed
from model import SpentChallenge

RANDOM_BYTES, TIME_BYTES, TAG_BYTES = 16, 6, 32
BODY_BYTES = RANDOM_BYTES + TIME_BYTES
UNTAKEN = datetime(1970, 1, 1, tzinfo=UTC)  # What a row says between its insert and its take, which no other transaction sees.


def make(purpose: str, subject: str, seconds: int) -> bytes:
    """A fresh challenge of 54 bytes, good for so many seconds."""
    body = random.token_bytes(RANDOM_BYTES) + (clock.epoch() + seconds).to_bytes(TIME_BYTES)
    return body + _tags(purpose, subject, body)[0]


def holds(purpose: str, subject: str, challenge: bytes) -> bool:
    """Whether it is one of ours, for this purpose and subject, under any SECRET_KEY, and not over. It may have been taken."""
    body, tag = challenge[:BODY_BYTES], challenge[BODY_BYTES:]
    if len(tag) != TAG_BYTES or _end(body) <= clock.epoch():
        return False
    return any(hmac.compare_digest(tag, one) for one in _tags(purpose, subject, body))


def take(db: Database, purpose: str, subject: str, challenge: bytes) -> bool:
    """Whether it holds and this transaction is the first that takes it. Whoever is refused afterwards rolls the take back."""
    if not holds(purpose, subject, challenge):
        return False
    body = challenge[:BODY_BYTES]
    return take_other(db, f"{purpose} {body.hex()}", _end(body))


def take_other(db: Database, name: str, ends: int) -> bool:
    """The same for what was signed elsewhere and was found right: whether this transaction is the first that takes what has this
    name (of any length), which nobody takes from the second `ends` on.

    The row is added unless it is there, and then taken by a guarded update: of two at once the second waits for the first, on
    every database, and none of them has to tell whether its insert did anything.
    """
    key = secrets.hashed(name)
    add_if_absent(db, SpentChallenge, key=key, expires_at=UNTAKEN)
    free = (SpentChallenge.key == key, SpentChallenge.expires_at == UNTAKEN)
    return changed(db, update(SpentChallenge).where(*free).values(expires_at=datetime.fromtimestamp(ends, UTC))) == 1


def _end(body: bytes) -> int:
    return int.from_bytes(body[RANDOM_BYTES:])


def _tags(purpose: str, subject: str, body: bytes) -> list[bytes]:
    """One under each SECRET_KEY, the newest first."""
    return [bytes.fromhex(one) for one in secrets.keyed_hashes("challenge", f"{purpose}\0{subject}\0{body.hex()}")]
