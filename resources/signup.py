"""Sign up."""

from typing import ClassVar, Literal

from domain import sign_up
from domain.caller import Client
from resources.base import Resource
from resources.shapes import Asked, Done, Email, Given, Name, Password, Username


class SignUpIn(Asked):
    """What an account needs."""

    email: Email
    password: Password
    username: Given[Username] = None
    name: Given[Name] = None


class ConfirmationSent(Done):
    """The same whatever the address has."""

    http_status: ClassVar[int] = 201
    status: Literal["confirmation_sent"] = "confirmation_sent"


class SignUp(Resource):
    """Ask for an account: a mail goes to the address, and only what it holds makes the account."""

    def post(self, body: SignUpIn, client: Client) -> ConfirmationSent:
        """Store the attempt and mail its link and code."""
        sign_up.begin(body.email, body.password.get_secret_value(), client, username=body.username, name=body.name)
        return ConfirmationSent()
