"""Sign-up: no account before a mailbox is proven.

An attempt reserves nothing and does the same work whatever the address has. Its link and code open that attempt only;
confirming makes the account and ends every other attempt of the address, so who signs up first with somebody else's
address gains nothing (account pre-hijacking, CVE-2026-53516).
"""

from datetime import timedelta
from itertools import zip_longest

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database

import config
from domain import accounts, audit, budgets, clock, limits, mail, passwords, tickets, totp
from domain.caller import Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import EmailTaken, LinkInvalid, MfaInvalidCode, SignUpClosed, TokenUsed
from model import Link, SignUpAttempt, User

# An attempt's slots. Those for an address with an account are never open, and are filled and emptied in the same way.
OPEN = range(1, limits.SIGN_UP_ATTEMPTS + 1)
TAKEN = range(OPEN.stop, OPEN.stop + limits.SIGN_UP_ATTEMPTS)
_IN = (
    select(SignUpAttempt)
    .where(SignUpAttempt.email == bindparam("email"), SignUpAttempt.slot.between(bindparam("first"), bindparam("last")))
    .where(SignUpAttempt.expires_at > bindparam("now"))
    .order_by(SignUpAttempt.created_at.desc())
    .execution_options(populate_existing=True)
)
COALESCE_SECONDS = 2  # A mail waits this long, so that a burst of attempts leaves as three mails and not as twenty.


def begin(email: str, password: str, client: Client, *, username: str | None = None, name: str | None = None) -> None:
    """Store an attempt and mail its link and code; an address with an account gets a warning instead, with no link.

    `WeakPassword`; `SignUpClosed` for everybody alike where SIGN_UP is not open; `EmailTaken` only where PREVENT_ENUMERATION is off.
    """
    if not is_open():
        raise SignUpClosed
    passwords.check(password, email, username, name)
    if not config.settings.PREVENT_ENUMERATION and accounts.look_up(email):
        raise EmailTaken
    attempt = SignUpAttempt(email=email, username=username, name=name, password_hash=passwords.hash(password))
    with transaction() as db:
        lock(db, email)
        owner = accounts.find(db, email)
        _place(db, attempt, client, TAKEN if owner else OPEN)
        _write(db, attempt, owner)


def resend(email: str, *, wanted: bool = True) -> None:
    """Mail the newest open attempt of an address again, with a link and a code of its own. Where there is none, or it is not
    wanted, the same work is done for a mail that never leaves.
    """
    with transaction() as db:
        lock(db, email)
        taken = accounts.find(db, email) is not None
        attempt = newest(db, email)
        nobody = SignUpAttempt(id=new_id(), email=email, created_at=clock.now())
        chosen = attempt if attempt and wanted and not taken else nobody
        _write(db, chosen, withheld=chosen is nobody)


def confirm_link(token: str, client: Client) -> SignUpAttempt | None:
    """Confirm by the link: makes the account of the attempt that is returned. Again is fine until the link is over: None.

    `LinkInvalid` also where the address has got an invitation meanwhile, `SignUpClosed`.
    """
    try:
        with transaction() as db:
            lock(db, tickets.address_of(db, tickets.CONFIRM, token))
            link = tickets.take_link(db, tickets.CONFIRM, token)
            attempt = db.get(SignUpAttempt, link.attempt_id or "")
            _confirm(db, attempt, client)
    except TokenUsed:
        return None
    return attempt


def confirm_code(email: str, code: str, client: Client) -> None:
    """Confirm by the six digits of the mail; `MfaInvalidCode`, `TooManyAttempts`, `SignUpClosed`."""
    user = accounts.look_up(email)
    tried = budgets.spend("code", accounts.budget_name(user, email))
    with audit.failures("account.created", user.id if user else None, client, tried=tried, name=email):
        try:
            right = _confirm_by(code, email, tried, client)
        except LinkInvalid:  # The address has got an invitation meanwhile.
            right = None
        if right is None:
            raise MfaInvalidCode


def is_open() -> bool:
    """Whether strangers may make themselves accounts at present (SIGN_UP)."""
    return config.settings.SIGN_UP == "open"


def newest(db: Database, email: str) -> SignUpAttempt | None:
    """The newest open attempt of an address; none counts while nobody may make an account."""
    attempts = _open(db, email)
    return attempts[0] if attempts and is_open() else None


def newest_of(email: str) -> SignUpAttempt | None:
    """The same as `newest`, as a look from outside an act."""
    with reading() as db:
        return newest(db, email)


def lock(db: Database, email: str) -> None:
    """Acts on one address go one by one: each that touches its attempts or links begins with this, before it holds an account."""
    mail.hold(db, email)


def end_attempts(db: Database, email: str) -> None:
    """The mailbox is proven: every other attempt of the address ends, with its links and its unsent mails, and so does every
    request of an account to have this address.
    """
    if gone := sum(mail.withdraw(db, attempt.id) for attempt in _open(db, email)):
        mail.give_back(db, email, gone)
    db.execute(update(SignUpAttempt).where(SignUpAttempt.email == email, SignUpAttempt.slot.is_not(None)).values(slot=None))
    for purpose in (tickets.CONFIRM, tickets.EMAIL_CONFIRM):
        tickets.end_links(db, email, purpose)


