"""What a mail or an answer hands out to be used once: links, six-digit codes, and tickets of pending sign-ins.

Each is made for one purpose, kept hashed, checked for its expiry at use, and taken by one guarded update.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session as Database

import config
from domain import clock, limits, secrets
from domain.database import changed, new_id
from domain.errors import LinkInvalid, TokenUsed
from model import Code, Link, PendingLogin, User

# Purposes of links.
CONFIRM, RESET, EMAIL_CONFIRM, EMAIL_UNDO, NOT_ME, RESTORE = "confirm", "reset", "email_confirm", "email_undo", "not_me", "restore"
REMEDIES = (EMAIL_UNDO, NOT_ME, RESTORE)  # An owner's way back: what somebody else does to the account does not end these.
# Purposes of codes; `CONFIRM` is one too.
SIGN_IN, SECOND_FACTOR, STEP_UP, ENROL, PROVE = "sign_in", "second_factor", "step_up", "enrol", "prove"
_OPEN = (Link.used_at.is_(None), Link.ended_at.is_(None))


def make_link(db: Database, purpose: str, email: str, seconds: int, attempt_id: str | None = None, *, user_id: str | None = None) -> str:
    """A link's token for one purpose and one address."""
    token = secrets.token()
    now = clock.now()
    db.add(
        Link(
            id=new_id(),
            purpose=purpose,
            token_hash=secrets.hashed(token),
            email=email,
            attempt_id=attempt_id,
            user_id=user_id,
            created_at=now,
            expires_at=now + timedelta(seconds=seconds),
        )
    )
    return token


def take_link(db: Database, purpose: str, token: str) -> Link:
    """Use a link: once, in time, for its purpose. `TokenUsed` if it has acted, `LinkInvalid` whatever else is wrong."""
    now = clock.now()
    mine = (Link.token_hash == secrets.hashed(token), Link.purpose == purpose)
    alive = (Link.used_at.is_(None), Link.ended_at.is_(None), Link.expires_at > now)
    taken = changed(db, update(Link).where(*mine, *alive).values(used_at=now))
    link = db.scalar(select(Link).where(*mine))
    if link is None or (not taken and (link.used_at is None or link.expires_at <= now)):
        raise LinkInvalid
    if not taken:
        raise TokenUsed
    return link


def check_link(db: Database, purpose: str, token: str) -> None:
    """Look whether a link would still act, before slow work is done for it; it is judged again when it is taken."""
    link = db.scalar(select(Link).where(Link.token_hash == secrets.hashed(token), Link.purpose == purpose))
    if link is None or link.ended_at or link.expires_at <= clock.now():
        raise LinkInvalid
    if link.used_at:
        raise TokenUsed


def address_of(db: Database, purpose: str, token: str) -> str:
    """The address that a link was made for; `LinkInvalid` if there is no such link."""
    email = db.scalar(select(Link.email).where(Link.token_hash == secrets.hashed(token), Link.purpose == purpose))
    if email is None:
        raise LinkInvalid
    return email


def account_of(db: Database, purpose: str, token: str) -> str:
    """The id of the account that a link was made for; empty for a link of nobody's."""
    return db.scalar(select(Link.user_id).where(Link.token_hash == secrets.hashed(token), Link.purpose == purpose)) or ""


def find_link(db: Database, purpose: str, email: str, user_id: str) -> Link | None:
    """The oldest link of an account that went to this address for this purpose and would still act."""
    mine = (Link.user_id == user_id, Link.email == email, Link.purpose == purpose)
    alive = (*_OPEN, Link.expires_at > clock.now())
    return db.scalars(select(Link).where(*mine, *alive).order_by(Link.created_at, Link.id).limit(1)).first()


def hold_links(db: Database, email: str, purpose: str) -> None:
    """Acts that end each other's links to one address go one by one: each begins by holding them, in one order."""
    db.execute(select(Link.id).where(Link.email == email, Link.purpose == purpose).order_by(Link.id).with_for_update())


def end_links(db: Database, email: str, purpose: str | None = None) -> None:
    """End the open links of an address, of one purpose or all but the remedies: they are superseded."""
    _end(db, Link.email == email, _of(purpose))


def end_links_of(db: Database, user_id: str, purpose: str | None = None) -> None:
    """The same for the links of an account, wherever they went."""
    _end(db, Link.user_id == user_id, _of(purpose))


