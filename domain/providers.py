"""Identity providers that are configured, and what is believed of what they say. `provider_table` has a row for each."""

import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import config
from domain import addresses, provider_table, redirects
from domain.errors import NotFound, ProviderFailed, Unavailable
from domain.provider_table import OAuth, OpenId, Row
from outbound import discovery, oauth, oidc
from outbound.client_secrets import Signer
from outbound.code_flow import Visit

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


class Provider(NamedTuple):
    """A provider that is configured: its row, and who we are there."""

    row: Row
    there: oidc.Provider | oauth.Provider

    @property
    def name(self) -> str:
        """Its name in paths and settings."""
        return self.row.name

    @property
    def posts(self) -> bool:
        """Whether its answers come as forms that its page posts, which have none of our cookies."""
        return isinstance(self.row.speaks, OpenId) and self.row.speaks.posted_name is not None


def rows() -> Iterator[Row]:
    """Every row: of the table, and of OIDC_PROVIDERS."""
    yield from provider_table.TABLE
    for name in config.settings.oidc_providers:
        yield Row(name, _capital(name), OpenId())


def find(name: str) -> Provider:
    """The provider of this name; `NotFound` if there is none, or it is not configured."""
    row = next((row for row in rows() if row.name == name), None)
    if row is None or not is_configured(name):
        raise NotFound
    return Provider(row, _there(row))


def is_configured(name: str) -> bool:
    """Whether people may come from this provider."""
    return any(row.name == name for row in rows()) and _setting(name, "CLIENT_ID") != ""


def configured() -> list[Provider]:
    """All that people may come from."""
    return [find(row.name) for row in rows() if is_configured(row.name)]


def title(name: str) -> str:
    """The name that people know, of one that was taken out of OIDC_PROVIDERS too."""
    return next((row.title for row in rows() if row.name == name), _capital(name))


def reach(name: str) -> str:
    """Who answers there: the issuer; `discovery.Away` if nobody does, or what it needs is not there."""
    there = find(name).there
    if isinstance(there, oidc.Provider):
        return str(discovery.fetch(there.discovery_url)["issuer"])
    oauth.reach(there)
    return _setting(name, "URL")


def callback(name: str) -> str:
    """Where a provider sends browsers back to, whichever address the sign-in began at."""
    return f"{config.settings.BASE_URL}/auth/{name}/callback"


def authorization_url(provider: Provider, visit: Visit) -> str:
    """Where to send the browser; `Unavailable` if the provider is away."""
    try:
        if isinstance(provider.there, oauth.Provider):
            return oauth.authorization_url(provider.there, visit)
        return oidc.authorization_url(provider.there, visit)
    except discovery.Away as failure:
        raise _away(provider, failure) from None


def identify(provider: Provider, visit: Visit, code: str, issuer: str | None, name: str | None = None) -> Claims:
    """Who came back with this code; `ProviderFailed`, or `Unavailable` if the provider is away. Talks to it.

    `name` is what `as_address` handed on: it counts where the provider itself says none.
    """
    try:
        claims = _believed(provider.row, _said(provider, visit, code, issuer))
    except discovery.Away as failure:
        raise _away(provider, failure) from None
    except discovery.Failed as failure:
        logger.warning("%s: %s", provider.name, failure)
        raise ProviderFailed from None
    return claims._replace(name=claims.name or _plain(name)) if provider.posts else claims


def check_posts(name: str) -> None:
    """Refuse a provider whose answers do not come as forms: `NotFound`."""
    if not find(name).posts:
        raise NotFound


def as_address(name: str, answer: dict[str, str | None], user: str | None) -> str:
    """The address of the callback with the answer that a provider's page posted.

    No cookie of ours came along with the form, for it was posted from elsewhere; it does when the browser comes anew, as it would
    have come from any other provider. So nothing is looked up or used up before. Of what stands beside the answer, which nobody
    signs, only the name goes along.
    """
    speaks = find(name).row.speaks
    reads = speaks.posted_name if isinstance(speaks, OpenId) else None
    told = {**answer, "name": _plain(reads(user)) if reads and user else None}
    return redirects.with_query(callback(name), **{field: value for field, value in told.items() if value})


def _there(row: Row) -> oidc.Provider | oauth.Provider:
    """Who we are at the provider of a row, by the settings."""
    name, speaks = row.name, row.speaks
    us = (name, _setting(name, "CLIENT_ID"), _setting(name, "CLIENT_SECRET"))
    if isinstance(speaks, OAuth):
        where = {what: _setting(name, what) for what in ("URL", "API_URL")}
        asked = {word: url.format(**where) for word, url in speaks.asked.items()}
        return oauth.Provider(
            *us, speaks.scope, speaks.authorization.format(**where), speaks.token.format(**where), asked, speaks.has_proof
        )
    signer = Signer(*(_setting(name, what) for what in ("TEAM_ID", "KEY_ID", "PRIVATE_KEY"))) if speaks.signs_secret else None
    mode = "form_post" if speaks.posted_name else None
    return oidc.Provider(*us, _setting(name, "DISCOVERY_URL"), speaks.scope, mode, signer, speaks.issuer)


def _said(provider: Provider, visit: Visit, code: str, issuer: str | None) -> dict[str, Any]:
    """The claims, which of plain OAuth are what its row reads out of the answers; there the address of the provider is the issuer."""
    if isinstance(provider.there, oidc.Provider):
        return oidc.identify(provider.there, visit, code, issuer)
    answers = oauth.identify(provider.there, visit, code)
    assert isinstance(provider.row.speaks, OAuth)
    return {**provider.row.speaks.reads(answers), "iss": _setting(provider.name, "URL")}


def _away(provider: Provider, failure: discovery.Away) -> Unavailable:
    logger.warning("%s is away: %s", provider.name, failure)
    return Unavailable(retry_after=30)


def _believed(row: Row, said: dict[str, Any]) -> Claims:
    """What counts of claims that were checked. Without a subject of its own nobody is somebody (CVE-2026-82968), and only
    the boolean true vouches for an address (CVE-2026-41574, CVE-2026-92161).
    """
    sub = said.get("sub")
    if not isinstance(sub, str) or not SUBJECT.fullmatch(sub):
        raise discovery.Failed("the provider names no subject")
    vouched = said.get("email_verified") is True and (isinstance(row.speaks, OAuth) or row.speaks.vouches)
    return Claims(row.name, said["iss"], sub, _address(said.get("email")), vouched, _plain(said.get("name")))


def _address(email: Any) -> str | None:
    try:
        return addresses.canonical(email) if isinstance(email, str) else None
    except ValueError:
        return None


def _plain(name: Any) -> str | None:
    """A name that every database takes; None for what is none."""
    kept = "".join(character for character in name if character.isprintable()) if isinstance(name, str) else ""
    return " ".join(kept.split())[:LONGEST_NAME].strip() or None


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _setting(name: str, what: str) -> str:
    value: str = getattr(config.settings, config.named(name, what), "")
    return value
