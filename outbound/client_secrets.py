"""A client secret that is made anew for each use: a short-lived JWT, signed with a key of ours that the provider knows."""

import time
from typing import NamedTuple

from joserfc import jwt
from joserfc.jwk import ECKey

LIFE_SECONDS = 300


class Signer(NamedTuple):
    """Who signs: the team, the name of its key, and the key (P-256, PEM)."""

    team_id: str
    key_id: str
    private_key: str


def sign(signer: Signer, client_id: str, audience: str) -> str:
    """The secret of this client for this provider (ES256), good for LIFE_SECONDS."""
    now = int(time.time())
    claims = {"iss": signer.team_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + LIFE_SECONDS}
    return jwt.encode({"alg": "ES256", "kid": signer.key_id}, claims, ECKey.import_key(signer.private_key))
