"""The caller's sessions: see them, end them."""

from datetime import datetime

from domain import own_sessions
from domain.caller import Caller
from resources.base import Resource
from resources.shapes import Out


class SessionOut(Out):
    """A session that goes on. `expires_at` is its end whatever happens, null if it has none; `country` is ISO 3166-1, null where it is
    not known.
    """

    id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime | None
    ip: str | None
    country: str | None
    user_agent: str | None
    device: str
    current: bool


class SessionsOut(Out):
    """The sessions that go on, newest first."""

    sessions: list[SessionOut]


class RevokedOut(Out):
    """How many sessions were ended."""

    revoked: int


class StatsOut(Out):
    """How many sessions go on, on which devices, and how many began within the last day, ended ones among them."""

    active: int
    by_device: dict[str, int]
    created_last_24h: int


class Sessions(Resource):
    """The caller's sessions."""

    def get(self, caller: Caller) -> SessionsOut:
        """List them."""
        return SessionsOut(sessions=[SessionOut(**one._asdict()) for one in own_sessions.running(caller)])

    def delete(self, caller: Caller) -> RevokedOut:
        """End all but this one."""
        return RevokedOut(revoked=own_sessions.end_others(caller))


class Session(Resource):
    """One of the caller's sessions."""

    def delete(self, caller: Caller, id: str) -> None:  # noqa: A002 - As the path names it.
        """End it; the present one, too."""
        own_sessions.end(caller, id)


class SessionStats(Resource):
    """The caller's sessions in numbers."""

    def get(self, caller: Caller) -> StatsOut:
        """Count them."""
        return StatsOut(**own_sessions.stats(caller)._asdict())
