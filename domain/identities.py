"""Identities at providers, known by (issuer, sub), and the accounts that they open.

Nobody gets an account by claiming its address: a provider that vouches for it, or a code from the mailbox, comes first. Whoever
signed up with that address before gains nothing by it (account pre-hijacking, CVE-2026-53516).
"""

from datetime import timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database

from domain import accounts, audit, clock, limits, notices, providers, sign_up
from domain.caller import Caller, Client
from domain.database import new_id, reading, transaction
from domain.errors import AccountDisabled, LastWayIn, LinkInvalid, LinkTaken, NotFound, ProviderFailed, SignUpClosed
from domain.providers import Claims
from model import Identity, User


class Raced(Exception):
    """Somebody else has just made or joined the same account."""


def of(user_id: str) -> list[Identity]:
    """The identities of an account, oldest first."""
    with reading() as db:
        mine = select(Identity).where(Identity.user_id == user_id)
        return list(db.scalars(mine.order_by(Identity.linked_at, Identity.id)))


def owner(db: Database, claims: Claims) -> User | None:
    """The account that this identity opens. `ProviderFailed` if it was linked through another provider that is in use: one that
    describes itself as another's issuer opens none of its accounts. One that goes by a new name keeps its identities.
    """
    same = (Identity.issuer == claims.issuer, Identity.sub == claims.sub)
    found = db.execute(select(User, Identity.provider).join(Identity, Identity.user_id == User.id).where(*same)).one_or_none()
    if found is None:
        return None
    user, provider = found
    if provider != claims.provider and providers.is_configured(provider):
        raise ProviderFailed
    return user


def owner_id(claims: Claims) -> str | None:
    """Whom a try to come in by this identity concerns, whatever becomes of it; None while it is nobody's."""
    with reading() as db:
        return db.scalar(select(Identity.user_id).where(Identity.issuer == claims.issuer, Identity.sub == claims.sub))


def look(db: Database, claims: Claims) -> User | None:
    """The account that `admit` would find for a known identity; refuses what it would refuse, before a code is handed out."""
    known = owner(db, claims)
    if known is None and claims.email is None:
        raise ProviderFailed
    user = known or (accounts.find(db, claims.email or "") if claims.vouched else None)
    if user is not None:
        _refuse_unfit(db, user, claims, known=known is not None)
    elif claims.vouched and not sign_up.is_open():
        raise SignUpClosed
    return known


def admit(db: Database, claims: Claims, client: Client) -> User | None:
    """The account of an identity: its own, else its address's, else a new one; None while nobody vouches for the address.

    `AccountDisabled`, `LinkTaken` if the account has another identity of this provider, `ProviderFailed` without an address,
    `SignUpClosed` where a new one would be needed and nobody may make it.
    `Raced` if somebody else was first: the act ends, and begins anew.
    """
    known = look(db, claims)
    if known is not None or not claims.vouched:
        return _known(db, known, claims) if known else None
    sign_up.lock(db, claims.email or "")
    user = _hold_by_email(db, claims.email or "")
    known = owner(db, claims)
    if known is not None:
        return _known(db, known, claims)
    try:
        return _join(db, user, claims, client) if user else _make(db, claims, client)
    except (IntegrityError, LinkInvalid):
        raise Raced from None


def check_link(db: Database, user_id: str, claims: Claims) -> bool:
    """Refuse to link an identity that is another account's, or a second one of its provider (`LinkTaken`); whether it is linked."""
    known = owner(db, claims)
    if (known is not None and known.id != user_id) or (known is None and _has_other(db, user_id, claims)):
        raise LinkTaken
    return known is not None


def link(db: Database, caller: Caller, claims: Claims) -> None:
    """Link an identity to the caller's account, and tell its owner; again is fine. `LinkTaken`."""
    user = accounts.hold_caller(db, caller)
    if check_link(db, user.id, claims):
        return
    try:
        _add(db, user, claims)
    except IntegrityError:  # Somebody else was first.
        raise LinkTaken from None
    audit.of(db, "identity.linked", caller, provider=claims.provider)
    _tell(db, user, claims, caller.client)


