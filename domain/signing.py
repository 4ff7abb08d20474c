"""Key pairs that sign tokens under ES256 or EdDSA, so that services can check tokens by themselves (RFC 7517, RFC 7518).

The newest pair signs; an older one verifies until the last token that it signed is over. Every process reads the table again
after READ_SECONDS, and at once for a key that it does not know. A new pair stands in the JWKS for PUBLISHED_SECONDS before it
signs, so nobody who asks for the keys now and then meets a token under a key that they were not told of.
"""

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from cryptography.fernet import InvalidToken
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session as Database

import config
from domain import audit, clock, lifetimes, secrets
from domain.database import add_if_absent, changed, reading, transaction
from domain.errors import Conflict, Unavailable
from model import JobLease, SigningKey

READ_SECONDS = 10  # How old what a process knows of the table may be.
ASK_SECONDS = 1  # How often it asks for keys that it does not know, whoever makes them up.
PUBLISHED_SECONDS = 45  # With READ_SECONDS less than the minute in which every worker has to sign with a new key.
LAST_USE_SECONDS = 60  # So long after a rotation the old key may still sign somewhere.
CURVES: dict[str, tuple[type[ECKey] | type[OKPKey], str]] = {"ES256": (ECKey, "P-256"), "EdDSA": (OKPKey, "Ed25519")}
TURN = "signing-key"  # The lease that makers of keys hold, so that they go one by one.


