"""Application tokens of services: make, list, end and remove them; and what one of them asks about itself."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from domain import app_tokens
from domain.caller import Caller
from model import AppToken
from resources.api_keys import CredentialName, Days, Scopes
from resources.base import Resource
from resources.services import ServiceOut
from resources.shapes import Done, Given, Out, Proof

ServiceId = Annotated[str, StringConstraints(min_length=1, max_length=32)]


class NewToken(Proof):
    """Whose it is, what it may (nothing if that is not said), and how many days it works (for good if that is not said)."""

    service_id: ServiceId
    name: CredentialName
    scopes: Given[Scopes] = None
    expires_in_days: Given[Days] = None


class MadeToken(Out):
    """The new token. `token` is shown this once and kept nowhere."""

    http_status: ClassVar[int] = 201
    id: str
    token: str
    service_id: str
    name: str
    last8: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class AppTokenOut(Out):
    """An application token. `last8` are the last characters of it."""

    id: str
    name: str
    last8: str
    scopes: list[str]
    is_active: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    use_count: int

    @classmethod
    def of(cls, state: app_tokens.State) -> "AppTokenOut":
        """This token."""
        used = datetime.fromtimestamp(state.last_used, UTC) if state.last_used else None
        return cls(**_shown(state.row), is_active=state.is_active, last_used_at=used, use_count=state.use_count)


class AppTokensOut(Out):
    """The tokens, the newest first."""

    tokens: list[AppTokenOut]


class TokenRevoked(Done):
    """The token opens nothing any more."""

    status: Literal["revoked"] = "revoked"


class Validated(Out):
    """The token is good, and this is whose it is."""

    valid: Literal[True] = True
    service: ServiceOut
    scopes: list[str]
    expires_at: datetime | None


class AppTokens(Resource):
    """Application tokens. One belongs to its service, whoever made it."""

    def post(self, body: NewToken, caller: Caller) -> MadeToken:
        """Make one."""
        row, token = app_tokens.make(caller, body.service_id, body.name, body.scopes or (), body.expires_in_days)
        return MadeToken(**_shown(row), token=token, service_id=row.service_id)


class ServiceTokens(Resource):
    """The application tokens of a service."""

    def get(self, service_id: str) -> AppTokensOut:
        """List them, those that have ended too."""
        return AppTokensOut(tokens=[AppTokenOut.of(one) for one in app_tokens.of_service(service_id)])


class AppTokenRevocation(Resource):
    """The end of an application token."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse a token that is not there."""
        app_tokens.get(parts["token_id"])

    def post(self, caller: Caller, token_id: str) -> TokenRevoked:
        """End it for good; again is fine."""
        app_tokens.revoke(caller, token_id)
        return TokenRevoked()


class OneAppToken(Resource):
    """An application token."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse a token that is not there."""
        app_tokens.get(parts["token_id"])

    def delete(self, caller: Caller, token_id: str) -> None:
        """End it, and forget it."""
        app_tokens.remove(caller, token_id)


class Validation(Resource):
    """What a service learns of its own credential."""

    def get(self, caller: Caller) -> Validated:
        """See that it is good, and what it may."""
        asking = app_tokens.behind(caller)
        return Validated(service=ServiceOut.of(asking), scopes=sorted(caller.scopes or ()), expires_at=asking.expires_at)


def _shown(row: AppToken) -> dict[str, object]:
    return {field: getattr(row, field) for field in ("id", "name", "last8", "scopes", "created_at", "expires_at")}
