"""The authorization code flow of OAuth 2.0 with PKCE (RFC 6749, 4.1; RFC 7636), the same at every identity provider.

Authlib's client lives only here.
"""

import re
from typing import Any, NamedTuple

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from outbound import discovery
from outbound.discovery import Away, Failed

WORD = re.compile(r"[A-Za-z0-9_.-]{1,60}")  # An error code as the RFC has it; whatever else comes in its place is not repeated.


class Visit(NamedTuple):
    """What ties a browser's return to its start: `state` for the browser, `nonce` for the ID token, `verifier` for PKCE."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str


def session(client_id: str, client_secret: str, scope: str, visit: Visit) -> Any:
    """A client for one visit; what it asks is bounded in time and size."""
    made = OAuth2Session(
        client_id=client_id,
        client_secret=client_secret or None,
        scope=scope,
        redirect_uri=visit.redirect_uri,
        code_challenge_method="S256",
        default_timeout=discovery.ANSWER_SECONDS,
    )
    return discovery.over_wire(made)


def page(session: Any, endpoint: str, visit: Visit, **more: str) -> str:
    """The provider's page to send the browser to, with state and a PKCE challenge (S256)."""
    made: tuple[str, str] = session.create_authorization_url(endpoint, state=visit.state, code_verifier=visit.verifier, **more)
    return made[0]


def exchange(session: Any, endpoint: str, code: str, visit: Visit, auth_method: str) -> dict[str, Any]:
    """The code for tokens, as the client that we are, with the PKCE verifier. `Failed`, `Away`."""
    session.token_endpoint_auth_method = auth_method
    try:
        token: dict[str, Any] = session.fetch_token(
            endpoint, grant_type="authorization_code", code=code, code_verifier=visit.verifier, allow_redirects=False
        )
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            raise Away("the token endpoint answers 5xx") from None
        raise Failed("the token endpoint refuses the code") from None
    except OAuthError as error:
        word = error.error if isinstance(error.error, str) and WORD.fullmatch(error.error) else "without a reason"
        raise Failed(f"the token endpoint refuses the code ({word})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Failed(f"the token endpoint's answer can't be read ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Away(f"the token endpoint does not answer ({type(error).__name__})") from None
    if not isinstance(token, dict):
        raise Failed("the token endpoint's answer is no object")
    return token
