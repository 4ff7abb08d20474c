"""Sign in, sign out, and prove again that it is you."""

from typing import ClassVar, Literal

from flask import Response

from domain import cards, login, sessions
from domain.caller import Caller, Client
from resources import credentials, sign_in
from resources.base import Resource
from resources.shapes import Asked, Body, Code, Cookies, Done, Email, Given, Method, Out, Password, Username
from resources.sign_in import Tokens, Waiting
from resources.users import UserOut


class LoginByEmail(Asked):
    """An address and a password."""

    guesses: ClassVar[bool] = True
    email: Email
    password: Password
    cookies: Given[Cookies] = None


class LoginByUsername(Asked):
    """A username and a password."""

    guesses: ClassVar[bool] = True
    username: Username
    password: Password
    cookies: Given[Cookies] = None


class SignedOut(Done):
    """The session is over, everywhere."""

    status: Literal["signed_out"] = "signed_out"

    def finish(self, response: Response) -> None:
        """Clear the cookies."""
        credentials.take_away(response)


class Somebody(Out):
    """Who is signed in."""

    authenticated: Literal[True] = True
    user: UserOut


class Nobody(Out):
    """Nobody is signed in."""

    authenticated: Literal[False] = False


class ByPassword(Body):
    """Step up by the password, on an account without a factor."""

    password: Password


class ByFactor(Body):
    """Step up by a factor."""

    method: Method
    code: Code


class Login(Resource):
    """Trade a name and a password for a session, or for a ticket to the next step."""

    def post(self, body: LoginByEmail | LoginByUsername, client: Client) -> Tokens | Waiting:
        """Sign in."""
        identifier = body.email if isinstance(body, LoginByEmail) else body.username
        return sign_in.answer(login.begin(identifier, body.password.get_secret_value(), client), cookies=body.cookies)


class Logout(Resource):
    """End the session whose token this is."""

    def post(self, caller: Caller) -> SignedOut:
        """Sign out."""
        sessions.end(caller)
        return SignedOut()

    def get(self, caller: Caller) -> SignedOut:
        """The same for clients of an earlier system, by header only: a link must not sign anybody out."""
        return self.post(caller)


class AuthStatus(Resource):
    """Is anybody signed in? Never refused, never counted, and no activity of the session."""

    def get(self, caller: Caller | None) -> Somebody | Nobody:
        """Say who."""
        return Somebody(user=UserOut.of(cards.profile(caller))) if caller else Nobody()


class Reauthenticate(Resource):
    """Prove again that it is you: the same session, a new auth_time."""

    def post(self, body: ByPassword | ByFactor, caller: Caller) -> Tokens:
        """Step up, by whichever proof came."""
        if isinstance(body, ByPassword):
            return sign_in.tokens_of(login.reauthenticate(caller, password=body.password.get_secret_value()))
        return sign_in.tokens_of(login.reauthenticate(caller, method=body.method, code=body.code))
