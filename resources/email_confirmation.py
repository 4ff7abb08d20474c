"""Confirm an address: by the mail's link, or by its code."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from domain import sign_up
from domain.caller import Client
from resources import base
from resources.base import Resource
from resources.shapes import Accepted, Asked, Body, Code, Done, Email, Page


class Confirmed(Done):
    """The account is there."""

    status: Literal["confirmed"] = "confirmed"
    page: ClassVar[str] = "confirmed"
    private: ClassVar[bool] = True
    signed_up_at: datetime | None = Field(default=None, exclude=True)  # These two are for the page only.
    ip: str | None = Field(default=None, exclude=True)


class ConfirmPage(Page):
    """A page with one button, the same for every token: following a link changes nothing (mail scanners do that)."""

    page: ClassVar[str] = "confirm"


class ConfirmIn(Body):
    """The six digits of the mail."""

    guesses: ClassVar[bool] = True
    email: Email
    code: Code


class EmailIn(Asked):
    """An address."""

    email: Email


class ConfirmLink(Resource):
    """The address that the mail's link leads to."""

    def get(self, token: str, client: Client) -> Confirmed | ConfirmPage:
        """Show the page; a program that asks for JSON confirms at once."""
        return self.post(token, client) if base.asks_for_json() else ConfirmPage()

    def post(self, token: str, client: Client) -> Confirmed:
        """Make the account."""
        attempt = sign_up.confirm_link(token, client)
        return Confirmed(signed_up_at=attempt.created_at, ip=attempt.ip) if attempt else Confirmed()


class ConfirmCode(Resource):
    """Confirm without leaving the app: by the code of the same mail."""

    def post(self, body: ConfirmIn, client: Client) -> Confirmed:
        """Make the account."""
        sign_up.confirm_code(body.email, body.code, client)
        return Confirmed()


class ResendConfirmation(Resource):
    """Have the mail sent again."""

    def post(self, body: EmailIn) -> Accepted:
        """Mail the newest open attempt of the address again; the answer is the same if there is none."""
        sign_up.resend(body.email)
        return Accepted()
