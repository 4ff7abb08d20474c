"""What many requests ask of a user: what they see of themselves, and what they may do. Redis keeps it, the database knows it.

Nothing that was changed is found in Redis afterwards. A change takes the card away and says that it is under way, before its
commit, and once more when it is over; what was read meanwhile, or before, is not kept (`mark`). A change that concerns many
users, such as one of a role, does so for everybody at once. As everything there it stands under an epoch (`domain/cache.py`).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, cast

import orjson
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session as Database

import config
from domain import cache
from domain.caller import Caller
from domain.database import afterwards, connection
from domain.errors import NotFound, Unavailable
from domain.permissions import ADMIN, GATEHOUSE, OWN
from model import Assignment, Role, Service, User

CHANGE_SECONDS = 300  # Longer than any transaction and any reader takes.
CARD, STATE, BUSY = cache.CARD, "gatehouse:card-state:", "gatehouse:card-busy:"

# Finds a user's card, and what has to be the same when one is kept: '' while a change is under way.
FIND = f"""
local function find(epoch, user)
  local all, one = '{STATE}' .. epoch, '{STATE}' .. epoch .. ':' .. user
  local state = (redis.call('GET', all) or '0') .. ':' .. (redis.call('GET', one) or '0')
  if redis.call('EXISTS', '{BUSY}' .. epoch, '{BUSY}' .. epoch .. ':' .. user) > 0 then return false, '' end
  return redis.call('GET', '{CARD}' .. epoch .. ':' .. user .. ':' .. state), epoch .. ':' .. state