def make_account(
    db: Database, email: str, password_hash: str | None, attempt: SignUpAttempt | None, client: Client, name: str | None = None
) -> User:
    """The account of a proven mailbox, and the end of all its attempts. `LinkInvalid` if somebody else just made it.

    `SignUpClosed` also for what was begun while SIGN_UP was open: every way to an account of one's own leads through here.
    """
    if not is_open():
        raise SignUpClosed
    end_attempts(db, email)
    if attempt:
        name = attempt.name or name
    try:
        return accounts.add(db, email, password_hash, username=attempt.username if attempt else None, name=name, client=client)
    except EmailTaken:
        raise LinkInvalid from None


def _confirm_by(code: str, email: str, tried: budgets.Try, client: Client) -> SignUpAttempt | None:
    with transaction() as db:
        lock(db, email)
        right = _whose(db, _open(db, email), totp.plain_digits(code))
        if right is not None:
            _confirm(db, right, client)
            _mark_links_used(db, right)
            budgets.clear(db, tried)
        return right


def _whose(db: Database, attempts: list[SignUpAttempt], digits: str) -> SignUpAttempt | None:
    """The attempt whose code this is. As many are tried as there may be, so that time does not tell how many there are."""
    for _, attempt in zip_longest(OPEN, attempts):
        if tickets.try_code(db, tickets.CONFIRM, attempt.id if attempt else "", digits):
            return attempt
    return None


def _confirm(db: Database, attempt: SignUpAttempt | None, client: Client) -> None:
    gone = attempt is None or not changed(
        db, update(SignUpAttempt).where(SignUpAttempt.id == attempt.id, SignUpAttempt.slot.in_(OPEN)).values(slot=None)
    )
    if attempt is None or gone or attempt.expires_at <= clock.now():
        raise LinkInvalid
    make_account(db, attempt.email, attempt.password_hash, attempt, client)


def _mark_links_used(db: Database, attempt: SignUpAttempt) -> None:
    """The code did what the link of the same mail would have done: who follows it now is told so, not turned away."""
    db.execute(update(Link).where(Link.attempt_id == attempt.id).values(used_at=clock.now()))


def _place(db: Database, attempt: SignUpAttempt, client: Client, slots: range) -> None:
    """Put the attempt into one of the address's slots; the oldest goes, and its unsent mail with it.

    The unique slot settles races: who finds it taken looks again.
    """
    now = clock.now()
    attempt.id, attempt.created_at = new_id(), now
    attempt.expires_at = now + timedelta(seconds=config.settings.CONFIRMATION_SECONDS)
    attempt.ip, attempt.user_agent = client.ip, client.user_agent
    over = (SignUpAttempt.email == attempt.email, SignUpAttempt.expires_at <= now)
    withdrawn = 0
    for _ in range(100):
        db.execute(update(SignUpAttempt).where(*over, SignUpAttempt.slot.is_not(None)).values(slot=None))
        others = _in(db, attempt.email, slots)
        free = set(slots) - {one.slot for one in others}
        attempt.slot = min(free) if free else others[-1].slot
        withdrawn += _replace(db, "" if free else others[-1].id)
        try:
            with db.begin_nested():
                db.add(attempt)
        except IntegrityError:
            continue
        mail.give_back(db, attempt.email, withdrawn)
        return
    raise LinkInvalid


def _replace(db: Database, oldest_id: str) -> int:
    """Empty the slot of an attempt; how many mails were withdrawn. Done where there is none, too, so that time does not tell
    how many there are.
    """
    db.execute(update(SignUpAttempt).where(SignUpAttempt.id == oldest_id).values(slot=None))
    return mail.withdraw(db, oldest_id)


def _open(db: Database, email: str) -> list[SignUpAttempt]:
    """The open attempts of an address, newest first."""
    return _in(db, email, OPEN)


def _in(db: Database, email: str, slots: range) -> list[SignUpAttempt]:
    return list(db.scalars(_IN, {"email": email, "first": slots.start, "last": slots.stop - 1, "now": clock.now()}))


def _write(db: Database, attempt: SignUpAttempt, owner: User | None = None, *, withheld: bool = False) -> None:
    link = tickets.make_link(db, tickets.CONFIRM, attempt.email, config.settings.CONFIRMATION_SECONDS, attempt.id)
    code = tickets.make_code(db, tickets.CONFIRM, attempt.id, attempt.email)
    values: dict[str, str | None] = {"at": attempt.created_at.isoformat(), "ip": attempt.ip, "user_agent": attempt.user_agent}
    if owner is None:
        values |= {
            "link": mail.link(f"/confirm/{link}"),
            "code": code,
            "minutes": str(config.settings.OTP_SECONDS // 60),
            "hours": str(config.settings.CONFIRMATION_SECONDS // 3600),
        }
    template, locale = ("sign_up_exists", owner.locale) if owner else ("confirmation", None)
    terms: mail.Terms = {"about": attempt.id, "withheld": withheld, "not_before_seconds": COALESCE_SECONDS, "locale": locale}
    mail.send_capped(db, template, attempt.email, values, **terms)
