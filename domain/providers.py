"""Identity providers: the one table of them, and what is believed of what they say.

A provider that speaks OpenID Connect is a row here and the settings <NAME>_CLIENT_ID, <NAME>_CLIENT_SECRET and
<NAME>_DISCOVERY_URL; nothing else knows its name.
"""

import logging
import re
from typing import Any, NamedTuple

import config
from domain import addresses
from domain.errors import NotFound, ProviderFailed, Unavailable
from outbound import discovery, oidc
from outbound.oidc import Provider, Visit

# The name in paths and settings, and the name that people know.
TITLES = {"google": "Google"}
# OpenID Connect Core 1.0, 2: at most 255 ASCII characters. No space at its ends, which MariaDB would not compare.
SUBJECT = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
LONGEST_NAME = 200

logger = logging.getLogger(__name__)


class Claims(NamedTuple):
    """Somebody as a provider knows them. `email` is canonical; only where `vouched` does the provider say whose it is."""

    provider: str
    issuer: str
    sub: str
    email: str | None
    vouched: bool
    name: str | None


def find(name: str) -> Provider:
    """The provider of this name; `NotFound` if there is none, or it is not configured."""
    client_id = _setting(name, "CLIENT_ID") if name in TITLES else ""
    if not client_id:
        raise NotFound
    return Provider(name, client_id, _setting(name, "CLIENT_SECRET"), _setting(name, "DISCOVERY_URL"))


def callback(name: str) -> str:
    """Where a provider sends browsers back to, whichever address the sign-in began at."""
    return f"{config.settings.BASE_URL}/auth/{name}/callback"


def authorization_url(provider: Provider, visit: Visit) -> str:
    """Where to send the browser; `Unavailable` if the provider is away."""
    try:
        return oidc.authorization_url(provider, visit)
    except discovery.Away as failure:
        raise _away(provider, failure) from None


def identify(provider: Provider, visit: Visit, code: str, issuer: str | None) -> Claims:
    """Who came back with this code; `ProviderFailed`, or `Unavailable` if the provider is away. Talks to it."""
    try:
        return _believed(provider.name, oidc.identify(provider, visit, code, issuer))
    except discovery.Away as failure:
        raise _away(provider, failure) from None
    except discovery.Failed as failure:
        logger.warning("%s: %s", provider.name, failure)
        raise ProviderFailed from None


def _away(provider: Provider, failure: discovery.Away) -> Unavailable:
    logger.warning("%s is away: %s", provider.name, failure)
    return Unavailable(retry_after=30)


def _believed(name: str, said: dict[str, Any]) -> Claims:
    """What counts of an ID token that was checked. Without a subject of its own nobody is somebody (CVE-2026-82968), and only
    the boolean true vouches for an address (CVE-2026-41574, CVE-2026-92161).
    """
    sub = said.get("sub")
    if not isinstance(sub, str) or not SUBJECT.fullmatch(sub):
        raise discovery.Failed("the ID token names no subject")
    return Claims(name, said["iss"], sub, _address(said.get("email")), said.get("email_verified") is True, _plain(said.get("name")))


def _address(email: Any) -> str | None:
    try:
        return addresses.canonical(email) if isinstance(email, str) else None
    except ValueError:
        return None


def _plain(name: Any) -> str | None:
    """A name that every database takes; None for what is none."""
    kept = "".join(character for character in name if character.isprintable()) if isinstance(name, str) else ""
    return " ".join(kept.split())[:LONGEST_NAME].strip() or None


def _setting(name: str, what: str) -> str:
    value: str = getattr(config.settings, f"{name.upper()}_{what}")
    return value
