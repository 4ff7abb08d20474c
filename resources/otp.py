"""Six-digit codes: have one sent, and give one."""

from typing import ClassVar, Literal

from domain import otp
from domain.caller import Caller, Client
from domain.errors import TokenMissing
from resources import sign_in
from resources.base import Resource
from resources.shapes import Accepted, Asked, Body, Code, Cookies, Email, Given, Method, Out, Token
from resources.sign_in import Tokens, Waiting


class SendForTicket(Body):
    """A code for a sign-in that waits for its second factor."""

    mfa_token: Token
    method: Method


class SendToSignIn(Asked):
    """A code to sign in with."""

    email: Email


class SendForStepUp(Body):
    """A code to prove again that it is you."""

    method: Method


class OtpSent(Out):
    """What goes with the code; the same whether or not the address has an account."""

    http_status: ClassVar[int] = 202
    status: Literal["accepted"] = "accepted"
    otp_token: str
    expires_in: int


class SecondFactor(Body):
    """The code that a sign-in waits for: its second factor, or the proof of its address."""

    guesses: ClassVar[bool] = True
    mfa_token: Token
    method: Method
    code: Code
    trust_device: Given[bool] = None
    cookies: Given[Cookies] = None


class MailedCode(Body):
    """The code of a mail that was asked for to sign in."""

    guesses: ClassVar[bool] = True
    otp_token: Token
    code: Code
    cookies: Given[Cookies] = None


class SendOtp(Resource):
    """Have a code sent: for the next step of a sign-in, to sign in without a password, or for step-up."""

    def post(self, body: SendForTicket | SendToSignIn | SendForStepUp, caller: Caller | None, client: Client) -> Accepted | OtpSent:
        """Send it; what was asked for shows from the fields."""
        match body:
            case SendForTicket():
                otp.send_for_ticket(body.mfa_token, body.method, client)
            case SendToSignIn():
                token, seconds = otp.send_to_sign_in(body.email)
                return OtpSent(otp_token=token, expires_in=seconds)
            case SendForStepUp():
                if caller is None:
                    raise TokenMissing
                otp.send_for_step_up(caller, body.method)
        return Accepted()


class VerifyOtp(Resource):
    """Give a code: the second factor of a sign-in, or the mailed code that is its first."""

    def post(self, body: SecondFactor | MailedCode, client: Client) -> Tokens | Waiting:
        """Go on with the sign-in."""
        if isinstance(body, MailedCode):
            return sign_in.answer(otp.sign_in(body.otp_token, body.code, client), cookies=body.cookies)
        outcome = otp.finish(body.mfa_token, body.method, body.code, client, trust=bool(body.trust_device))
        return sign_in.answer(outcome, cookies=body.cookies)
