"""Sign in, sign out, and prove again that it is you."""

from flask import Response

from domain import accounts, login, sessions
from domain.caller import Caller, Client
from resources import credentials, sign_in
from resources.base import Resource
from resources.shapes import Body, Code, Done, Email, Given, Out, Password, Token, Username
from resources.sign_in import PendingOut, TokensOut
from resources.users import UserOut


class LoginByEmail(Body):
    """An address and a password."""

    email: Email
    password: Password
    cookies: Given[bool] = None
    captcha: Given[Token] = None


class LoginByUsername(Body):
    """A username and a password."""

    username: Username
    password: Password
    cookies: Given[bool] = None
    captcha: Given[Token] = None


class SignedOut(Done):
    """The session is over, everywhere."""

    status: str = "signed_out"

    def finish(self, response: Response) -> None:
        """Clear the cookies."""
        credentials.take_away(response)


class Status(Out):
    """Whether somebody is signed in, and who."""

    authenticated: bool
    user: UserOut | None = None

    def encoded(self) -> str:
        """Without `user` where nobody is."""
        return self.model_dump_json(exclude=None if self.user else {"user"})


class ByPassword(Body):
    """Step up by the password, on an account without a factor."""

    password: Password


class ByFactor(Body):
    """Step up by a factor."""

    method: Code
    code: Code


class Login(Resource):
    """Trade a name and a password for a session, or for a ticket to the next step."""

    def post(self, body: LoginByEmail | LoginByUsername, client: Client) -> TokensOut | PendingOut:
        """Sign in."""
        identifier = body.email if isinstance(body, LoginByEmail) else body.username
        return sign_in.answer(login.begin(identifier, body.password.get_secret_value(), client), cookies=body.cookies)


class Logout(Resource):
    """End the session whose token this is."""

    def post(self, caller: Caller) -> SignedOut:
        """Sign out."""
        sessions.end(caller.session_id)
        return SignedOut()

    def get(self, caller: Caller) -> SignedOut:
        """The same for clients of an earlier system, by header only: a link must not sign anybody out."""
        return self.post(caller)


class AuthStatus(Resource):
    """Is anybody signed in? Never refused, never counted, and no activity of the session."""

    def get(self, caller: Caller | None) -> Status:
        """Say who."""
        return Status(authenticated=True, user=UserOut.of(accounts.get(caller.user_id))) if caller else Status(authenticated=False)


class Reauthenticate(Resource):
    """Prove again that it is you: the same session, a new auth_time."""

    def post(self, body: ByPassword | ByFactor, caller: Caller) -> TokensOut:
        """Step up, by whichever proof came."""
        if isinstance(body, ByPassword):
            return TokensOut.of(login.reauthenticate(caller, password=body.password.get_secret_value()))
        return TokensOut.of(login.reauthenticate(caller, method=body.method, code=body.code))
