"""Who asks, and from where: the one type for every credential."""

from typing import NamedTuple


class Client(NamedTuple):
    """Where a request comes from: its address, its user agent, and the device token it brought."""

    ip: str | None = None
    user_agent: str | None = None
    device_token: str | None = None


class Caller(NamedTuple):
    """A signed-in user. `authenticated` is the auth_time of the token in seconds; `amr` are its RFC 8176 words."""

    user_id: str
    session_id: str
    generation: int
    authenticated: int
    amr: tuple[str, ...]
