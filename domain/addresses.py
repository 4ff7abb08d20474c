"""E-mail addresses and usernames have one canonical form each, the same in every database (CVE-2019-19844).

The local part is ASCII in lower case: look-alikes of other scripts can't stand for it. The domain is an A-label
(RFC 5890) in lower case. What a person typed and what is stored differ at most in case and in the domain's script.
"""

import re

import email_validator
from email_validator import EmailNotValidError, validate_email

email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()  # Test and house-internal domains are as good as any: mail decides.

USERNAME = re.compile(r"[a-z0-9._-]{3,32}")


def canonical(address: str) -> str:
    """The one form of an e-mail address; ValueError if it is none. Judged by form alone, without asking DNS."""
    if len(address) > 320 or any(character.isspace() or ord(character) < 32 for character in address):
        raise ValueError("is not an e-mail address")
    try:
        found = validate_email(
            address, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False, allow_quoted_local=False
        )
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    if not found.ascii_email or len(found.ascii_email) > 254 or found.domain.endswith("."):
        raise ValueError("is not an e-mail address")
    return found.ascii_email.lower()


def canonical_username(name: str) -> str:
    """The one form of a username: 3 to 32 of `a-z 0-9 . _ -`, in lower case; so it never looks like an address."""
    lowered = name.lower() if name.isascii() else ""
    if not USERNAME.fullmatch(lowered):
        raise ValueError("is not 3 to 32 of a-z 0-9 . _ -")
    return lowered
