"""What an OpenID provider says about itself (OpenID Connect Discovery 1.0, section 4)."""

from typing import Any

import requests

TIMEOUT_SECONDS = 5
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


class Away(Exception):
    """The provider does not answer, or not with a description that can be used."""


def fetch(url: str) -> dict[str, Any]:
    """The description at this address; `Away` if it can't be had or lacks what a sign-in needs."""
    try:
        answer = requests.get(url, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise Away(f"discovery does not answer ({type(error).__name__})") from None
    missing = [name for name in NEEDED if not isinstance(found, dict) or not isinstance(found.get(name), str)]
    if missing:
        raise Away(f"discovery lacks {', '.join(missing)}")
    return dict(found)
