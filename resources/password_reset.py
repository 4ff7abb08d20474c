"""A new password: forgotten, by a mailed link, or changed in a running session."""

from typing import ClassVar, Literal

from domain import password_reset, strength
from domain.caller import Caller, Client
from resources.base import Resource
from resources.email_confirmation import EmailIn
from resources.shapes import FORM, JSON, Accepted, Body, Done, Given, Out, Page, Password, Token


class NewPassword(Body):
    """The password to be, from a program or from the page's form."""

    media_types: ClassVar[tuple[str, ...]] = (JSON, FORM)
    password: Password


class ResetIn(Body):
    """The link's token and the password to be."""

    token: Token
    password: Password


class ChangeIn(Body):
    """The password as it is, where there is one, and as it shall be."""

    new_password: Password
    current_password: Given[Password] = None


class PasswordReset(Done):
    """The new password is set, and everything that was signed in is out."""

    status: Literal["password_reset"] = "password_reset"
    page: ClassVar[str] = "password_reset"


class PasswordChanged(Done):
    """The new password is set."""

    status: Literal["password_changed"] = "password_changed"


class ResetPage(Page):
    """A page that asks for the new password, the same for every token."""

    page: ClassVar[str] = "reset_password"
    min_length: int
    composition: list[str]


class Policy(Out):
    """The rules that a new password has to follow; lengths in code points. `min_score` is zxcvbn's, `breaches` whether a service
    for breached passwords is asked too; `composition`, `history` and `max_age_days` are empty or 0 where there is no such rule.
    """

    private: ClassVar[bool] = False
    min_length: int
    max_length: int
    min_score: int
    blocklist: bool
    own_words: bool
    breaches: bool
    composition: list[str]
    history: int
    max_age_days: int


class ForgotPassword(Resource):
    """Ask for a link to set a new password."""

    def post(self, body: EmailIn, client: Client) -> Accepted:
        """Mail the link if there is somebody to mail it to; the answer does not tell."""
        password_reset.forget(body.email, client)
        return Accepted()


class ResetPasswordLink(Resource):
    """The address that the mail's link leads to."""

    def get(self, token: str) -> ResetPage:
        """Show the page; nothing changes."""
        rules = strength.policy()
        return ResetPage(min_length=rules.min_length, composition=rules.composition)

    def post(self, token: str, body: NewPassword, client: Client) -> PasswordReset:
        """Set the password."""
        password_reset.reset(token, body.password.get_secret_value(), client)
        return PasswordReset()


class ResetPassword(Resource):
    """The same with the token in the body."""

    def post(self, body: ResetIn, client: Client) -> PasswordReset:
        """Set the password."""
        password_reset.reset(body.token, body.password.get_secret_value(), client)
        return PasswordReset()


class ChangePassword(Resource):
    """Another password for who is signed in."""

    def post(self, body: ChangeIn, caller: Caller) -> PasswordChanged:
        """Change it; the other sessions end."""
        current = body.current_password.get_secret_value() if body.current_password else None
        password_reset.change(caller, body.new_password.get_secret_value(), current)
        return PasswordChanged()


class PasswordPolicy(Resource):
    """What a password has to be like."""

    def get(self) -> Policy:
        """The rules in force."""
        return Policy(**strength.policy()._asdict())
