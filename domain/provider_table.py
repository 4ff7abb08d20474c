"""The table of identity providers, a row each, with what is odd about them; nothing else knows their names.

A new one is a row here and its settings in `config.py` (<NAME>_CLIENT_ID, <NAME>_CLIENT_SECRET, and where it is). OpenID
providers that have no quirks need neither: OIDC_PROVIDERS names them.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from outbound.discovery import Failed
from outbound.id_tokens import IssuerOf

GRAPH = "v24.0"  # The version of Facebook's API; of one that is over Facebook serves the oldest that is left.
TENANT = "{tenantid}"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(r"[1-9][0-9]{0,39}")
# What is sent back by a provider whose user has said no.
DENIED = ("access_denied", "user_cancelled_authorize")

Answers = Mapping[str, Any]


class OpenId(NamedTuple):
    """Speaks OpenID Connect, as <NAME>_DISCOVERY_URL describes: an ID token says who somebody is."""

    scope: str = "openid email profile"
    vouches: bool = True  # Whether its `email_verified` may count.
    issuer: IssuerOf | None = None  # Who signs, where it is not simply whom the description names.
    signs_secret: bool = False  # The client secret is a JWT, made from <NAME>_TEAM_ID, _KEY_ID and _PRIVATE_KEY.
    posted_name: Callable[[str], str | None] | None = None  # The answer comes as a form, whose field `user` this reads.


class OAuth(NamedTuple):
    """Speaks OAuth 2.0: who somebody is has to be asked of an API. The addresses begin with <NAME>_URL or <NAME>_API_URL; the
    former is the issuer. `reads` makes claims of what the API answers, by the names of OpenID Connect.
    """

    scope: str
    authorization: str
    token: str
    asked: Mapping[str, str]
    reads: Callable[[Answers], dict[str, Any]]
    has_proof: bool = False  # Each question to the API carries an HMAC of its token under our secret.


class Row(NamedTuple):
    """The name in paths and settings, the name that people know, and how it speaks."""

    name: str
    title: str
    speaks: OpenId | OAuth


def _tenant(described: str, claims: Mapping[str, Any]) -> str:
    """Microsoft's description for all tenants names an issuer with a gap, which the token's own tenant fills: a GUID."""
    if TENANT not in described:
        return described
    tenant = claims.get("tid")
    if not isinstance(tenant, str) or not GUID.fullmatch(tenant):
        raise Failed("the ID token names no tenant")
    return described.replace(TENANT, tenant)


def _apple_name(user: str) -> str | None:
    """The name in the form that Apple sends at the first visit only. Nobody signs it, so nothing else is taken from it."""
    try:
        name = json.loads(user)["name"]
        parts = [name.get("firstName"), name.get("lastName")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return " ".join(part for part in parts if isinstance(part, str)) or None


def _github(answers: Answers) -> dict[str, Any]:
    """The address of /user is whichever its owner shows, and need not be proven: only the primary and verified one counts."""
    emails = answers["emails"]
    if not isinstance(emails, list):
        raise Failed("the API's answer is no list of addresses")
    mine = [one for one in emails if isinstance(one, dict) and one.get("primary") is True and one.get("verified") is True]
    user = _object(answers["user"])
    return {
        "sub": _number(user),
        "email": mine[0].get("email") if len(mine) == 1 else None,
        "email_verified": True,
        "name": user.get("name"),
    }


def _discord(answers: Answers) -> dict[str, Any]:
    """The address counts for as much as its `verified`."""
    user = _object(answers["user"])
    name = user.get("global_name") or user.get("username")
    return {"sub": _number(user), "email": user.get("email"), "email_verified": user.get("verified"), "name": name}


def _facebook(answers: Answers) -> dict[str, Any]:
    """Nobody vouches for the address, which may be missing: some sign up by telephone."""
    user = _object(answers["user"])
    return {"sub": _number(user), "email": user.get("email"), "name": user.get("name")}


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Failed("the API's answer is no object")
    return answer


def _number(user: dict[str, Any]) -> str:
    """The number of an account, which some write as text."""
    number = user.get("id")
    written = str(number) if isinstance(number, int) and not isinstance(number, bool) else number
    if not isinstance(written, str) or not NUMBER.fullmatch(written):
        raise Failed("the API's answer names no account")
    return written


TABLE = (
    Row("google", "Google", OpenId()),
    Row("microsoft", "Microsoft", OpenId(issuer=_tenant, vouches=False)),  # Any tenant's admin writes what address they like.
    Row("apple", "Apple", OpenId("openid email name", signs_secret=True, posted_name=_apple_name)),
    Row(
        "github",
        "GitHub",
        OAuth(
            "read:user user:email",
            "{URL}/login/oauth/authorize",
            "{URL}/login/oauth/access_token",
            {"user": "{API_URL}/user", "emails": "{API_URL}/user/emails"},
            _github,
        ),
    ),
    Row(
        "discord",
        "Discord",
        OAuth("identify email", "{URL}/oauth2/authorize", "{URL}/api/oauth2/token", {"user": "{URL}/api/users/@me"}, _discord),
    ),
    Row(
        "facebook",
        "Facebook",
        OAuth(
            "public_profile email",
            f"{{URL}}/{GRAPH}/dialog/oauth",
            f"{{API_URL}}/{GRAPH}/oauth/access_token",
            {"user": f"{{API_URL}}/{GRAPH}/me?fields=id,name,email"},
            _facebook,
            has_proof=True,
        ),
    ),
)
