"""Second factors of an account, whatever their kind: which are on, and whether a code of one is right.

TOTP (RFC 6238) is in `totp`; codes that are sent by mail or text message are `tickets`; recovery codes stand in for all of them.
A code works once.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as Database

from domain import audit, clock, limits, mail, notices, secrets, texts, tickets, totp
from domain.caller import Client
from domain.database import changed, new_id, reading
from domain.errors import Fault, ValidationFailed
from model import Factor, Passkey, RecoveryCode, User

TOTP, EMAIL, SMS, RECOVERY_CODE, PASSKEY = "totp", "email", "sms", "recovery_code", "passkey"
KINDS = (TOTP, EMAIL, SMS)  # In the order in which they are offered.
SENT = (EMAIL, SMS)  # Those whose code we send.
AMR = {TOTP: "otp", EMAIL: "email", SMS: "sms", RECOVERY_CODE: "kba"}  # RFC 8176 words for each method.
MFA = "mfa"  # The word of a session in which a second factor was given.
PASSKEY_WORDS = ("hwk", "swk")  # A key that stays on its device, and one that may be copied to others.


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
    kinds = sorted({one.type for one in on(db, user_id)}, key=KINDS.index)
    return [*kinds, RECOVERY_CODE] if kinds and recovery_codes_left(db, user_id) else list(kinds)


def offered(db: Database, user_id: str) -> list[str]:
    """The same with `passkey`, where a factor is on and the user has one: it is no code, but may be given in the place of one."""
    codes = methods_in(db, user_id)
    if not codes or not has_passkey(db, user_id):
        return codes
    last = [RECOVERY_CODE] if RECOVERY_CODE in codes else []
    return [*(one for one in codes if one not in last), PASSKEY, *last]


def has_passkey(db: Database, user_id: str) -> bool:
    """Whether this user has one."""
    return db.scalar(select(Passkey.id).where(Passkey.user_id == user_id).limit(1)) is not None


def require(user: User, method: str, *, but_not: Sequence[str] = ()) -> None:
    """Refuse a method that this user has not enrolled, or may not use here."""
    if method not in methods(user.id) or method in but_not:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "This method is not on for this account.")])


def excluded(amr: Sequence[str]) -> list[str]:
    """What may not follow on proofs of these words: a mailed code after a mailed one, for that is one mailbox twice; a passkey
    after one that nobody's PIN, finger or face came with.
    """
    return [EMAIL] * (AMR[EMAIL] in amr) + [PASSKEY] * (is_passkey(amr) and MFA not in amr)


def is_passkey(amr: Sequence[str]) -> bool:
    """Whether a sign-in of these words began with a passkey."""
    return bool(amr) and amr[0] in PASSKEY_WORDS


def send_code(db: Database, user: User, method: str, purpose: str, subject: str, client: Client) -> None:
    """Send a code of a factor that is on, for one request (`subject`). `RateLimited` for text messages over their caps."""
    code = tickets.make_code(db, purpose, _asked(method, subject), user.email, user.id)
    if method == EMAIL:
        mail.send_capped(db, "code", user.email, mail.code_values(code, purpose), by_owner=True, locale=user.locale)
    else:
        texts.send_code(db, user, number_of(db, user.id), mail.code_values(code, purpose), client)


def number_of(db: Database, user_id: str) -> str:
    """The telephone number that texted codes of this user go to; `ValidationFailed` if there is none that can be read."""
    found = next((one.secret_encrypted for one in on(db, user_id) if one.type == SMS), None)
    number = secrets.opened(found or b"")
    if number is None:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "This method is not on for this account.")])
    return number


def accept(db: Database, user: User, method: str, code: str, subject: str, client: Client, *, purpose: str = tickets.SECOND_FACTOR) -> bool:
    """Whether the code is right, and use it up. The caller has spent a try, and commits whatever the verdict."""
    if method == TOTP:
        return _accept_totp(db, user.id, code)
    if method in SENT:
        return _accept_sent(db, user.id, method, code, purpose, _asked(method, subject))
    return _accept_recovery(db, user, code, client)


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


def _accept_sent(db: Database, user_id: str, method: str, code: str, purpose: str, subject: str) -> bool:
    if tickets.try_code(db, purpose, subject, totp.plain_digits(code)) is None:
        return False
    mine = (Factor.user_id == user_id, Factor.type == method, Factor.proven_at.is_not(None))
    db.execute(update(Factor).where(*mine).values(last_used_at=clock.now()))
    return True


def _accept_recovery(db: Database, user: User, code: str, client: Client) -> bool:
    """A recovery code that was used is told to the owner: it is what a thief of papers would bring."""
    hashes = secrets.keyed_hashes("recovery", _plain(user.id, code))
    mine = (RecoveryCode.user_id == user.id, RecoveryCode.code_hash.in_(hashes), RecoveryCode.used_at.is_(None))
    if not changed(db, update(RecoveryCode).where(*mine).values(used_at=clock.now())):
        return False
    left = recovery_codes_left(db, user.id)
    audit.note(db, "recovery_code.used", user.id, client, actor=user.id, left=left)
    notices.send(db, user, "recovery_code_used", client, left=str(left))
    return True


def _asked(method: str, subject: str) -> str:
    """A request for a code by one way: what came by another way does not answer it."""
    return subject if method == EMAIL else f"{subject} {method}"


def _plain(user_id: str, code: str) -> str:
    """The code without its hyphens and in lower case, tied to its account so that equal codes have unlike hashes."""
    return user_id + "".join(character for character in code.lower() if character.isalnum())