def find(caller: Caller, provider: str) -> None:
    """Refuse a provider that the caller has no identity of: `NotFound`."""
    with reading() as db:
        if db.scalar(select(Identity.id).where(Identity.user_id == caller.user_id, Identity.provider == provider)) is None:
            raise NotFound


def remove(caller: Caller, provider: str) -> None:
    """Unlink the caller's identity of a provider; `NotFound`, or `LastWayIn` where nothing else would open the account."""
    with transaction() as db:
        user = accounts.hold_caller(db, caller)  # So that of two removals at once the second sees what the first has left.
        if db.scalar(select(Identity.id).where(Identity.user_id == user.id, Identity.provider == provider)) is None:
            raise NotFound
        if accounts.ways_in(db, user) == 1:
            raise LastWayIn
        db.execute(delete(Identity).where(Identity.user_id == user.id, Identity.provider == provider))
        audit.of(db, "identity.unlinked", caller, provider=provider)


def remove_recent(db: Database, user_id: str) -> None:
    """Unlink what was linked within limits.REMEDY_SECONDS, when an owner takes the account back: it may be somebody else's."""
    since = clock.now() - timedelta(seconds=limits.REMEDY_SECONDS)
    db.execute(delete(Identity).where(Identity.user_id == user_id, Identity.linked_at > since))


def _hold_by_email(db: Database, email: str) -> User | None:
    """The account of an address as it is now, held to the end of the act, so that of many who join it at once one does."""
    found = select(User).where(User.email == email).with_for_update(key_share=True)
    return db.scalar(found.execution_options(populate_existing=True))


def _known(db: Database, user: User, claims: Claims) -> User:
    _refuse_unfit(db, user, claims, known=True)
    same = update(Identity).where(Identity.issuer == claims.issuer, Identity.sub == claims.sub)
    db.execute(same.values(last_used_at=clock.now(), email=claims.email or Identity.email))
    return user


def _join(db: Database, user: User, claims: Claims, client: Client) -> User:
    """An account that is there: its mailbox was proven long ago, or nobody has been in it (an invitation), so nothing of it ends;
    whatever waits to be confirmed does.
    """
    _refuse_unfit(db, user, claims, known=False)
    _add(db, user, claims)
    sign_up.end_attempts(db, user.email)
    accounts.prove_mailbox(db, user, client)
    audit.note(db, "identity.linked", user.id, client, actor=user.id, provider=claims.provider)
    _tell(db, user, claims, client)
    return user


def _make(db: Database, claims: Claims, client: Client) -> User:
    user = sign_up.make_account(db, claims.email or "", None, None, client, claims.name)
    _add(db, user, claims)
    audit.note(db, "identity.linked", user.id, client, actor=user.id, provider=claims.provider)
    return user


def _add(db: Database, user: User, claims: Claims) -> None:
    now = clock.now()
    row = Identity(id=new_id(), user_id=user.id, provider=claims.provider, issuer=claims.issuer, sub=claims.sub, email=claims.email)
    row.linked_at, row.last_used_at = now, now
    with db.begin_nested():
        db.add(row)


def _refuse_unfit(db: Database, user: User, claims: Claims, *, known: bool) -> None:
    if user.status != accounts.ACTIVE:
        raise AccountDisabled
    if not known and _has_other(db, user.id, claims):
        raise LinkTaken


def _has_other(db: Database, user_id: str, claims: Claims) -> bool:
    """Whether the account has another identity of this provider; the same one, linked a moment ago, is none."""
    mine = (Identity.user_id == user_id, Identity.provider == claims.provider)
    other = or_(Identity.issuer != claims.issuer, Identity.sub != claims.sub)
    return db.scalar(select(Identity.id).where(*mine, other)) is not None


def _tell(db: Database, user: User, claims: Claims, client: Client) -> None:
    notices.send(db, user, "identity_linked", client, provider=providers.title(claims.provider), email=claims.email)
