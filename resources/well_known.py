"""What programs look up by themselves: the public keys below our tokens, and where and how services ask."""

from datetime import timedelta
from typing import Any, ClassVar, Literal

from flask import Response

import config
from domain import clock, signing
from domain.errors import NotFound
from resources.base import Resource
from resources.shapes import Out, Text

KEYS_SECONDS = 30  # A new key stands here for longer before it signs.
CONTACT_DAYS = 90  # How long a security.txt that was read today is good.
WAYS = ["client_secret_basic", "client_secret_post"]  # How a client proves itself (RFC 7591 2).


class KeysOut(Out):
    """A JWK Set (RFC 7517); empty where tokens are signed with a secret."""

    private: ClassVar[bool] = False
    keys: list[dict[str, Any]]

    def finish(self, response: Response) -> None:
        """May be kept for a while."""
        response.headers["Cache-Control"] = f"public, max-age={KEYS_SECONDS}"


class MetadataOut(Out):
    """Authorization Server Metadata (RFC 8414)."""

    private: ClassVar[bool] = False
    issuer: str
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    jwks_uri: str
    grant_types_supported: list[Literal["client_credentials"]] = ["client_credentials"]
    response_types_supported: list[str] = []
    token_endpoint_auth_methods_supported: list[str] = WAYS
    introspection_endpoint_auth_methods_supported: list[str] = WAYS
    revocation_endpoint_auth_methods_supported: list[str] = WAYS


class SecurityOut(Text):
    """Whom to tell of a weakness (RFC 9116)."""

    media_type: ClassVar[str] = "text/plain"


class Jwks(Resource):
    """The public keys under which services check tokens by themselves: the newest first, and those that signed before it until
    their last token is over.
    """

    def get(self) -> KeysOut:
        """The keys."""
        return KeysOut(keys=signing.published())


class Metadata(Resource):
    """For clients that find out everything from the address of the server."""

    def get(self) -> MetadataOut:
        """The endpoints, and what they understand."""
        base = config.settings.BASE_URL
        return MetadataOut(
            issuer=config.settings.JWT_ISSUER,
            token_endpoint=f"{base}/oauth/token",
            introspection_endpoint=f"{base}/oauth/introspect",
            revocation_endpoint=f"{base}/oauth/revoke",
            jwks_uri=f"{base}/.well-known/jwks.json",
        )


class SecurityText(Resource):
    """For who has found a weakness of this installation (RFC 9116); there where SECURITY_CONTACT names somebody."""

    def get(self) -> SecurityOut:
        """The contacts, and until when they are good."""
        contacts = config.keys(config.settings.SECURITY_CONTACT)
        if not contacts:
            raise NotFound
        ends = (clock.now() + timedelta(days=CONTACT_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
        canonical = f"{config.settings.BASE_URL}/.well-known/security.txt"
        lines = [*(f"Contact: {one}" for one in contacts), f"Expires: {ends}", f"Canonical: {canonical}"]
        return SecurityOut(text="\n".join(lines) + "\n")
