"""A service that verifies CAPTCHAs, of the shape that reCAPTCHA's `siteverify` has, and hCaptcha's and Turnstile's too.

It is asked once, its whole answer is waited for SECONDS, certificates are checked, and no redirect is followed: the secret goes
to the address that was configured and nowhere else. What is not plainly a verdict is none.
"""

from typing import Any

import requests

from outbound import discovery

SECONDS = 5  # For the whole answer: somebody waits for it.
OURS = {"missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch"}  # What it says where the fault is on our side.


class Away(Exception):
    """The service did not answer, or not with a verdict. The words hold neither the secret nor the visitor's answer."""


def passes(url: str, secret: str, answer: str, ip: str | None) -> bool:
    """Whether the service at `url` says that this answer of a visitor's is right; `Away`."""
    sent = {"secret": secret, "response": answer} | ({"remoteip": ip} if ip else {})
    try:
        with discovery.over_wire(requests.Session(), SECONDS) as session:
            got = session.post(url, data=sent, headers={"User-Agent": "Gatehouse"}, allow_redirects=False)
        verdict = got.json() if got.status_code in (200, 400) else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise Away(type(error).__name__) from None
    success = verdict.get("success") if isinstance(verdict, dict) else None
    if not isinstance(success, bool):
        raise Away(f"answers {got.status_code}, and no verdict")
    if not success and (why := OURS & _codes(verdict)):
        raise Away(f"refuses our request: {', '.join(sorted(why))}")
    return success


def _codes(verdict: Any) -> set[str]:
    """Why it says no, by its own words."""
    codes = verdict.get("error-codes")
    return {code for code in codes if isinstance(code, str)} if isinstance(codes, list) else set()
