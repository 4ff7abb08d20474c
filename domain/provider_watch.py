"""Look each day whether OpenID providers still describe themselves as they did; whoever holds the description holds the sign-in.

A change may be meant: keys and addresses move. It may also be somebody else's, so a person is told what is different.
"""

import hashlib
import json
import logging
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Database

import config
from domain import audit, clock, mail, providers
from domain.database import add_if_absent, changed, reading, transaction
from model import ProviderDocument
from outbound import discovery, oidc

# What a sign-in goes by; the rest of a description may change as it likes.
PARTS = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "id_token_signing_alg_values_supported",
)
LONGEST_PART = 2000

logger = logging.getLogger(__name__)


class Sight(NamedTuple):
    """A provider's description as it is now: where it is, and those parts of it that are there."""

    provider: str
    url: str
    parts: dict[str, str]

    @property
    def digest(self) -> str:
        """The same in a word."""
        return hashlib.sha256(json.dumps(self.parts, sort_keys=True).encode()).hexdigest()


def watch(*, dry_run: bool = False) -> int:
    """Compare every provider's description with what was seen last, and tell of changes; how many providers changed.

    One that is seen for the first time, or at another address, is only remembered; one that is away is left for the next day.
    """
    count = 0
    for provider in providers.configured():
        sight = _look(provider.name, provider.there) if isinstance(provider.there, oidc.Provider) else None
        if sight is not None:
            count += _is_changed(sight) if dry_run else _note(sight)
    return count


def _look(name: str, there: oidc.Provider) -> Sight | None:
    try:
        found = discovery.fetch(there.discovery_url)
    except discovery.Away as failure:
        logger.warning("%s is away: %s", name, failure)
        return None
    return Sight(name, there.discovery_url, {part: _written(found[part]) for part in PARTS if part in found})


def _written(value: Any) -> str:
    """As text of ASCII, whatever it is; the order of a list says nothing."""
    if isinstance(value, list):
        value = sorted(value, key=json.dumps)
    written = value if isinstance(value, str) and value.isascii() else json.dumps(value)
    return written[:LONGEST_PART]


def _is_changed(sight: Sight) -> bool:
    with reading() as db:
        return bool(_differences(_known(db, sight), sight))


def _note(sight: Sight) -> bool:
    """Remember what is seen; whether it was something else before. Of several who see the same change, one tells it."""
    row = {"discovery_url": sight.url, "digest": sight.digest, "document": sight.parts, "seen_at": clock.now()}
    with transaction() as db:
        add_if_absent(db, ProviderDocument, provider=sight.provider, **row)
        known = _known(db, sight)
        assert known is not None
        same = (ProviderDocument.provider == sight.provider, ProviderDocument.digest == known.digest)
        different = _differences(known, sight)
        if not changed(db, update(ProviderDocument).where(*same).values(row)) or not different:
            return False
        _tell(db, sight, different)
    names = ", ".join(name for name, _, _ in different)
    logger.warning("%s describes itself anew: %s", sight.provider, names, extra={"facts": {"provider": sight.provider, "parts": names}})
    return True


def _known(db: Database, sight: Sight) -> ProviderDocument | None:
    return db.scalar(select(ProviderDocument).where(ProviderDocument.provider == sight.provider))


def _differences(known: ProviderDocument | None, sight: Sight) -> list[tuple[str, str, str]]:
    """The parts that are not what they were: name, before, now. Two addresses are two descriptions."""
    if known is None or known.discovery_url != sight.url:
        return []
    pairs = [(part, known.document.get(part, "-"), sight.parts.get(part, "-")) for part in PARTS]
    return [(part, before, now) for part, before, now in pairs if before != now]


def _tell(db: Database, sight: Sight, different: list[tuple[str, str, str]]) -> None:
    audit.note(db, "provider.changed", None, actor=audit.SYSTEM, provider=sight.provider, parts=[name for name, _, _ in different])
    if config.settings.ADMIN_EMAIL:
        said = {"provider": providers.title(sight.provider), "url": sight.url, "changes": different, "at": clock.now().isoformat()}
        mail.send(db, "provider_changed", config.settings.ADMIN_EMAIL, said)
