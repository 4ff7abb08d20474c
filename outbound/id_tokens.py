"""Is this ID token the provider's, for us, for this visit, and not over (OpenID Connect Core 1.0, 3.1.3.7)?"""

import hmac
from collections.abc import Callable, Mapping
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
# Who has to have signed, by the issuer of the description (or of a key) and the claims, where those are not simply the same.
IssuerOf = Callable[[str, Mapping[str, Any]], str]


class _UnknownKey(Failed):
    """The token names a key that is not among those we have."""


def verify(token: Any, about: dict[str, Any], client_id: str, nonce: str, issuer_of: IssuerOf | None = None) -> dict[str, Any]:
    """The claims of an ID token that stands every check; `Failed`. For an unknown key the provider's are fetched once more."""
    if not isinstance(token, str):
        raise Failed("there is no ID token")
    try:
        claims, key = _signed(token, about, discovery.keys(about))
    except _UnknownKey:
        claims, key = _signed(token, about, discovery.keys(about, anew=True))
    issuer = issuer_of(about["issuer"], claims) if issuer_of else about["issuer"]
    keys_issuer = key.get("issuer")  # One who serves many issuers may say whose a key is; it signs for no other.
    if issuer_of and isinstance(keys_issuer, str) and issuer_of(keys_issuer, claims) != issuer:
        raise Failed("the ID token is signed with another issuer's key")
    _judge(claims, issuer, client_id, nonce)
    return claims


def _signed(token: str, about: dict[str, Any], keys: list[Key]) -> tuple[dict[str, Any], Key]:
    """The claims and the key, if the signature is by one of these keys and an algorithm that the provider lists."""
    listed = about.get("id_token_signing_alg_values_supported", ["RS256"])
    allowed = [name for name in ALGORITHMS if isinstance(listed, list) and name in listed]
    if not allowed:  # The library takes an empty list for its own choice.
        raise Failed("the provider lists no algorithm that can be trusted")
    registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
    try:
        decoded = jwt.decode(token, lambda signed: _key_for(signed.headers(), keys), registry=registry)
        return decoded.claims, _key_for(decoded.header, keys)
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
        raise Failed(f"the ID token is not for us, or over ({type(error).__name__})") from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise Failed("the ID token was issued to somebody else")
    told = claims.get("nonce")
    if not isinstance(told, str) or not hmac.compare_digest(told.encode("utf-8", "surrogatepass"), nonce.encode()):
        raise Failed("the ID token belongs to another visit")
