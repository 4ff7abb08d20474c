"""Second factors: list, turn on, name, turn off."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from domain import login, mfa
from domain.caller import Caller, Client
from domain.mfa import Setup
from resources.base import Resource
from resources.shapes import Body, Code, Done, Given, Method, Out, Password

FactorName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class Sensitive(Body):
    """A change that asks for a recent sign-in; on an account without a factor the password stands for it."""

    current_password: Given[Password] = None


class StartTotp(Sensitive):
    """Begin with an authenticator app."""

    name: Given[FactorName] = None


class ProveTotp(Sensitive):
    """The first code that the app shows."""

    code: Code


class StartEmail(Sensitive):
    """Begin with codes by mail."""

    method: Literal["email"]


class ProveEmail(Sensitive):
    """The code that was mailed."""

    method: Literal["email"]
    code: Code


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

    def post(
        self, body: StartTotp | ProveTotp | StartEmail | ProveEmail, caller: Caller, client: Client
    ) -> SetupOut | EnabledOut | CodeSent:
        """Begin with a factor, or prove it."""
        match body:
            case StartTotp():
                return SetupOut.of(mfa.start_totp(caller, body.name))
            case ProveTotp():
                return EnabledOut(recovery_codes=mfa.prove_totp(caller, body.code, client))
            case StartEmail():
                mfa.start_email(caller)
                return CodeSent()
            case ProveEmail():
                return EnabledOut(recovery_codes=mfa.prove_email(caller, body.code, client))

    def delete(self, body: WithCode, caller: Caller, client: Client) -> Changed:
        """Turn all of them off, against a code of one."""
        login.prove_factor(caller, body.method or "totp", body.code)
        mfa.remove_all(caller, client)
        return Changed(status="disabled")


class MfaFactor(Resource):
    """One factor."""

    def patch(self, body: Rename, caller: Caller, id: str) -> Changed:  # noqa: A002 - As the contract names it.
        """Name it."""
        mfa.rename(caller, id, body.name)
        return Changed(status="renamed")

    def delete(self, body: Nothing, caller: Caller, client: Client, id: str) -> Changed:  # noqa: A002 - As the contract names it.
        """Turn it off."""
        mfa.remove(caller, id, client)
        return Changed(status="removed")


class RecoveryCodes(Resource):
    """The codes for the day the factor is lost."""

    def post(self, body: WithCode, caller: Caller) -> CodesOut:
        """A new set, against a code; the old set is dead."""
        login.prove_factor(caller, body.method or "totp", body.code)
        return CodesOut(recovery_codes=mfa.renew_recovery_codes(caller))
