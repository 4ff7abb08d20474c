"""What is acceptable where a service for breached passwords is asked, and hashes that are made anew."""

import hashlib
import logging
from datetime import timedelta

import pytest
from sqlalchemy import select

import config
from domain import accounts, clock, hashes, passwords, schema
from domain.database import reading, transaction
from domain.errors import PasswordExpired, WeakPassword
from model import PasswordHistory, User
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


def test_nobody_is_asked_unless_it_is_set(service, caplog):
    settings(PASSWORD_RANGE_URL="")
    assert codes(PASSWORD) == []
    assert service.asked == []
    assert "PASSWORD_RANGE_URL" not in caplog.text


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


def test_whoever_is_asked_for_one_hash_of_the_present_kind_is_made(monkeypatch):
    """Of nobody, of a wrong password, of a right one: else the time would tell them apart."""
    settings(BCRYPT_ROUNDS=4)
    old = hashes.make(PASSWORD)
    settings(BCRYPT_ROUNDS=5)
    new, make, matches, work = hashes.make(PASSWORD), hashes.make, hashes.verify, []
    names = {old: "old", new: "new", hashes.nobody(): "nobody's"}
    monkeypatch.setattr(hashes, "make", lambda password: work.append("made") or make(password))
    monkeypatch.setattr(hashes, "verify", lambda stored, password: work.append(names[stored]) or matches(stored, password))

    def verdict(stored, password):
        work.clear()
        return passwords.verify(stored, password), *work

    assert verdict(new, PASSWORD) == (True, "new")
    assert verdict(new, "wrong") == (False, "new")
    assert verdict(None, PASSWORD) == verdict("", PASSWORD) == (False, "nobody's")
    assert verdict(old, "wrong") == (False, "old", "made")
    assert verdict(old, PASSWORD) == (True, "old"), "and `renew` makes the other"


def test_nobody_has_no_password_even_if_it_is_the_one_of_the_filler(monkeypatch):
    monkeypatch.setattr(hashes, "nobody", lambda: hashes.make(PASSWORD))
    assert passwords.verify(None, PASSWORD) is False


@pytest.mark.parametrize(
    ("days", "age", "expired"), [(0, 9999, False), (10, 10, True), (10, 9.999, False), (10, 11, True), (10, None, False)]
)
def test_a_password_is_good_for_its_days(days, age, expired, still_clock):
    still_clock()
    settings(PASSWORD_MAX_AGE_DAYS=days)
    now = clock.now()
    user = User(password_changed_at=None if age is None else now - timedelta(days=age))
    if expired:
        with pytest.raises(PasswordExpired):
            passwords.refuse_expired(user)
    else:
        passwords.refuse_expired(user)


def test_a_renewal_is_of_this_account_alone_and_of_a_password():
    user, social = accounts.create(EMAIL, PASSWORD), accounts.create("social@example.com")
    other = user.password_hash  # An import may have the same hash twice.
    accounts.create("other@example.com")
    with transaction() as db:
        accounts.find(db, "other@example.com").password_hash = other
    settings(BCRYPT_ROUNDS=5)
    passwords.renew(user, PASSWORD)
    passwords.renew(social, PASSWORD)
    assert accounts.look_up("other@example.com").password_hash == other
    assert accounts.look_up("social@example.com").password_hash is None
    assert accounts.look_up(EMAIL).password_changed_at == user.password_changed_at, "it is the same password"


def change(email, password):
    with transaction() as db:
        user = accounts.find(db, email)
        passwords.replace(db, user, passwords.hash(password))


def history():
    with reading() as db:
        return [(one.user_id, one.password_hash) for one in db.scalars(select(PasswordHistory).order_by(PasswordHistory.replaced_at))]


def test_a_change_is_of_this_account_alone_and_keeps_no_history_unless_it_is_set(monkeypatch):
    user, other = accounts.create(EMAIL, PASSWORD), accounts.create("other@example.com", PASSWORD)
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    change(EMAIL, "the next one")
    now = accounts.get(user.id)
    assert passwords.verify(now.password_hash, "the next one")
    assert now.password_changed_at == later
    assert (accounts.get(other.id).password_hash, accounts.get(other.id).password_changed_at) == (
        other.password_hash,
        other.password_changed_at,
    )
    assert history() == []
    assert codes_of(PASSWORD) == []
    assert "used_before" not in codes_of("the next one")


def codes_of(password, email=EMAIL, field="password"):
    try:
        passwords.check(password, user=accounts.look_up(email), field=field)
    except WeakPassword as weak:
        return [fault.code for fault in weak.errors if fault.field == field]
    return []


def test_so_many_earlier_ones_do_not_come_back_and_older_ones_are_forgotten(monkeypatch):
    settings(PASSWORD_HISTORY=2, BCRYPT_ROUNDS=4)
    user, moment = accounts.create(EMAIL, PASSWORD), clock.now()
    accounts.create("other@example.com", PASSWORD)
    chosen = [PASSWORD, *(f"quiet lanterns number {number}" for number in range(4))]
    change("other@example.com", "of somebody else's")
    for number, password in enumerate(chosen[1:], 1):
        monkeypatch.setattr(clock, "now", lambda number=number: moment + timedelta(minutes=number))
        change(EMAIL, password)
    assert [codes_of(one, field="new_password") for one in chosen] == [[], [], *[["used_before"]] * 3]
    assert codes_of("of somebody else's") == []
    mine = [stored for owner, stored in history() if owner == user.id]
    assert [passwords.verify(one, password) for one, password in zip(mine, chosen[2:4], strict=True)] == [True, True]
    assert len(history()) == 3, "what others had stays"
    settings(PASSWORD_HISTORY=1)
    assert [codes_of(one) for one in chosen[2:]] == [[], ["used_before"], ["used_before"]]


def test_an_account_that_had_no_password_gets_its_first_one_without_a_history():
    settings(PASSWORD_HISTORY=2)
    accounts.create(EMAIL)
    assert codes_of(PASSWORD) == []
    change(EMAIL, PASSWORD)
    assert history() == []
    assert codes_of(PASSWORD) == ["used_before"]


@pytest.mark.parametrize("column", ["email", "username", "name"])
def test_what_is_known_of_its_owner_is_no_password(column):
    accounts.create(EMAIL)
    with transaction() as db:
        setattr(accounts.find(db, EMAIL), column, "quiet.lanterns.of.seven@example.com" if column == "email" else "quiet-lanterns-of-seven")
    email = "quiet.lanterns.of.seven@example.com" if column == "email" else EMAIL
    assert codes_of("quiet-lanterns-of-seven", email) != [] or codes_of("quiet.lanterns.of.seven", email) != []
    with pytest.raises(WeakPassword) as weak:
        passwords.check("quiet-lanterns-of-seven", "quiet-lanterns-of-seven")
    assert {fault.field for fault in weak.value.errors} == {"password"}
    passwords.check("quiet-lanterns-of-seven", "somebody else")
