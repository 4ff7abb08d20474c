"""The caller's API keys: make, list, end, and see how they stand."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from domain import own_keys
from domain.caller import Caller
from resources import limiter
from resources.base import Resource
from resources.shapes import Done, Given, Out, Proof

Scope = Annotated[str, StringConstraints(min_length=1, max_length=129)]
Scopes = Annotated[list[Scope], Field(max_length=100, examples=[["profile:read"]])]
CredentialName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), Field(examples=["Backup script"])]
Days = Annotated[int, Field(ge=1, le=36500, examples=[30])]


class NewKey(Proof):
    """What the key is called, what it may (`profile:read` if that is not said), and how many days it works."""

    name: Given[CredentialName] = None
    scopes: Given[Scopes] = None
    expires_in_days: Given[Days] = None


class MadeKey(Out):
    """The new key. `api_key` is shown this once and kept nowhere."""

    http_status: ClassVar[int] = 201
    key_id: str
    api_key: str
    name: str | None
    scopes: list[str]
    created_at: datetime
    expires_at: datetime


class KeyOut(Out):
    """An API key. `last8` are the last characters of it."""

    key_id: str
    name: str | None
    last8: str
    scopes: list[str]
    created_at: datetime
    last_used: datetime | None
    is_active: bool
    expires_at: datetime

    @classmethod
    def of(cls, state: own_keys.State) -> "KeyOut":
        """This key."""
        row = state.row
        return cls(
            key_id=row.id,
            name=row.name,
            last8=row.last8,
            scopes=row.scopes,
            created_at=row.created_at,
            last_used=datetime.fromtimestamp(state.last_used, UTC) if state.last_used else None,
            is_active=state.is_active,
            expires_at=row.expires_at,
        )


class KeysOut(Out):
    """The keys, the newest first."""

    keys: list[KeyOut]


class KeyRevoked(Done):
    """The key opens nothing any more."""

    status: Literal["revoked"] = "revoked"


class RateLimitOut(Out):
    """How many requests are left to the owner in the present window, and when the next one begins."""

    limit: int
    remaining: int
    reset_at: datetime


class KeyStatusOut(Out):
    """How a key stands. `expired`: it has run out, whether or not it was ended as well."""

    key_id: str
    is_active: bool
    expired: bool
    expires_at: datetime
    rate_limit: RateLimitOut


class NewApiKey(Resource):
    """A new API key. Its owner is told by mail."""

    def post(self, body: NewKey, caller: Caller) -> MadeKey:
        """Make one."""
        row, key = own_keys.create(caller, body.name, body.scopes, body.expires_in_days)
        return MadeKey(
            key_id=row.id, api_key=key, **{field: getattr(row, field) for field in ("name", "scopes", "created_at", "expires_at")}
        )


class ApiKeys(Resource):
    """The caller's API keys."""

    def get(self, caller: Caller) -> KeysOut:
        """List them, those that have ended too."""
        return KeysOut(keys=[KeyOut.of(one) for one in own_keys.every(caller)])


class ApiKeyRevocation(Resource):
    """The end of one of the caller's API keys, which is named by its id or is the key itself."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse a key that is not the caller's."""
        assert caller is not None
        own_keys.get(caller, parts["key"])

    def post(self, caller: Caller, key: str) -> KeyRevoked:
        """End it for good; again is fine."""
        own_keys.revoke(caller, key)
        return KeyRevoked()


class ApiKeyStatus(Resource):
    """One of the caller's API keys, which is named by its id or is the key itself."""

    def get(self, caller: Caller, key: str) -> KeyStatusOut:
        """See how it stands."""
        row, is_active, expired, _ = own_keys.get(caller, key)
        left = limiter.left(caller.user_id)
        budget = RateLimitOut(limit=left.limit, remaining=left.remaining, reset_at=datetime.fromtimestamp(left.reset_at, UTC))
        return KeyStatusOut(key_id=row.id, is_active=is_active, expired=expired, expires_at=row.expires_at, rate_limit=budget)
