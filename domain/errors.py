"""Every refusal, by name. The class name gives the `code` (where two kinds share one, it is said), the docstring the `title`,
the base class the kind.

Only the domain refuses; `resources/problems.py` alone knows which HTTP status a kind has.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Fault(NamedTuple):
    """One thing wrong with one field: `field` as it was sent, a stable `code`, a sentence."""

    field: str
    code: str
    message: str


class Refused(Exception):
    """The request was understood and is refused."""

    code: ClassVar[str] = "refused"

    def __init_subclass__(cls, code: str | None = None) -> None:
        cls.code = code or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[Fault] = (),
        retry_after: int | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.methods = methods

    @classmethod
    def title(cls) -> str:
        """The one sentence that describes this kind of refusal."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class Invalid(Refused):
    """The request is malformed or breaks a rule."""


class Unauthenticated(Refused):
    """No valid credential came with the request."""


class Forbidden(Refused):
    """The caller is known and may not do this."""


class NotFound(Refused):
    """There is no such thing, or it is not yours."""


class Conflict(Refused):
    """The request conflicts with the present state."""


class TooMany(Refused):
    """Too many requests."""


class Unavailable(Refused):
    """A part that is needed is away; try again shortly."""


# Malformed or refused.
class ValidationFailed(Invalid):
    """Some fields are not as they should be."""


class WeakPassword(Invalid):
    """The password is not acceptable."""


class LinkInvalid(Invalid):
    """This link is unknown, over, superseded, or made for something else."""


class TokenUsed(Invalid):
    """This link or code has done its work already."""


class MfaNotStarted(Invalid):
    """There is no second factor waiting to be proven."""


class EmailTaken(Invalid):
    """An account with this address exists."""


class UsernameTaken(Invalid):
    """This username is taken."""


class InvalidPicture(Invalid):
    """The file is not a picture that can be used."""


class RedirectNotAllowed(Invalid):
    """The address to return to is not on the list."""


class ProviderFailed(Invalid):
    """The identity provider's answer could not be used."""


class CaptchaRequired(Invalid):
    """Show that you are a person: GET /captcha says how, and the answer goes into the field captcha."""


class CaptchaFailed(Invalid):
    """The CAPTCHA's answer is wrong, over, or was used before."""


# Malformed or refused where services ask (RFC 6749 5.2, RFC 7009 2.2.1).
class InvalidRequest(Invalid):
    """A parameter is missing, wrong or there twice, or a client proves itself in two ways."""


class InvalidScope(Invalid):
    """A scope is asked for that the application token does not have."""


class UnauthorizedClient(Invalid):
    """This service may not do that with this token."""


class UnsupportedGrantType(Invalid):
    """The only grant here is client_credentials."""


class UnsupportedTokenType(Invalid):
    """A token of this kind is not ended here."""


# No or bad credentials.
class InvalidClient(Unauthenticated):
    """The service did not prove itself: by HTTP Basic, client_id and client_secret, or its application token."""


class InvalidCredentials(Unauthenticated):
    """The account or the password is wrong."""


class TokenMissing(Unauthenticated):
    """This operation needs a credential."""


class TokenInvalid(Unauthenticated):
    """The credential is not valid here."""


class TokenExpired(Unauthenticated):
    """The token is over."""


class TokenRevoked(Unauthenticated):
    """This key, or the session of this token, was ended."""


class SessionExpired(Unauthenticated):
    """The session has run out."""


class ReauthenticationRequired(Unauthenticated):
    """This operation asks for a recent sign-in."""


class MfaInvalidCode(Unauthenticated):
    """The code is wrong, used or over."""


class MfaTicketExpired(Unauthenticated):
    """This sign-in was not finished in time, or is finished; begin again."""


# Known, and not allowed.
class CsrfFailed(Forbidden):
    """The request came with a cookie and without its CSRF token."""


class AccountDisabled(Forbidden):
    """This account is disabled."""


class PasswordExpired(Forbidden):
    """This password is too old; ask for a new one by /forgot-password."""


class EmailNotConfirmed(Forbidden):
    """The address of this account is not confirmed yet."""


class SignUpClosed(Forbidden):
    """Accounts are made by invitation here, or not at all."""


class HttpsRequired(Forbidden):
    """This server is used over https only."""


# Conflicts.
class AddressTaken(Conflict, code="email_taken"):
    """An account with this address exists."""


class LastWayIn(Conflict):
    """This is the account's last way in."""


class LinkTaken(Conflict):
    """This identity belongs to another account, or the account has one of this provider."""


class NameTaken(Conflict):
    """This name is taken."""


class LastAdmin(Conflict):
    """Without this there would be no administrator, or no server, any more."""


class TooManyKeys(Conflict):
    """There are as many live keys as one user may have."""


class TooManyPasskeys(Conflict):
    """There are as many passkeys as one account may have."""


class JobRunning(Conflict):
    """This job is running in another process."""


# Too many.
class RateLimited(TooMany):
    """Too many requests; slow down."""


class TooManyAttempts(TooMany):
    """Too many failed attempts; wait before the next one."""
