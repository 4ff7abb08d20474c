"""Where a browser may be sent: to the front ends that this server knows, and nowhere else (CWE-601)."""

import re
from urllib.parse import urlencode

import config
from domain.errors import RedirectNotAllowed

LONGEST = 2000
# What may follow an origin: a path or a query of visible ASCII, without a backslash, which browsers read as a slash.
REST = re.compile(r"([/?][!\"$-\[\]-~]*)?")


def check(address: str) -> None:
    """Refuse an address that does not begin with one of our front ends' origins, letter by letter: `RedirectNotAllowed`."""
    for origin in _origins():
        if address.startswith(origin) and len(address) <= LONGEST and REST.fullmatch(address, len(origin)):
            return
    raise RedirectNotAllowed


def with_query(address: str, **more: str) -> str:
    """The same address with more in its query."""
    return f"{address}{'&' if '?' in address else '?'}{urlencode(more)}"


def _origins() -> list[str]:
    """FRONTEND_URL's origin and those of CORS_ORIGINS."""
    front_end = "/".join(config.settings.FRONTEND_URL.split("/", 3)[:3])
    return [origin for origin in (front_end, *config.settings.cors_origins) if origin]
