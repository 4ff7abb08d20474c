"""The users, for administrators: see them, invite, change, remove, and end what runs."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from domain import accounts, administration
from domain.caller import Caller
from model import User
from resources import users
from resources.base import Resource
from resources.profile import Metadata
from resources.sessions import RevokedOut
from resources.shapes import Accepted, Done, Email, Given, ListQuery, Name, Out, Proof
from resources.users import UserOut

Status = Literal["active", "inactive"]


class AdminUserOut(UserOut):
    """A user as administrators see one. `invited_at` is set while an invitation waits: nobody has proven the mailbox yet. `erase_at` is
    set while an account waits to be erased, as its owner asked; it is inactive then, and to make it active calls that off.
    """

    invited_at: datetime | None
    erase_at: datetime | None
    app_metadata: dict[str, Any] | None


class InvitedOut(AdminUserOut):
    """The user who was invited."""

    http_status: ClassVar[int] = 201


class AdminUsersOut(Out):
    """A part of the users, the newest first."""

    users: list[AdminUserOut]
    next_cursor: str | None


class Unlocked(Done):
    """The failed attempts are forgotten."""

    status: Literal["unlocked"] = "unlocked"


class AdminUsersQuery(ListQuery):
    """Which users are asked for."""

    email: Annotated[Email | None, Field(description="The user with this address, in any spelling.")] = None
    status: Status | None = None


class Invite(Proof):
    """Whom to invite."""

    email: Email
    name: Given[Name] = None


class ChangeUser(Proof):
    """What is to change: only the fields that are sent do. `app_metadata` is replaced as a whole."""

    status: Given[Annotated[Status, Field(examples=["active"])]] = None
    name: Given[Name] = None
    app_metadata: Given[Metadata] = None

    def changes(self) -> dict[str, Any]:
        """The columns to change."""
        return self.model_dump(exclude_unset=True, exclude={"current_password"})


class AdminUsers(Resource):
    """The users."""

    def get(self, query: AdminUsersQuery) -> AdminUsersOut:
        """List them, the newest first."""
        part = administration.listed(query.window, email=query.email, status=query.status)
        return AdminUsersOut(users=[AdminUserOut(**_shown(one)) for one in part.rows], next_cursor=part.next_cursor)

    def post(self, body: Invite, caller: Caller) -> InvitedOut:
        """Invite somebody: an account without a password, and a mail with a link to set one."""
        return InvitedOut(**_shown(administration.invite(caller, body.email, body.name)))


class _OfAUser(Resource):
    """What has a user's id in its path."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Any user's id."""
        accounts.get(parts["id"])


class AdminUser(_OfAUser):
    """One of the users."""

    def get(self, id: str) -> AdminUserOut:  # noqa: A002 - As the path names it.
        """Show one."""
        return AdminUserOut(**_shown(accounts.get(id)))

    def patch(self, body: ChangeUser, caller: Caller, id: str) -> AdminUserOut:  # noqa: A002
        """Change what is sent, all of it or nothing. Who becomes inactive is out at once; active again, they may sign in."""
        return AdminUserOut(**_shown(administration.change(caller, id, body.changes())))

    def delete(self, body: Proof, caller: Caller, id: str) -> None:  # noqa: A002
        """Delete the account, and erase at once what is held on its owner."""
        administration.remove(caller, id)


class AdminUnlock(_OfAUser):
    """The failed attempts on an account."""

    def post(self, body: Proof, caller: Caller, id: str) -> Unlocked:  # noqa: A002
        """Forget them."""
        administration.unlock(caller, id)
        return Unlocked()


class AdminResetPassword(_OfAUser):
    """A new password for somebody, which nobody but they will know."""

    def post(self, body: Proof, caller: Caller, id: str) -> Accepted:  # noqa: A002
        """End the sessions, and mail a link to set one; who is still invited gets the invitation anew."""
        administration.reset_password(caller, id)
        return Accepted()


class AdminSessions(_OfAUser):
    """Somebody's sessions."""

    def delete(self, body: Proof, caller: Caller, id: str) -> RevokedOut:  # noqa: A002
        """End them all."""
        return RevokedOut(revoked=administration.end_sessions(caller, id))


class AdminMfa(_OfAUser):
    """Somebody's second factors."""

    def delete(self, body: Proof, caller: Caller, id: str) -> None:  # noqa: A002
        """Turn them off for who has lost them; the owner is told."""
        administration.reset_factors(caller, id)


def _shown(user: User) -> dict[str, Any]:
    return users.shown(user) | {"invited_at": user.invited_at, "erase_at": user.erase_at, "app_metadata": user.app_metadata}
