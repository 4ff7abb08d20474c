"""Proof of work as ALTCHA has it (version 2 of its protocol): a browser tries numbers until a PBKDF2 key begins with a zero byte.

A puzzle is signed, not stored: HMAC-SHA-256 under a key derived from SECRET_KEY. It takes 256 tries on average, each of
CAPTCHA_DIFFICULTY rounds; checking an answer takes one, and nothing that is not signed by us is computed at all.
"""

from typing import NamedTuple

import altcha

import config
from domain import clock, secrets

ALGORITHM = "PBKDF2/SHA-256"  # A browser's own code computes it as fast as anybody's program does.
BEGINS_WITH = "00"
PURPOSE = "captcha"


class Puzzle(NamedTuple):
    """What ALTCHA's widget takes: the parameters as it names them, and our signature of them."""

    parameters: dict[str, str | int]
    signature: str


class Solved(NamedTuple):
    """A puzzle that was solved: the signature, which no other puzzle has, and the second at which it is over."""

    signature: str
    ends: int


def make() -> Puzzle:
    """A fresh puzzle, good for CAPTCHA_SECONDS."""
    ends = clock.epoch() + config.settings.CAPTCHA_SECONDS
    cost, key = config.settings.CAPTCHA_DIFFICULTY, _keys()[0]
    made = altcha.create_challenge(ALGORITHM, cost, key_prefix=BEGINS_WITH, expires_at=ends, hmac_secret=key)
    return Puzzle(made.parameters.to_dict(), str(made.signature))


def solved(answer: str) -> Solved | None:
    """The puzzle whose right solution this is (base64 of JSON, as the widget sends it), if it is one of ours, under any of the
    SECRET_KEYs, and not over. Whether it was used before is not looked at.
    """
    if not any(altcha.verify_solution(answer, key).verified for key in _keys()):
        return None
    challenge = altcha.Payload.from_base64(answer).challenge
    ends = challenge.parameters.expires_at or 0
    return Solved(str(challenge.signature), ends) if ends > clock.epoch() else None


def _keys() -> list[str]:
    """One under each SECRET_KEY, the newest first."""
    return secrets.keyed_hashes(PURPOSE, "key")
