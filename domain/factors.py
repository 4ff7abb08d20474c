"""Second factors of an account, whatever their kind: which are on, and whether a code of one is right.

TOTP (RFC 6238) is in `totp`, mailed codes are `tickets`; recovery codes stand in for both. A code works once.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as Database

from domain import clock, limits, secrets, tickets, totp
from domain.database import changed, new_id, reading
from domain.errors import Fault, ValidationFailed
from model import Factor, RecoveryCode, User

TOTP, EMAIL, RECOVERY_CODE = "totp", "email", "recovery_code"
AMR = {TOTP: "otp", EMAIL: "email", RECOVERY_CODE: "kba"}  # RFC 8176 words for each method.


def on(db: Database, user_id: str) -> list[Factor]:
    """The proven factors of a user, oldest first."""
    mine = select(Factor).where(Factor.user_id == user_id, Factor.proven_at.is_not(None))
    return list(db.scalars(mine.order_by(Factor.created_at, Factor.id)))


def methods(user_id: str) -> list[str]:
    """What this user can give as a second factor."""
    with reading() as db:
        return methods_in(db, user_id)


def methods_in(db: Database, user_id: str) -> list[str]:
    """The same, inside an act."""
    kinds = sorted({one.type for one in on(db, user_id)}, key=[TOTP, EMAIL].index)
    return [*kinds, RECOVERY_CODE] if kinds and recovery_codes_left(db, user_id) else list(kinds)


def require(user: User, method: str, *, but_not: Sequence[str] = ()) -> None:
    """Refuse a method that this user has not enrolled, or may not use here."""
    if method not in methods(user.id) or method in but_not:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "This method is not on for this account.")])


def accept(db: Database, user: User, method: str, code: str, subject: str, *, purpose: str = tickets.SECOND_FACTOR) -> bool:
    """Whether the code is right, and use it up. The caller has spent a try, and commits whatever the verdict."""
    if method == TOTP:
        return _accept_totp(db, user.id, code)
    if method == EMAIL:
        return tickets.try_code(db, purpose, subject, totp.plain_digits(code)) is not None
    return _accept_recovery(db, user.id, code)


def renew_recovery_codes(db: Database, user_id: str) -> list[str]:
    """A new set of recovery codes, shown this once; the old set is dead."""
    codes = [secrets.recovery_code() for _ in range(limits.RECOVERY_CODES)]
    db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    db.add_all(
        RecoveryCode(id=new_id(), user_id=user_id, code_hash=secrets.keyed_hashes("recovery", _plain(user_id, code))[0]) for code in codes
    )
    return codes


def recovery_codes_left(db: Database, user_id: str) -> int:
    """How many recovery codes are unused."""
    left = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return db.scalar(left) or 0


def _accept_totp(db: Database, user_id: str, code: str) -> bool:
    return any(factor.type == TOTP and totp.accept(db, factor, code) for factor in on(db, user_id))


def _accept_recovery(db: Database, user_id: str, code: str) -> bool:
    hashes = secrets.keyed_hashes("recovery", _plain(user_id, code))
    mine = (RecoveryCode.user_id == user_id, RecoveryCode.code_hash.in_(hashes), RecoveryCode.used_at.is_(None))
    return changed(db, update(RecoveryCode).where(*mine).values(used_at=clock.now())) == 1


def _plain(user_id: str, code: str) -> str:
    """The code without its hyphens and in lower case, tied to its account so that equal codes have unlike hashes."""
    return user_id + "".join(character for character in code.lower() if character.isalnum())