class KeyPair(NamedTuple):
    """A key pair as this process uses it. `private` is None where no FERNET_KEY opens it: then it only verifies."""

    kid: str
    algorithm: str
    jwk: dict[str, Any]
    public: Any
    private: Any
    created_at: datetime
    ends_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether the last token that it signed is over."""
        return self.ends_at is not None and self.ends_at <= clock.now()


_known: tuple[KeyPair, ...] = ()  # The newest first.
_read_at = 0  # In seconds since 1970; 0: never.
_lock = threading.Lock()


def is_on() -> bool:
    """Whether tokens are signed with key pairs."""
    return config.settings.JWT_ALGORITHM in CURVES


def prepare() -> None:
    """What a process does before it serves: make the first key if tokens need one, and let those of another algorithm, which
    was in force before, run out. A database that is away or has no tables yet is `/readyz`'s business.
    """
    forget()
    with suppress(Unavailable, DBAPIError):
        if is_on():
            current()
        _let_others_run_out()


def current() -> KeyPair:
    """The pair that signs now; made if there is none. `Unavailable` if none is known and the database is away."""
    signer = _signer(_fresh())
    if signer is None:
        _make_first()
        signer = _signer(_read())
    assert signer is not None
    return signer


def find(kid: str) -> KeyPair | None:
    """The pair of this name, unless its last token is over. For an unknown name the table is asked, but not more often than
    every ASK_SECONDS: names are easily made up.
    """
    pair = next((one for one in _fresh() if one.kid == kid), None)
    if pair is None:
        pair = next((one for one in _fresh(ASK_SECONDS) if one.kid == kid), None)
    return None if pair is None or pair.is_over else pair


def known() -> tuple[KeyPair, ...]:
    """Every pair that this process knows of, as it was read lately; the same object until it is read again."""
    return _fresh()


def published() -> list[dict[str, Any]]:
    """The public keys under which tokens may come, the newest first; none where tokens are signed with JWT_SECRET_KEY."""
    if not is_on():
        return []
    current()
    return [pair.jwk for pair in _fresh() if not pair.is_over]


def rotate() -> str:
    """A new pair signs from now on, and the one before verifies until its last token is over; the name of the new one.

    `Conflict` where tokens are signed with JWT_SECRET_KEY.
    """
    if not is_on():
        raise Conflict("JWT_ALGORITHM is HS256, which has no key pairs: put a new key in front of JWT_SECRET_KEY and restart.")
    with transaction() as db:
        _take_turn(db)
        row = _new()
        changed(db, update(SigningKey).where(SigningKey.ends_at.is_(None)).values(ends_at=_last_end()))
        db.add(row)
        audit.note(db, "signing.rotated", None, actor=audit.OPERATOR, kid=row.kid)
    forget()
    return row.kid


def forget() -> None:
    """Know nothing any more: for a process that is about to serve another database."""
    global _known, _read_at
    _known, _read_at = (), 0


def _signer(pairs: Sequence[KeyPair]) -> KeyPair | None:
    """The newest pair that has stood in the JWKS long enough; where none has, the oldest."""
    able = [one for one in pairs if one.algorithm == config.settings.JWT_ALGORITHM and one.private and not one.is_over]
    told = [one for one in able if one.created_at <= clock.now() - timedelta(seconds=PUBLISHED_SECONDS)]
    return next(iter(told or able[-1:]), None)


def _fresh(seconds: int = READ_SECONDS) -> tuple[KeyPair, ...]:
    """What is known, read again if that is longer ago. One thread reads; the others go on with what was known before."""
    if _read_at and abs(clock.epoch() - _read_at) < seconds:
        return _known
    if not _lock.acquire(blocking=not _read_at):
        return _known
    try:
        return _known if _read_at and abs(clock.epoch() - _read_at) < seconds else _read()
    finally:
        _lock.release()


def _read() -> tuple[KeyPair, ...]:
    """Read the table. While the database is away, what was known goes on."""
    global _known, _read_at
    before = {one.kid: one for one in _known}
    try:
        with reading() as db:
            rows = db.scalars(select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.kid)).all()
    except Unavailable:
        if not before:
            raise
    else:
        _known = tuple(_opened(row, before.get(row.kid)) for row in rows)
    _read_at = clock.epoch()
    return _known


def _opened(row: SigningKey, before: KeyPair | None) -> KeyPair:
    if before and before.private:
        return before._replace(ends_at=row.ends_at)
    kind, _ = CURVES[row.algorithm]
    private = None
    try:
        private = kind.import_key(orjson.loads(secrets.decrypt(row.private_encrypted))).private_key
    except (InvalidToken, ValueError):
        logging.getLogger("gatehouse").warning("no FERNET_KEY opens the signing key %s: it only verifies", row.kid)
    public = kind.import_key(row.public).public_key
    return KeyPair(row.kid, row.algorithm, row.public, public, private, row.created_at, row.ends_at)


def _make_first() -> None:
    """Make a pair, unless another process just did."""
    with transaction() as db:
        _take_turn(db)
        mine = select(SigningKey).where(SigningKey.algorithm == config.settings.JWT_ALGORITHM, SigningKey.ends_at.is_(None))
        if _signer([_opened(row, None) for row in db.scalars(mine)]) is None:
            row = _new()
            db.add(row)
            audit.note(db, "signing.rotated", None, actor=audit.SYSTEM, kid=row.kid)


def _let_others_run_out() -> None:
    """No new token is signed under another algorithm than the one in force."""
    others = (SigningKey.algorithm != config.settings.JWT_ALGORITHM, SigningKey.ends_at.is_(None))
    with reading() as db:
        if db.scalar(select(SigningKey.kid).where(*others)) is None:
            return
    with transaction() as db:
        changed(db, update(SigningKey).where(*others).values(ends_at=_last_end()))


def _take_turn(db: Database) -> None:
    """Acts that begin with this go one by one."""
    now = clock.now()
    add_if_absent(db, JobLease, name=TURN, holder=None, leased_until=now, next_run_at=now)
    changed(db, update(JobLease).where(JobLease.name == TURN).values(leased_until=now, next_run_at=now))


def _new() -> SigningKey:
    algorithm = config.settings.JWT_ALGORITHM
    kind, curve = CURVES[algorithm]
    key = kind.generate_key(curve, private=True)  # type: ignore[arg-type] # The curve is one of this kind's.
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "alg": algorithm, "use": "sig"}
    private = secrets.encrypt(orjson.dumps(key.as_dict(private=True)).decode())
    return SigningKey(kid=kid, algorithm=algorithm, private_encrypted=private, public=public, created_at=clock.now(), ends_at=None)


def _last_end() -> datetime:
    """When the last token is over of a key that stops signing now."""
    return clock.now() + lifetimes.of_tokens() + timedelta(seconds=LAST_USE_SECONDS)
