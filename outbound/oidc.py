"""OpenID Connect Core 1.0 with an identity provider: where to send a browser, and who it was that came back.

A provider is believed only as far as its description (`discovery`), fetched by us, and an ID token that it signed for us and for
this visit (`id_tokens`).
"""

from typing import Any, NamedTuple

from authlib.integrations.base_client import OAuthError

from outbound import client_secrets, code_flow, discovery, id_tokens
from outbound.client_secrets import Signer
from outbound.code_flow import Visit
from outbound.discovery import Failed
from outbound.id_tokens import IssuerOf


class Provider(NamedTuple):
    """An OpenID provider, and who we are there. By `response_mode` the answer may come as a form; `signer` makes our secret anew
    each time; `issuer` says who signs, where the description does not.
    """

    name: str
    client_id: str
    client_secret: str
    discovery_url: str
    scope: str = "openid email profile"
    response_mode: str | None = None
    signer: Signer | None = None
    issuer: IssuerOf | None = None


def authorization_url(provider: Provider, visit: Visit) -> str:
    """Where to send the browser: the provider's page, with state, nonce and a PKCE challenge. `Away`."""
    about = discovery.describe(provider.discovery_url)
    more = {"response_mode": provider.response_mode} if provider.response_mode else {}
    with code_flow.session(provider.client_id, provider.client_secret, provider.scope, visit) as session:
        return code_flow.page(session, about["authorization_endpoint"], visit, nonce=visit.nonce, **more)


def identify(provider: Provider, visit: Visit, code: str, issuer: str | None) -> dict[str, Any]:
    """Who came back with this code: the claims of the provider's ID token, every check passed. `Failed`, `Away`.

    `issuer` is the `iss` that came with the code, by which the answers of two providers can't be mixed up (RFC 9207).
    """
    about = discovery.describe(provider.discovery_url)
    if provider.issuer is None and not _comes_from(issuer, about["issuer"], about):
        raise Failed("the answer comes from another issuer")
    secret = client_secrets.sign(provider.signer, provider.client_id, about["issuer"]) if provider.signer else provider.client_secret
    with code_flow.session(provider.client_id, secret, provider.scope, visit) as session:
        token = code_flow.exchange(session, about["token_endpoint"], code, visit, _auth_method(secret, about))
        claims = id_tokens.verify(token.get("id_token"), about, provider.client_id, visit.nonce, provider.issuer)
        if not _comes_from(issuer, claims["iss"], about):
            raise Failed("the answer comes from another issuer")
        return claims if claims.get("email") else _with_address(session, about, claims)


def _comes_from(told: str | None, issuer: str, about: dict[str, Any]) -> bool:
    return told == issuer or (not told and about.get("authorization_response_iss_parameter_supported") is not True)


def _auth_method(secret: str, about: dict[str, Any]) -> str:
    """How to show the secret: in the form where that is offered, since Basic has two ways to write odd characters."""
    if not secret:
        return "none"
    offered = about.get("token_endpoint_auth_methods_supported")
    return "client_secret_post" if isinstance(offered, list) and "client_secret_post" in offered else "client_secret_basic"


def _with_address(session: Any, about: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """The same claims with an address from the userinfo endpoint, for providers that leave it out of the ID token."""
    if not isinstance(about.get("userinfo_endpoint"), str):
        return claims
    try:
        told = discovery.document(session, about["userinfo_endpoint"], "userinfo")
    except OAuthError:
        raise Failed("the access token can't be used") from None
    if told.get("sub") != claims.get("sub"):
        raise Failed("the userinfo is somebody else's")
    return {**claims, **{name: told[name] for name in ("email", "email_verified", "name") if name in told}}
