"""Tokens are bound to the client that they were given to, as far as TOKEN_BINDING says: stolen ones open nothing elsewhere.

A token says nothing about its client in clear: it holds a short keyed hash, which only this server can make.
"""

import hmac

import config
from domain import audit, clock, secrets
from domain.caller import Client
from domain.errors import TokenRevoked

OFF, WITH_ADDRESS = "off", "user_agent_and_ip"
HASH_LENGTH = 22  # Hex digits, 88 bits.
MINUTE = 60


def is_on() -> bool:
    """Whether tokens are bound to anything at all."""
    return config.settings.TOKEN_BINDING != OFF


def of(session_id: str, client: Client) -> str:
    """What a token of this session says about the client that gets it."""
    return _hashes(session_id, client)[0]


def check(said: object, user_id: str, session_id: str, client: Client) -> None:
    """Refuse a token that another client was given, or that was given to nobody in particular: `TokenRevoked`.

    The session goes on for its rightful client, and the trail tells of it, once a minute at most.
    """
    if not isinstance(said, str) or not any(hmac.compare_digest(said.encode(), one.encode()) for one in _hashes(session_id, client)):
        name = f"session.mismatch {session_id} {clock.epoch() // MINUTE}"
        audit.note_once(name, "session.mismatch", user_id, client, session_id=session_id, result=TokenRevoked.code)
        raise TokenRevoked


def _hashes(session_id: str, client: Client) -> list[str]:
    """One under each SECRET_KEY, the newest first; of another session, or under another setting, they are others."""
    address = client.network if config.settings.TOKEN_BINDING == WITH_ADDRESS else ""
    told = "\0".join((config.settings.TOKEN_BINDING, session_id, address, client.user_agent or ""))
    return [one[:HASH_LENGTH] for one in secrets.keyed_hashes("binding", told)]
