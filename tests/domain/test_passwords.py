"""What is acceptable where a service for breached passwords is asked, and hashes that are made anew."""

import hashlib
import logging

import pytest

import config
from domain import accounts, hashes, passwords, schema
from domain.database import reading
from domain.errors import WeakPassword
from tests import databases
from tests.breaches import OTHERS, serving

PASSWORD = "seven quiet lanterns"
DIGEST = hashlib.sha1(PASSWORD.encode()).hexdigest().upper()
EMAIL = "jo@example.com"


@pytest.fixture(autouse=True)
def house(tmp_path):
    with databases.connected(tmp_path):
        schema.upgrade()
        yield


@pytest.fixture
def service():
    with serving() as running:
        settings(PASSWORD_RANGE_URL=running.url)
        yield running


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


def codes(password):
    try:
        passwords.check(password)
    except WeakPassword as weak:
        return [fault.code for fault in weak.errors]
    return []


def test_a_breached_password_is_refused_beside_the_other_reasons(service):
    assert codes(PASSWORD) == []
    service.body = f"{OTHERS}{DIGEST[5:]}:12\r\n"
    assert codes(PASSWORD) == ["breached"]
    settings(PASSWORD_MIN_LENGTH=30)
    assert codes(PASSWORD) == ["too_short", "breached"]


def test_while_the_service_is_away_the_built_in_list_decides(service, caplog):
    service.status = 503
    with caplog.at_level(logging.WARNING):
        assert codes(PASSWORD) == []
        assert "common" in codes("Password1234")
    assert "PASSWORD_RANGE_URL" in caplog.text
    assert PASSWORD not in caplog.text
    assert DIGEST[:5] not in caplog.text


def test_nobody_is_asked_unless_it_is_set(service):
    settings(PASSWORD_RANGE_URL="")
    assert codes(PASSWORD) == []
    assert service.asked == []


def test_an_account_gets_the_hash_of_the_present_scheme():
    accounts.create(EMAIL, PASSWORD)
    settings(PASSWORD_SCHEME="scrypt", PASSWORD_PEPPER="a pepper")
    user = accounts.look_up(EMAIL)
    passwords.renew(user, PASSWORD)
    fresh = accounts.look_up(EMAIL)
    assert hashes.is_current(fresh.password_hash)
    assert passwords.verify(fresh.password_hash, PASSWORD)
    assert passwords.is_same(user, fresh)
    passwords.renew(fresh, PASSWORD)
    assert accounts.look_up(EMAIL).password_hash == fresh.password_hash


def test_a_hash_that_was_replaced_meanwhile_stays():
    accounts.create(EMAIL, PASSWORD)
    before = accounts.look_up(EMAIL)
    settings(BCRYPT_ROUNDS=5)
    with_new = accounts.look_up(EMAIL)
    passwords.renew(with_new, PASSWORD)
    kept = accounts.look_up(EMAIL).password_hash
    passwords.renew(before, "some other password")
    assert accounts.look_up(EMAIL).password_hash == kept


def test_a_password_that_was_taken_away_or_replaced_is_another():
    accounts.create(EMAIL, PASSWORD)
    before, now = accounts.look_up(EMAIL), accounts.look_up(EMAIL)
    assert passwords.is_same(before, now)
    now.password_hash = None
    assert not passwords.is_same(before, now)
    with reading() as db:
        now = accounts.find(db, EMAIL)
        now.password_changed_at = now.created_at.replace(year=2001)
        assert not passwords.is_same(before, now)
        db.expunge(now)
