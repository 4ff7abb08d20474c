"""Owners are told before a key ends, once; keys that nobody uses are ended."""

from datetime import timedelta

import pytest
from sqlalchemy import select

import config
from domain import clock, database, expired, key_ends
from domain.database import new_id, reading, transaction
from model import ApiKey, AppToken, AuditEvent, Base, Mail, Service, User
from tests import databases


@pytest.fixture(autouse=True)
def user(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        now = clock.now()
        add(
            User(id="u", email="jo@example.com", status="active", mfa_enabled=False, created_at=now, email_confirmed_at=now),
            Service(id="s", name="s", is_active=True, created_at=now),
        )
        yield


def add(*rows):
    with transaction() as db:
        db.add_all(rows)


def key(ends_in, **more):
    """A key that ends in so many days; its id."""
    made = {"id": new_id(), "key_hash": new_id(), "last8": "12345678", "scopes": [], "use_count": 0, "created_at": clock.now()}
    add(ApiKey(**{**made, "user_id": "u", "expires_at": clock.now() + timedelta(days=ends_in), **more}))
    return made["id"]


def column(which):
    with reading() as db:
        return db.scalars(select(which)).all()


def test_an_owner_is_told_once_of_each_key_that_ends_soon():
    key(6.9)
    key(7.1)
    key(3, revoked_at=clock.now())
    key(-1)
    key(3, warned_at=clock.now())
    assert (key_ends.warn(dry_run=True), column(Mail.template)) == (1, [])
    assert (key_ends.warn(), key_ends.warn()) == (1, 0)
    assert column(Mail.template) == ["key_ends"]


def test_an_owner_who_is_out_is_told_nothing():
    key(3)
    with transaction() as db:
        db.get(User, "u").status = "inactive"
    assert key_ends.warn() == 0


def test_keys_that_nobody_uses_are_ended_where_that_is_asked_for(monkeypatch):
    old = clock.now() - timedelta(days=31)
    never, long_ago = key(60, created_at=old), key(60, created_at=old, last_used_at=clock.now() - timedelta(days=30, seconds=1))
    key(60)
    key(60, created_at=old, last_used_at=clock.now() - timedelta(days=29))
    assert key_ends.end_unused() == 0
    monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"KEY_UNUSED_DAYS": 30}))
    assert key_ends.end_unused(dry_run=True) == 2
    assert (key_ends.end_unused(), key_ends.end_unused()) == (2, 0)
    with reading() as db:
        assert set(db.scalars(select(ApiKey.id).where(ApiKey.revoked_at.is_not(None)))) == {never, long_ago}
        events = db.scalars(select(AuditEvent).where(AuditEvent.action == "key.ended")).all()
    assert {(one.actor, one.user_id, one.facts["key"]) for one in events} == {("system", "u", never), ("system", "u", long_ago)}


def test_what_ended_long_ago_is_deleted():
    long_ago = clock.now() - timedelta(days=expired.KEEP_CREDENTIALS_DAYS + 1)
    kept = {key(1), key(-1), key(1, revoked_at=clock.now())}
    key(-expired.KEEP_CREDENTIALS_DAYS - 1)
    key(1, revoked_at=long_ago)
    for ended in ({"expires_at": long_ago}, {"revoked_at": long_ago}, {}):
        made = {"id": new_id(), "token_hash": new_id(), "last8": "12345678", "name": "n", "scopes": [], "use_count": 0}
        add(AppToken(**made, service_id="s", created_at=long_ago, **ended))
    assert expired.purge(dry_run=True) == 4
    assert expired.purge() == 4
    assert set(column(ApiKey.id)) == kept
    assert len(column(AppToken.id)) == 1