end
"""

# KEYS: epoch. ARGV: a fresh epoch, user.
LOOK = f"""{FIND}{cache.SAME_EPOCH}
local card, state = find(epoch, ARGV[2])
return {{card, state}}
"""

# Keeps a card, if nothing has changed since it was looked for. KEYS: epoch. ARGV: a fresh epoch, user, state, card, ttl.
KEEP = f"""{FIND}{cache.SAME_EPOCH}
local _, state = find(epoch, ARGV[2])
if state ~= ARGV[3] then return end
local name = '{CARD}' .. epoch .. ':' .. ARGV[2] .. string.sub(state, #epoch + 1)
redis.call('SET', name, ARGV[4], 'EX', ARGV[5])
"""

# A change begins (1) or is over (-1): the state is another, which was never there before, so that a card that outlives it is
# found by nobody. KEYS: epoch. ARGV: something fresh, ttl, step, users ('' for everybody).
CHANGE = f"""{cache.SAME_EPOCH}
for number = 4, #ARGV do
  local name = ARGV[number] == '' and epoch or epoch .. ':' .. ARGV[number]
  if ARGV[number] == '' then redis.call('SET', '{STATE}' .. name, ARGV[1])
  else redis.call('SET', '{STATE}' .. name, ARGV[1], 'EX', ARGV[2]) end
  local busy = '{BUSY}' .. name
  if ARGV[3] == '1' then
    redis.call('INCR', busy)
    redis.call('EXPIRE', busy, ARGV[2])
  elseif redis.call('EXISTS', busy) == 1 and redis.call('DECR', busy) <= 0 then
    redis.call('DEL', busy)
  end
end
"""


class Profile(NamedTuple):
    """The columns of an account that its owner sees; none of them is a secret."""

    id: str
    email: str
    username: str | None
    name: str | None
    picture: str | None
    mfa_enabled: bool
    status: str
    created_at: datetime
    last_login_at: datetime | None
    invited_at: datetime | None
    phone: str | None
    bio: str | None
    locale: str | None
    timezone: str | None
    extra: dict[str, Any] | None


class Rights(NamedTuple):
    """What somebody has in one service: the names of their roles, and the permissions that these give."""

    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()


class Card(NamedTuple):
    """A user, and what they have in every active service where they have a role, by the service's name."""

    profile: Profile
    rights: dict[str, Rights]


# Prepared statements without mapped objects: these are read more often than anything else.
_PROFILE = select(*(getattr(User, column) for column in Profile._fields)).where(User.id == bindparam("user"))
RIGHTS = (
    select(Service.name, Role.name, Role.permissions)
    .join(Role, Role.service_id == Service.id)
    .join(Assignment, Assignment.role_id == Role.id)
    .where(Assignment.user_id == bindparam("user"), Service.is_active)
)


def profile(caller: Caller) -> Profile:
    """The caller's profile as it is now; `NotFound`."""
    return _of(caller.user_id, caller.card).profile if _is_on() else _read_profile(caller.user_id)


def rights(user_id: str, card: bytes | None = None) -> dict[str, Rights]:
    """What a user may do as it is now, by the names of services."""
    try:
        return _of(user_id, card).rights if _is_on() else _read_rights(user_id)
    except NotFound:
        return {}


def of_caller(caller: Caller) -> Card:
    """The card of a caller as it is now; `NotFound`."""
    return _of(caller.user_id, caller.card)


def mark(db: Database, *user_ids: str, needed: bool = True) -> None:
    """Say that these users change (none named: everybody may), inside the transaction that changes them.

    Where Redis is configured and can't be told: `Unavailable`, and nothing has happened; unless the change is not `needed`
    at once by anybody.
    """
    if cache.client is None:
        return
    users = user_ids or ("",)
    try:
        _change(1, users)
    except cache.Away as error:
        if needed:
            raise Unavailable(retry_after=2) from error
    afterwards(db, lambda: _over(users))


def _is_on() -> bool:
    return cache.client is not None and config.settings.USER_CACHE_SECONDS > 0


def _of(user_id: str, card: bytes | None) -> Card:
    state = b""
    if card is None and _is_on():
        card, state = _look(user_id)
    if card:
        return _decoded(card)
    read = Card(_read_profile(user_id), _read_rights(user_id))
    if state:
        _keep(user_id, state, read)
    return read


def _look(user_id: str) -> tuple[bytes | None, bytes]:
    assert cache.client is not None
    try:
        found = cache.client.eval(LOOK, 1, cache.EPOCH, cache.fresh_epoch(), user_id)
    except cache.Away:
        return None, b""
    return cast("tuple[bytes | None, bytes]", tuple(cast("list[Any]", found)))


def _keep(user_id: str, state: bytes, card: Card) -> None:
    assert cache.client is not None
    try:
        lasts = config.settings.USER_CACHE_SECONDS
        cache.client.eval(KEEP, 1, cache.EPOCH, cache.fresh_epoch(), user_id, state, _encoded(card), lasts)
    except (*cache.Away, orjson.JSONEncodeError):
        return  # It is read from the database next time as well; so is metadata with a number that is too long for orjson.


def _change(step: int, users: Iterable[str]) -> None:
    assert cache.client is not None
    lasts = max(CHANGE_SECONDS, config.settings.USER_CACHE_SECONDS)  # Nothing that was kept before a change outlives what tells of it.
    cache.client.eval(CHANGE, 1, cache.EPOCH, cache.fresh_epoch(), lasts, step, *users)


def _over(users: Iterable[str]) -> None:
    """The change is committed, or was given up. If Redis can't be told, it keeps nothing until that word is over."""
    try:
        _change(-1, users)
    except cache.Away:
        return


def _encoded(card: Card) -> bytes:
    rights = {service: [sorted(one.roles), sorted(one.permissions)] for service, one in card.rights.items()}
    return orjson.dumps([tuple(card.profile), rights])


def _decoded(card: bytes) -> Card:
    columns, rights = orjson.loads(card)
    for place in _MOMENTS:
        columns[place] = datetime.fromisoformat(columns[place]) if columns[place] else None
    return Card(Profile._make(columns), {name: Rights(frozenset(roles), frozenset(may)) for name, (roles, may) in rights.items()})


_MOMENTS = [Profile._fields.index(name) for name in ("created_at", "last_login_at", "invited_at")]


def _read_rights(user_id: str) -> dict[str, Rights]:
    with connection() as db:
        return rights_in(db, user_id)


def _read_profile(user_id: str) -> Profile:
    with connection() as db:
        row = db.execute(_PROFILE, {"user": user_id}).first()
    if row is None:
        raise NotFound
    return Profile._make(row)


def rights_in(db: Connection, user_id: str) -> dict[str, Rights]:
    """The same as this connection sees it: an act by its own, which nobody's card can tell."""
    rows = db.execute(RIGHTS, {"user": user_id}).all()
    found: dict[str, Rights] = {}
    for service, role, permissions in rows:
        had = found.get(service, Rights())
        found[service] = Rights(had.roles | {role}, had.permissions | set(granted(service, role, permissions)))
    return found


def granted(service: str, role: str, permissions: list[str]) -> Iterable[str]:
    """The server's own role `admin` has every permission there is, those of later versions too."""
    return OWN if (service, role) == (GATEHOUSE, ADMIN) else permissions
