"""What a service gets to know when it asks: who stands behind a token, what they may there; and the end of a token.

A service hears of its own roles and permissions alone. A key's scopes count only as far as its owner's rights go at present.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from domain import app_tokens, audit, cards, opaque_tokens, permissions, secrets, services, sessions
from domain.accounts import ACTIVE
from domain.api_keys import PROFILE
from domain.caller import Caller
from domain.cards import Card, Rights
from domain.database import reading, transaction
from domain.errors import Forbidden, NotFound, TokenRevoked, UnauthorizedClient, UnsupportedTokenType
from domain.permissions import GATEHOUSE
from model import ApiKey, AppToken


class Life(NamedTuple):
    """From when to when a key or application token is good."""

    id: str
    begins: datetime
    ends: datetime | None


class Told(NamedTuple):
    """What a service is told of a token. `life` is that of a key or application token; a JWT says it itself."""

    name: str
    email: str
    rights: Rights
    scopes: frozenset[str]
    life: Life | None = None


def introspect(service: Caller, subject: Caller) -> Told | None:
    """What a service is told of the caller behind a token; None if nothing: of another service, or of an inactive user."""
    name = services.name_of(service.service_id or "")
    if name is None or (subject.service_id or service.service_id) != service.service_id:
        return None
    user, life = _user(subject), _life(subject)
    rights = _rights(subject, name, user)
    if user is None:
        return Told(name, "", rights, _scopes(subject, rights), life)
    if user.profile.status != ACTIVE:
        return None
    return Told(user.profile.username or user.profile.email, user.profile.email, rights, _scopes(subject, rights), life)


def verify(subject: Caller, service: str, permission: str | None) -> Told:
    """What a proxy is told of who calls a service, by its name. `Forbidden` without the permission, and for a service or
    permission that there is not; `TokenRevoked` for an inactive user.
    """
    user = _user(subject)
    if user is not None and user.profile.status != ACTIVE:
        raise TokenRevoked
    known = service == GATEHOUSE or (user is not None and service in user.rights) or _is_active(service)
    rights = _rights(subject, service, user) if known else Rights()
    if not known or (permission is not None and permission not in rights.permissions):
        raise Forbidden
    return Told("", user.profile.email if user else "", rights, _scopes(subject, rights))


def end_session(service: Caller, session_id: str, user_id: str) -> None:
    """A service signs a user out whose token it has; again is fine. `Unavailable` as for `sessions.end`."""
    with transaction() as db:
        if sessions.end_some(db, [session_id]):
            client, actor, token = service.client, service.actor, service.credential_id
            audit.note(db, "session.ended", user_id, client, actor=actor, session_id=session_id, credential_id=token)


def end_token(service: Caller, token: str) -> None:
    """End an application token of the service's own; again is fine, and so is one that nobody has.

    `UnauthorizedClient` for another service's, `UnsupportedTokenType` for an API key, which its owner ends.
    """
    if opaque_tokens.is_formed(opaque_tokens.KEY, token):
        raise UnsupportedTokenType
    with transaction() as db:
        row = db.execute(select(AppToken.id, AppToken.service_id).where(AppToken.token_hash == secrets.hashed(token))).first()
        if row is None:
            return
        if row.service_id != service.service_id:
            raise UnauthorizedClient
        if app_tokens.end(db, row.id):
            audit.by(db, "app_token.revoked", service, service=row.service_id, token=row.id)


def _user(subject: Caller) -> Card | None:
    """The user that a caller is, or acts for; None for a service. `TokenRevoked` if it has just gone."""
    try:
        return cards.of_caller(subject) if subject.user_id else None
    except NotFound:
        raise TokenRevoked from None


def _rights(subject: Caller, service: str, user: Card | None) -> Rights:
    """What somebody may in a service at present: by a key within its scopes; a service within its own.

    Of a key's owner no roles are told: a service that goes by their names would give the least key all of them.
    """
    if user is None:
        own = subject.scopes or frozenset()
        return Rights(permissions=own & permissions.OWN if service == GATEHOUSE else own)
    has = user.rights.get(service, Rights())
    return has if subject.scopes is None else Rights(permissions=has.permissions & subject.scopes)


def _scopes(subject: Caller, rights: Rights) -> frozenset[str]:
    """The scopes that count there: who trusts them alone must not let a key do what its owner may only elsewhere, or not now."""
    if subject.scopes is None or not subject.user_id:
        return subject.scopes or frozenset()
    return subject.scopes & (rights.permissions | PROFILE)


def _is_active(service: str) -> bool:
    if not permissions.FORM.fullmatch(f"{service}:x"):
        return False  # Nor can every database be asked for any text.
    with reading() as db:
        found = services.named(db, service)
    return found is not None and found.is_active


def _life(subject: Caller) -> Life | None:
    table: Any = {"api_key": ApiKey, "app_token": AppToken}.get(subject.kind)
    if table is None:
        return None
    with reading() as db:
        row = db.get(table, subject.credential_id)
    return Life(row.id, row.created_at, row.expires_at) if row else None