def end_later_remedies(db: Database, remedy: Link) -> None:
    """An owner takes the account back by this link: whatever went to other mailboxes since then is no remedy."""
    since = (Link.user_id == remedy.user_id, Link.created_at >= remedy.created_at, Link.email != remedy.email)
    _end(db, *since, Link.purpose.in_(REMEDIES))


def _of(purpose: str | None) -> ColumnElement[bool]:
    return Link.purpose == purpose if purpose else Link.purpose.not_in(REMEDIES)


def _end(db: Database, *which: ColumnElement[bool]) -> None:
    db.execute(update(Link).where(*which, *_OPEN).values(ended_at=clock.now()))


def make_code(db: Database, purpose: str, subject: str, email: str, user_id: str | None = None) -> str:
    """Six digits for one request (`subject`); an earlier code for the same request ends."""
    digits, now = secrets.code(), clock.now()
    db.execute(update(Code).where(Code.subject == subject, Code.purpose == purpose, Code.used_at.is_(None)).values(used_at=now))
    db.add(
        Code(
            id=new_id(),
            purpose=purpose,
            subject=subject,
            email=email,
            user_id=user_id,
            code_hash=secrets.keyed_hashes("code", digits)[0],
            tries=0,
            created_at=now,
            expires_at=now + timedelta(seconds=config.settings.OTP_SECONDS),
        )
    )
    return digits


def email_of_code(db: Database, purpose: str, subject: str) -> str | None:
    """The address that a code was made for, if there is one for this request."""
    return db.scalar(select(Code.email).where(Code.subject == subject, Code.purpose == purpose))


def try_code(db: Database, purpose: str, subject: str, digits: str) -> Code | None:
    """Judge a code: None if it is wrong, used, over, or was tried too often. A right one is used up by this.

    Of several codes that were asked for at once and did not see each other, a guess meets one only.
    Runs in a transaction that the caller commits whatever the verdict: the try must be counted.
    """
    now = clock.now()
    mine = (Code.subject == subject, Code.purpose == purpose, Code.used_at.is_(None), Code.expires_at > now)
    code = db.scalar(select(Code).where(*mine).order_by(Code.created_at.desc(), Code.id).limit(1))
    this = Code.id == (code.id if code else "")  # Where there is none the same is asked, so that time does not tell.
    judged = changed(db, update(Code).where(this, Code.tries < limits.CODE_TRIES, *mine).values(tries=Code.tries + 1))
    if code is None or not judged or not secrets.matches(code.code_hash, "code", digits):
        return None
    taken = changed(db, update(Code).where(this, *mine).values(used_at=now))
    db.execute(update(Code).where(*mine).values(used_at=now))
    return code if taken else None


def make_pending(
    db: Database, stage: str, email: str, amr: list[str], user_id: str | None = None, identity: dict[str, object] | None = None
) -> str:
    """A ticket for a sign-in that has passed its first factor, good for MFA_TICKET_SECONDS."""
    ticket, now = secrets.token(), clock.now()
    db.add(
        PendingLogin(
            id=new_id(),
            ticket_hash=secrets.hashed(ticket),
            stage=stage,
            user_id=user_id,
            email=email,
            amr=" ".join(amr),
            identity=identity,
            created_at=now,
            expires_at=now + timedelta(seconds=config.settings.MFA_TICKET_SECONDS),
        )
    )
    return ticket


def find_pending(db: Database, ticket: str) -> PendingLogin | None:
    """The sign-in that a ticket belongs to, if it is neither finished nor over."""
    found = db.scalar(select(PendingLogin).where(PendingLogin.ticket_hash == secrets.hashed(ticket)))
    return found if found and found.used_at is None and found.expires_at > clock.now() else None


def take_pending(db: Database, pending: PendingLogin) -> bool:
    """Finish a pending sign-in: True for one caller only."""
    mine = update(PendingLogin).where(PendingLogin.id == pending.id, PendingLogin.used_at.is_(None), PendingLogin.expires_at > clock.now())
    return changed(db, mine.values(used_at=clock.now())) == 1


def end_of_user(db: Database, user: User) -> None:
    """End whatever is pending for a user: links, codes and sign-ins."""
    now = clock.now()
    end_links(db, user.email)
    end_links_of(db, user.id)
    db.execute(update(PendingLogin).where(PendingLogin.user_id == user.id, PendingLogin.used_at.is_(None)).values(used_at=now))
    db.execute(delete(Code).where(Code.user_id == user.id))
