"""Another address for the caller's account: asked for when signed in, done and undone by the links of mails."""

from typing import ClassVar, Literal

from domain import email_change, remedies
from domain.caller import Caller, Client
from resources.base import Resource
from resources.shapes import Accepted, Body, Done, Email, Given, Page, Password


class NewEmail(Body):
    """The address to be; the current password stands for a recent sign-in on an account without a factor."""

    email: Email
    current_password: Given[Password] = None


class EmailChanged(Done):
    """The account has its new address."""

    status: Literal["email_changed"] = "email_changed"
    page: ClassVar[str] = "email_changed"


class EmailRestored(Done):
    """The account has its old address again, everything is signed out, and the password is void."""

    status: Literal["email_restored"] = "email_restored"
    page: ClassVar[str] = "email_restored"


class ConfirmPage(Page):
    """A page with one button, the same for every token."""

    page: ClassVar[str] = "confirm_email_change"


class UndoPage(Page):
    """A page with one button, the same for every token."""

    page: ClassVar[str] = "undo_email_change"


class ProfileEmail(Resource):
    """The caller's address."""

    def post(self, body: NewEmail, caller: Caller) -> Accepted:
        """Mail a link to the new address; the answer is the same if somebody has it. Nothing changes before it is followed."""
        email_change.request(caller, body.email)
        return Accepted()


class ConfirmEmail(Resource):
    """Where the link in the new mailbox leads."""

    def get(self, token: str) -> ConfirmPage:
        """Show the page; nothing changes."""
        return ConfirmPage()

    def post(self, token: str, client: Client) -> EmailChanged:
        """Give the account its new address; the old one is told, and can undo it for seven days."""
        email_change.confirm(token, client)
        return EmailChanged()


class UndoEmail(Resource):
    """Where the link in the old mailbox leads."""

    def get(self, token: str) -> UndoPage:
        """Show the page; nothing changes."""
        return UndoPage()

    def post(self, token: str, client: Client) -> EmailRestored:
        """Bring the old address back, end every session and device, and mail a link for a new password."""
        remedies.undo(token, client)
        return EmailRestored()
