"""One's own data: to take along, to have erased, and to keep after all."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from flask import Response
from pydantic import Field

from domain import clock, deletion, exports
from domain.caller import Caller, Client
from resources.base import Resource
from resources.shapes import Accepted, Done, Out, Page, Proof

Rows = list[dict[str, Any]]


class PictureOut(Out):
    """A file."""

    content_type: Annotated[str, Field(examples=["image/webp"])]
    data: Annotated[str, Field(description="Base64.")]


class ExportOut(Out):
    """What each table holds on the caller, by the names of its columns. Times are in UTC; what ends in `_epoch` is seconds since 1970.

    `links` holds an address that is yet to be confirmed, `sign_ups` where the sign-up came from, `events` the audit trail.
    """

    exported_at: datetime
    profile: dict[str, Any]
    picture: PictureOut | None
    identities: Rows
    roles: Rows
    factors: Rows
    recovery_codes: Rows
    passkeys: Rows
    sessions: Rows
    devices: Rows
    api_keys: Rows
    application_tokens_made: Rows
    events: Rows
    alerts: Rows
    sign_ups: Rows
    links: Rows
    codes: Rows
    pending_sign_ins: Rows
    visits_to_providers: Rows
    mails: Rows
    failed_tries: Rows

    def finish(self, response: Response) -> None:
        """A browser keeps it as a file."""
        response.headers["Content-Disposition"] = 'attachment; filename="gatehouse-export.json"'


class AccountRestored(Done):
    """The deletion is called off."""

    status: Literal["account_restored"] = "account_restored"
    page: ClassVar[str] = "account_restored"


class RestorePage(Page):
    """A page with one button, the same for every token."""

    page: ClassVar[str] = "restore"


class Export(Resource):
    """Everything that is held on the caller."""

    def get(self, caller: Caller) -> ExportOut:
        """Take it along, but for secrets (GDPR art. 15 and 20)."""
        return ExportOut(exported_at=clock.now(), **exports.export(caller))


class Deletion(Resource):
    """The caller's account, and all that is held on them."""

    def delete(self, body: Proof, caller: Caller) -> Accepted:
        """Have it erased (GDPR art. 17): nobody signs in from now on, and after ACCOUNT_DELETION_DAYS everything is erased, unless the
        mailed link calls it off.
        """
        deletion.request(caller)
        return Accepted()


class Restore(Resource):
    """An account that waits to be erased."""

    def get(self, token: str) -> RestorePage:
        """Show the page; nothing changes."""
        return RestorePage()

    def post(self, token: str, client: Client) -> AccountRestored:
        """Call the deletion off: its owner can sign in again. Sessions, devices and keys stay ended."""
        deletion.restore(token, client)
        return AccountRestored()
