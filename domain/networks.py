"""Which addresses are served at all: IP_ALLOW and IP_DENY, judged by the client's address as the limits see it. Deny wins."""

import ipaddress
from functools import lru_cache

import config


def admits(ip: str | None) -> bool:
    """Whether a client at this address is served. Where there are lists, one whose address is not known is not."""
    allow, deny = config.settings.IP_ALLOW, config.settings.IP_DENY
    return not (allow or deny) or _admits(ip or "", allow, deny)


@lru_cache(maxsize=4096)
def _admits(ip: str, allow: str, deny: str) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if any(address in network for network in _networks(deny)):
        return False
    return not allow or any(address in network for network in _networks(allow))


@lru_cache(maxsize=8)
def _networks(listed: str) -> tuple[config.Network, ...]:
    return tuple(config.network(one) for one in config.keys(listed))
