"""Permissions that somebody named before they became the server's own."""

from domain import clock, permissions
from domain.database import transaction
from domain.permissions import MEANINGS, Permission
from model import KnownPermission


def test_one_that_became_our_own_is_told_once_and_in_our_words(house):
    with transaction() as db:
        db.add(KnownPermission(name=Permission.USERS_READ, description=None, created_at=clock.now()))
        db.add(KnownPermission(name="notes:read", description=None, created_at=clock.now()))
    told = permissions.every()
    assert [one.name for one in told] == sorted([*Permission, "notes:read"])
    assert [one.description for one in told if one.name == Permission.USERS_READ] == [MEANINGS[Permission.USERS_READ]]
