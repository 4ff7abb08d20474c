"""Identity providers that speak OAuth 2.0 alone: who somebody is stands in no signed token, but is asked of an API.

What the API answers is handed on as it came; what of it counts is the domain's to say.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

import requests

from outbound import code_flow, discovery
from outbound.code_flow import Visit
from outbound.discovery import Away, Failed

TOO_MANY = 429


class Provider(NamedTuple):
    """A provider's addresses, and who we are there. `asked` names what its API is asked; with `has_proof` each question proves
    that it comes from who has the client's secret.
    """

    name: str
    client_id: str
    client_secret: str
    scope: str
    authorization_endpoint: str
    token_endpoint: str
    asked: Mapping[str, str]
    has_proof: bool = False


def authorization_url(provider: Provider, visit: Visit) -> str:
    """Where to send the browser: the provider's page, with state and a PKCE challenge."""
    with code_flow.session(provider.client_id, provider.client_secret, provider.scope, visit) as session:
        return code_flow.page(session, provider.authorization_endpoint, visit)


def identify(provider: Provider, visit: Visit, code: str) -> dict[str, Any]:
    """What the API says of who came back with this code, by the names of `asked`. `Failed`, `Away`."""
    with code_flow.session(provider.client_id, provider.client_secret, provider.scope, visit) as session:
        token = code_flow.exchange(session, provider.token_endpoint, code, visit, "client_secret_post").get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            raise Failed("the token endpoint gives no access token")
        proof = {"appsecret_proof": _proof(provider, token)} if provider.has_proof else {}
        return {name: _answer(session, url, token, proof) for name, url in provider.asked.items()}


def reach(provider: Provider) -> None:
    """Look whether everything that a sign-in asks is there, without a code; `Away`."""
    with discovery.over_wire(requests.Session()) as session:
        for url in (provider.token_endpoint, *provider.asked.values()):
            try:
                status = session.get(url, allow_redirects=False).status_code
            except (requests.RequestException, ValueError) as error:
                raise Away(f"{url} does not answer ({type(error).__name__})") from None
            if status >= 500:
                raise Away(f"{url} answers {status}")


def _proof(provider: Provider, token: str) -> str:
    return hmac.new(provider.client_secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def _answer(session: Any, url: str, token: str, proof: dict[str, str]) -> Any:
    """The JSON that the API answers to who has this token."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    try:
        answer = session.get(url, params=proof, headers=headers, withhold_token=True, allow_redirects=False)
        if answer.status_code >= 500 or answer.status_code == TOO_MANY:
            raise Away(f"the API answers {answer.status_code}")
        if answer.status_code != 200:
            raise Failed(f"the API answers {answer.status_code}")
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise Failed(f"the API's answer can't be read ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Away(f"the API does not answer ({type(error).__name__})") from None
