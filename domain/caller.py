"""Who asks, and from where: the one type for every credential."""

import ipaddress
from typing import Literal, NamedTuple

Kind = Literal["sign_in", "api_key", "app_token", "service"]


class Client(NamedTuple):
    """Where a request comes from: its address, its user agent, and the device token it brought."""

    ip: str | None = None
    user_agent: str | None = None
    device_token: str | None = None

    @property
    def network(self) -> str:
        """The address as one household or machine has it: of IPv6 the /64; "unknown" where there is none."""
        try:
            address = ipaddress.ip_address(self.ip or "")
        except ValueError:
            return "unknown"
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            return str(mapped or ipaddress.ip_network((address, 64), strict=False))
        return str(address)


class Caller(NamedTuple):
    """Who asks. A user by a sign-in or by a key, or a service by its application token or a token made from it.

    `authenticated` is the auth_time of a sign-in in seconds; `amr` are its RFC 8176 words. `user_id` is empty for a service.
    `scopes` bound what a key or a service may; None: whatever its user may. `credential_id` names the key or application token.
    """

    user_id: str
    session_id: str
    generation: int
    authenticated: int
    amr: tuple[str, ...]
    client: Client
    kind: Kind = "sign_in"
    scopes: frozenset[str] | None = None
    credential_id: str | None = None
    service_id: str | None = None
    card: bytes | None = None  # What Redis had of the user when the request came (`domain/cards.py`).

    @property
    def actor(self) -> str:
        """Who it is in the audit trail."""
        return self.user_id or f"service:{self.service_id}"
