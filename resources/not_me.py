"""Where "this was not me" in a notice leads."""

from typing import ClassVar, Literal

from pydantic import Field

import config
from domain import remedies
from domain.caller import Client
from resources.base import Resource
from resources.shapes import Done, Page


class AccountSecured(Done):
    """Everything is signed out, and the password is void."""

    status: Literal["account_secured"] = "account_secured"
    page: ClassVar[str] = "account_secured"
    admin_email: str | None = Field(default=None, exclude=True)  # For the page only.


class NotMePage(Page):
    """A page with one button, the same for every token."""

    page: ClassVar[str] = "not_me"


class NotMe(Resource):
    """An owner says that somebody else did what a notice told."""

    def get(self, token: str) -> NotMePage:
        """Show the page; nothing changes."""
        return NotMePage()

    def post(self, token: str, client: Client) -> AccountSecured:
        """End every session and device, and mail a link for a new password."""
        remedies.not_me(token, client)
        return AccountSecured(admin_email=config.settings.ADMIN_EMAIL or None)
