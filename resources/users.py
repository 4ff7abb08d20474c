"""How a user is shown."""

from datetime import datetime
from typing import Any

import config
from domain.cards import Profile
from model import User
from resources.shapes import Out

PICTURES = "/uploads/profile_pictures/"


class UserOut(Out):
    """A user, as that user and administrators see one."""

    id: str
    email: str
    email_confirmed: bool
    username: str | None
    name: str | None
    picture_url: str | None
    mfa_enabled: bool
    status: str
    created_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User | Profile) -> "UserOut":
        """This user."""
        return cls(**shown(user))


def shown(user: User | Profile) -> dict[str, Any]:
    """The values of `UserOut`'s fields."""
    return {
        "id": user.id,
        "email": user.email,
        "email_confirmed": user.invited_at is None,
        "username": user.username,
        "name": user.name,
        "picture_url": f"{config.settings.BASE_URL}{PICTURES}{user.picture}" if user.picture else None,
        "mfa_enabled": user.mfa_enabled,
        "status": user.status,
        "created_at": user.created_at,
        "last_login_at": user.last_login_at,
    }
