"""Is this ID token the provider's, for us, for this visit, and for now (OpenID Connect Core 1.0, 3.1.3.7)?"""

import hmac
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from outbound import discovery
from outbound.discovery import Failed

CLOCK_SKEW_SECONDS = 5
# Signatures that only the provider can make: never `none`, and never HS*, whose key may be known to others.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")


class _UnknownKey(Failed):
    """The token names a key that is not among those we have."""


def verify(token: Any, about: dict[str, Any], client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an ID token that stands every check; `Failed`. For an unknown key the provider's are fetched once more."""
    if not isinstance(token, str):
        raise Failed("there is no ID token")
    try:
        claims = _signed(token, about, discovery.keys(about))
    except _UnknownKey:
        claims = _signed(token, about, discovery.keys(about, anew=True))
    _judge(claims, about["issuer"], client_id, nonce)
    return claims


def _signed(token: str, about: dict[str, Any], keys: list[Key]) -> dict[str, Any]:
    """The claims, if the signature is by one of these keys and an algorithm that the provider lists."""
    listed = about.get("id_token_signing_alg_values_supported", ["RS256"])
    allowed = [name for name in ALGORITHMS if isinstance(listed, list) and name in listed]
    if not allowed:  # The library takes an empty list for its own choice.
        raise Failed("the provider lists no algorithm that can be trusted")
    registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
    try:
        return jwt.decode(token, lambda signed: _key_for(signed.headers(), keys), registry=registry).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Failed(f"the ID token is not the provider's ({type(error).__name__})") from None


def _key_for(header: dict[str, Any], keys: list[Key]) -> Key:
    """The key that the header names, of those we fetched; a key or an address of one in the header itself counts nothing."""
    if "crit" in header:
        raise Failed("the ID token asks for an extension")
    kid, alg = header.get("kid"), header["alg"]
    fitting = [key for key in keys if key.get("use", "sig") == "sig" and key.get("alg", alg) == alg and kid in (None, key.kid)]
    if not fitting:
        raise _UnknownKey("the ID token is signed with an unknown key")
    if kid is None and len(fitting) > 1:
        raise Failed("the ID token does not say which key it is signed with")
    return fitting[0]


def _judge(claims: dict[str, Any], issuer: str, client_id: str, nonce: str) -> None:
    """Refuse claims that were not made by this issuer, for us, for this visit, and now."""
    wanted = jwt.JWTClaimsRegistry(
        leeway=CLOCK_SKEW_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        wanted.validate(claims)
    except (JoseError, OverflowError) as error:
        raise Failed(f"the ID token is not for us, or not for now ({type(error).__name__})") from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise Failed("the ID token was issued to somebody else")
    told = claims.get("nonce")
    if not isinstance(told, str) or not hmac.compare_digest(told.encode("utf-8", "surrogatepass"), nonce.encode()):
        raise Failed("the ID token belongs to another visit")
