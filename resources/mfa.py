"""Second factors: list, turn on, name, turn off."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain import enrolment, login, mfa
from domain.caller import Caller, Client
from domain.enrolment import Applicant, Enabled, Setup
from resources import sign_in
from resources.base import Resource
from resources.shapes import Body, Code, Cookies, Done, Given, Method, Out, Password, Token
from resources.sign_in import WithCookies, WithTokens

Phone = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32), Field(examples=["+436641234567"])]
FactorName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class Sensitive(Body):
    """A change that asks for a recent sign-in; on an account without a factor the password stands for it."""

    current_password: Given[Password] = None


class Enrolling(Sensitive):
    """A factor that is to be turned on; on the way in with the `mfa_token` of the sign-in that asks for one."""

    mfa_token: Given[Token] = None


class StartTotp(Enrolling):
    """Begin with an authenticator app."""

    name: Given[FactorName] = None


class StartSent(Enrolling):
    """Begin with codes by mail, or by text message to `phone`."""

    method: Literal["email", "sms"]
    phone: Given[Phone] = None


class Prove(Enrolling):
    """The first code that the app shows, or with `method` the one that was sent; on the way in it gives tokens too."""

    code: Code
    method: Given[Literal["email", "sms"]] = None
    cookies: Given[Cookies] = None


class WithCode(Sensitive):
    """A code of a factor that is on: TOTP, unless `method` says otherwise."""

    code: Code
    method: Given[Method] = None


class Rename(Sensitive):
    """Another name for a factor."""

    name: FactorName


class Nothing(Sensitive):
    """No field is needed."""


class FactorOut(Out):
    """A factor that is on."""

    id: str
    type: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class FactorsOut(Out):
    """The factors that are on."""

    enabled: bool
    methods: list[FactorOut]
    recovery_codes_left: int


class SetupOut(Out):
    """What an authenticator app needs: shown once, and of no use before the first code has come."""

    status: Literal["setup"] = "setup"
    secret: str
    otpauth_uri: str
    qr_code: str

    @classmethod
    def of(cls, setup: Setup) -> "SetupOut":
        """This setup."""
        return cls(secret=setup.secret, otpauth_uri=setup.uri, qr_code=setup.qr_code)


class EnabledOut(Out):
    """The factor is on. Recovery codes come with the first one, this once."""

    status: Literal["enabled"] = "enabled"
    recovery_codes: list[str]


class EnrolledOut(WithTokens):
    """The factor is on, and the sign-in that asked for it is done."""

    status: Literal["enabled"] = "enabled"
    recovery_codes: list[str]


class EnrolledByCookiesOut(WithCookies):
    """The same, with the tokens in HttpOnly cookies."""

    status: Literal["enabled"] = "enabled"
    recovery_codes: list[str]


On = EnabledOut | EnrolledOut | EnrolledByCookiesOut


class CodesOut(Out):
    """A new set of recovery codes, shown this once."""

    status: Literal["created"] = "created"
    recovery_codes: list[str]


class CodeSent(Done):
    """A code is on its way."""

    status: Literal["code_sent"] = "code_sent"


class Changed(Done):
    """The factors are as was asked."""

    status: Literal["renamed", "removed", "disabled"]


class Mfa(Resource):
    """The caller's second factors."""

    def get(self, caller: Caller) -> FactorsOut:
        """List them."""
        found = mfa.overview(caller.user_id)
        shown = [FactorOut(**{name: getattr(one, name) for name in FactorOut.model_fields}) for one in found.factors]
        return FactorsOut(enabled=bool(shown), methods=shown, recovery_codes_left=found.recovery_codes_left)

    def post(self, body: StartTotp | StartSent | Prove, caller: Caller | None, client: Client) -> SetupOut | CodeSent | On:
        """Begin with a factor, or prove it."""
        who = caller or Applicant(body.mfa_token or "", client)
        match body:
            case StartTotp():
                return SetupOut.of(enrolment.start_totp(who, body.name))
            case StartSent():
                enrolment.start_sent(who, body.method, body.phone)
                return CodeSent()
            case Prove():
                return _on(enrolment.prove(who, body.method or "totp", body.code), cookies=body.cookies)

    def delete(self, body: WithCode, caller: Caller) -> Changed:
        """Turn all of them off, against a code of one."""
        login.prove_factor(caller, body.method or "totp", body.code)
        mfa.remove_all(caller)
        return Changed(status="disabled")


def _on(enabled: Enabled, *, cookies: bool | None) -> On:
    """What a proof gives: recovery codes, and on the way in the tokens."""
    if enabled.grant is None:
        return EnabledOut(recovery_codes=enabled.recovery_codes)
    return sign_in.carry(enabled.grant, EnrolledOut, EnrolledByCookiesOut, cookies=cookies, recovery_codes=enabled.recovery_codes)


class MfaFactor(Resource):
    """One factor."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """It has to be one of the caller's."""
        assert caller is not None
        mfa.find(caller, parts["id"])

    def patch(self, body: Rename, caller: Caller, id: str) -> Changed:  # noqa: A002 - As the path names it.
        """Name it."""
        mfa.rename(caller, id, body.name)
        return Changed(status="renamed")

    def delete(self, body: Nothing, caller: Caller, id: str) -> Changed:  # noqa: A002 - As the path names it.
        """Turn it off."""
        mfa.remove(caller, id)
        return Changed(status="removed")


class RecoveryCodes(Resource):
    """The codes for the day the factor is lost."""

    def post(self, body: WithCode, caller: Caller) -> CodesOut:
        """A new set, against a code; the old set is dead."""
        login.prove_factor(caller, body.method or "totp", body.code)
        return CodesOut(recovery_codes=mfa.renew_recovery_codes(caller))
