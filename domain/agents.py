"""A user agent in words, such as "Firefox on Windows". They are made at sign-in and stored, for lists and notices."""

import re
from functools import cache, lru_cache

from ua_parser import BasicResolver, Domain, Resolver, load_builtins

UNKNOWN = "an unknown device"
LONGEST_PART = 32
ASKED = Domain.USER_AGENT | Domain.OS
# Where the parser tells more kinds apart than a person would.
PLAINER = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "an app",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "an app",
    "Opera Mobile": "Opera",
    "PostmanRuntime": "Postman",
    "Mac OS X": "macOS",
}


def load() -> None:
    """Read the parser's patterns, which takes a while, so that no request has to wait for it."""
    _parser()


@lru_cache(maxsize=1024)
def words(user_agent: str | None) -> str:
    """At most 80 characters for whatever a client says it is; letters and digits that can't be taken for a link."""
    if not user_agent:
        return UNKNOWN
    found = _parser()(user_agent, ASKED)
    program = _plain(found.user_agent.family if found.user_agent else None)
    system = _plain(found.os.family if found.os else None)
    if program and system and program != system:
        return f"{program} on {system}"
    return program or (f"a device with {system}" if system else UNKNOWN)


@cache
def _parser() -> Resolver:
    return BasicResolver(load_builtins())


def _plain(family: str | None) -> str:
    """A family by its plain name. The parser takes some from the client's own words."""
    name = (family or "")[: 4 * LONGEST_PART]
    name = PLAINER.get(name, name)
    return " ".join(re.sub(r"[^A-Za-z0-9+-]+", " ", name).split())[:LONGEST_PART].strip()
