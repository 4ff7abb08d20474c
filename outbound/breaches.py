"""A service that knows breached passwords, asked by k-anonymity: only the first five digits of a password's SHA-1 leave,
and its answer is padded, so that neither the service nor who watches the wire learns which password it was.
"""

import hashlib

import requests

from outbound import discovery

SECONDS = 2  # For the whole answer: somebody waits for it.
PREFIX = 5  # Hexadecimal digits.


class Away(Exception):
    """The service did not answer, or not as such services do. The words hold nothing of the password."""


def knows(url: str, password: str) -> bool:
    """Whether the range service at `url` lists this password; `Away`."""
    digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
    prefix, rest = digest[:PREFIX], digest[PREFIX:]
    headers = {"Add-Padding": "true", "User-Agent": "Gatehouse", "Accept": "text/plain"}
    try:
        with discovery.over_wire(requests.Session(), SECONDS) as session:
            answer = session.get(f"{url.rstrip('/')}/{prefix}", headers=headers, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        raise Away(type(error).__name__) from None
    if answer.status_code != 200:
        raise Away(f"answered {answer.status_code}")
    return any(_count(line, rest) for line in answer.text.splitlines())


def _count(line: str, rest: str) -> int:
    """How often a line says that the password was seen; padding says never."""
    suffix, _, count = line.strip().partition(":")
    return int(count) if suffix.upper() == rest and count.isascii() and count.isdigit() else 0
