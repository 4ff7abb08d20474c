"""Accounts of another system, brought in from JSON lines with the password hashes that they have there.

Every line is judged alone, before anything of it is written: what its hash asks for, and the rest, is a stranger's word.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError
from sqlalchemy.orm import Session as Database

from domain import accounts, addresses, audit, clock, factors, hashes, limits, profiles, secrets, totp
from domain.database import new_id, transaction
from domain.errors import EmailTaken, UsernameTaken
from model import Factor, User

IMPORTED, SKIPPED, REFUSED = "imported", "skipped", "refused"
BATCH = 200  # Lines in one transaction: few enough that the server goes on beside it.


class Counts(NamedTuple):
    """What became of the lines. `skipped` are those of addresses that have an account already."""

    imported: int
    skipped: int
    refused: int


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("holds a character that can't be stored")
    return value


def _hash(value: str) -> str:
    flaw = hashes.flaw(value)
    if flaw:
        raise ValueError(flaw)
    return value


def _moment(value: datetime) -> datetime:
    if not datetime(1970, 1, 1, tzinfo=UTC) <= value <= clock.now():
        raise ValueError("is before 1970 or still to come")
    return value


def _timezone(value: str) -> str:
    if not profiles.is_timezone(value):
        raise ValueError("is not a zone of the IANA database")
    return value


class Record(BaseModel):
    """One line: an account whose mailbox the other system has proven. Unknown fields are refused, for they may matter."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    email: Annotated[str, AfterValidator(addresses.canonical)]
    password_hash: Annotated[str, AfterValidator(_hash)] | None = None
    username: Annotated[str, AfterValidator(addresses.canonical_username)] | None = None
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)] | None = None
    status: Literal["active", "inactive"] = "active"
    created_at: Annotated[AwareDatetime, AfterValidator(_moment)] | None = None
    locale: Annotated[str, StringConstraints(pattern=profiles.LOCALE, max_length=35)] | None = None
    timezone: Annotated[str, StringConstraints(max_length=64), AfterValidator(_timezone)] | None = None
    totp_secret: Annotated[str, StringConstraints(max_length=128), AfterValidator(totp.canonical_secret)] | None = None


def load(lines: Iterable[bytes], refuse: Callable[[int, str], None]) -> Counts:
    """Make a confirmed account of every line; `refuse` is told the number of each that is none, and why.

    Again is fine: addresses that have an account are skipped. Nothing is mailed.
    """
    count: Counter[str] = Counter()
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, BATCH)):
        for number, outcome in _write([(number, _judge(line)) for number, line in batch]):
            kind = outcome if outcome in (IMPORTED, SKIPPED) else REFUSED
            count[kind] += 1
            if kind == REFUSED:
                refuse(number, outcome)
    return Counts(count[IMPORTED], count[SKIPPED], count[REFUSED])


def _judge(line: bytes) -> Record | str:
    """The account of a line, or why there is none in it; never with what stands in the line, which may be secret."""
    if len(line) > limits.BODY_BYTES:
        return "is too long"
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        return "; ".join(f"{_field(one['loc'])}{one['msg'].removeprefix('Value error, ')}" for one in found)


def _field(path: tuple[int | str, ...]) -> str:
    return f"{ascii(path[0])[1:-1]}: " if path else ""


def _write(judged: list[tuple[int, Record | str]]) -> list[tuple[int, str]]:
    with transaction() as db:
        return [(number, _outcome(db, one) if isinstance(one, Record) else one) for number, one in judged]


def _outcome(db: Database, record: Record) -> str:
    if accounts.find(db, record.email):
        return SKIPPED
    try:
        with db.begin_nested():
            _make(db, record)
    except EmailTaken:
        return SKIPPED
    except UsernameTaken:
        return "username: is taken"
    return IMPORTED


def _make(db: Database, record: Record) -> None:
    user = accounts.add(db, record.email, record.password_hash, username=record.username, name=record.name, actor=audit.OPERATOR)
    if user.username != record.username:
        raise UsernameTaken
    user.status, user.locale, user.timezone = record.status, record.locale, record.timezone
    user.created_at = record.created_at or user.created_at
    if record.totp_secret:
        _add_factor(db, user, record.totp_secret)


def _add_factor(db: Database, user: User, secret: str) -> None:
    now = clock.now()
    user.mfa_enabled = True
    db.add(
        Factor(
            id=new_id(),
            user_id=user.id,
            type=factors.TOTP,
            name="Authenticator app",
            secret_encrypted=secrets.encrypt(secret),
            last_step=0,
            created_at=now,
            proven_at=now,
        )
    )
