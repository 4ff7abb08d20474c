"""OpenID Connect Core 1.0 with an identity provider: where to send a browser, and who it was that came back.

Authlib's client lives only here. A provider is believed only as far as its description (`discovery`), fetched by us, and an
ID token that it signed for us and for this visit (`id_tokens`).
"""

from typing import Any, NamedTuple

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from outbound import discovery, id_tokens
from outbound.discovery import Away, Failed


class Provider(NamedTuple):
    """An OpenID provider, and who we are there."""

    name: str
    client_id: str
    client_secret: str
    discovery_url: str
    scope: str = "openid email profile"


class Visit(NamedTuple):
    """What ties a browser's return to its start: `state` for the browser, `nonce` for the ID token, `verifier` for PKCE."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str


def authorization_url(provider: Provider, visit: Visit) -> str:
    """Where to send the browser: the provider's page, with state, nonce and a PKCE challenge (RFC 7636, S256). `Away`."""
    about = discovery.describe(provider.discovery_url)
    with _session(provider, visit) as session:
        made: tuple[str, str] = session.create_authorization_url(
            about["authorization_endpoint"], state=visit.state, nonce=visit.nonce, code_verifier=visit.verifier
        )
    return made[0]


def identify(provider: Provider, visit: Visit, code: str, issuer: str | None) -> dict[str, Any]:
    """Who came back with this code: the claims of the provider's ID token, every check passed. `Failed`, `Away`.

    `issuer` is the `iss` that came with the code, by which the answers of two providers can't be mixed up (RFC 9207).
    """
    about = discovery.describe(provider.discovery_url)
    if issuer != about["issuer"] and (issuer or about.get("authorization_response_iss_parameter_supported") is True):
        raise Failed("the answer comes from another issuer")
    with _session(provider, visit) as session:
        token = _exchange(session, about, code, visit)
        claims = id_tokens.verify(token.get("id_token"), about, provider.client_id, visit.nonce)
        return claims if claims.get("email") else _with_address(session, about, claims)


def _session(provider: Provider, visit: Visit) -> Any:
    session = OAuth2Session(
        client_id=provider.client_id,
        client_secret=provider.client_secret or None,
        scope=provider.scope,
        redirect_uri=visit.redirect_uri,
        code_challenge_method="S256",
        default_timeout=discovery.ANSWER_SECONDS,
    )
    return discovery.over_wire(session)


def _exchange(session: Any, about: dict[str, Any], code: str, visit: Visit) -> dict[str, Any]:
    """The code for tokens, as the client that we are, with the PKCE verifier."""
    session.token_endpoint_auth_method = _auth_method(session, about)
    try:
        token: dict[str, Any] = session.fetch_token(
            about["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=visit.verifier, allow_redirects=False
        )
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            raise Away("the token endpoint answers 5xx") from None
        raise Failed("the token endpoint refuses the code") from None
    except OAuthError as error:
        raise Failed(f"the token endpoint refuses the code ({str(error.error)[:60]})") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Failed(f"the token endpoint's answer can't be read ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Away(f"the token endpoint does not answer ({type(error).__name__})") from None
    return token


def _auth_method(session: Any, about: dict[str, Any]) -> str:
    """How to show the secret: in the form where that is offered, since Basic has two ways to write odd characters."""
    if not session.client_secret:
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
