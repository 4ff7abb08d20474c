"""Time-based one-time passwords (RFC 6238): thirty-second steps, six digits, SHA-1, as every authenticator app has them.

pyotp accepts the same code again and in any script's digits, so the step that was used is what counts: a code is accepted
for the present step, the one before or the one after, and never for a step at or before the last one used.
"""

import hmac
import unicodedata

import pyotp
import segno
from sqlalchemy import update
from sqlalchemy.orm import Session as Database

import config
from domain import clock, secrets
from domain.database import changed
from model import Factor, User

STEP_SECONDS = 30
WINDOW = (-1, 0, 1)


def new_secret() -> str:
    """A secret of 160 bits in base 32 (RFC 4226 R6)."""
    return pyotp.random_base32()


def canonical_secret(text: str) -> str:
    """The one form of a secret that comes from elsewhere; ValueError if it is not base 32, or under 112 bits (RFC 4226 R6 says 128)."""
    secret = "".join(text.split()).upper().rstrip("=")
    try:
        pyotp.TOTP(secret).generate_otp(0)
    except ValueError:
        raise ValueError("is not base 32 of 112 bits or more") from None
    return secret


def uri(secret: str, user: User) -> str:
    """The otpauth URI that an authenticator app reads."""
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=_issuer())


def qr_code(uri: str) -> str:
    """The URI as a picture: a data URI with an SVG."""
    return str(segno.make(uri, error="m").svg_data_uri(scale=4))


def accept(db: Database, factor: Factor, code: str) -> bool:
    """Whether the code is right for this factor now, and take its time step: of many with the same code, one gets it."""
    secret = secrets.opened(factor.secret_encrypted or b"")
    step = _step_of(secret, plain_digits(code)) if secret else None
    if step is None:
        return False
    take = update(Factor).where(Factor.id == factor.id, Factor.last_step < step)
    return changed(db, take.values(last_step=step, last_used_at=clock.now())) == 1


def plain_digits(code: str) -> str:
    """The code in ASCII digits without blanks; a digit of any script is the digit that it looks like."""
    return "".join(unicodedata.normalize("NFKC", code).split())


def _step_of(secret: str, code: str) -> int | None:
    """Which of the acceptable steps this is the code of; the newest, if of several."""
    now = clock.epoch() // STEP_SECONDS
    made = pyotp.TOTP(secret)
    right = [now + offset for offset in WINDOW if _same(made.generate_otp(now + offset), code)]
    return max(right, default=None)


def _same(right: str, given: str) -> bool:
    return hmac.compare_digest(right.encode(), given.encode("utf-8", "surrogatepass"))


def _issuer() -> str:
    return config.settings.BASE_URL.split("://")[-1].split(":")[0] if config.settings.https else "Gatehouse"
