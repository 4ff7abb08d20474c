""" "This was not me": the link of a notice ends everything, and asks for a new password."""

import pytest
from sqlalchemy import select

from domain import accounts, clock, limits
from domain.database import new_id, reading, transaction
from model import AuditEvent, Identity
from tests.attacks.acts import OTHER, count, factors_of, live_sessions_of, ticket, user_of
from tests.visitor import PASSWORD, code_of

HTML = {"Accept": "text/html"}
FORM = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def noticed(house, email):
    """A member whose password was changed: the tokens, and the path of the notice's link."""
    tokens = house.member(email)
    answer = house.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=tokens["access_token"])
    assert answer.status == 200
    path = house.mailbox.last(email).path
    assert path.startswith("/not-me/")
    return tokens, path


def test_it_ends_everything_and_mails_a_link_for_a_new_password(house, email, noticed):
    tokens, path = noticed
    reset = _asked(house, email)
    assert house.post(path).json == {"status": "account_secured"}
    assert live_sessions_of(email) == 0
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert {house.login(email, word).code for word in (PASSWORD, OTHER)} == {"invalid_credentials"}
    assert house.post(reset, {"password": PASSWORD}).code == "link_invalid"
    letter = house.mailbox.last(email)
    assert letter.subject == "Your account is secured: set a new password"
    assert house.post(letter.path, {"password": PASSWORD}).status == 200
    assert house.login(email).status == 200


def test_it_works_once(house, email, noticed):
    _, path = noticed
    assert house.post(path).status == 200
    mails = len(house.mailbox.of(email))
    assert house.post(path).code == "token_used"
    assert len(house.mailbox.of(email)) == mails


def test_it_is_over_after_seven_days(house, email, noticed, moved_clock):
    _, path = noticed
    moved_clock(limits.REMEDY_SECONDS + 1)
    assert house.post(path).code == "link_invalid"
    assert house.login(email, OTHER).status == 200


def test_a_disabled_account_gets_nothing(house, email, noticed):
    _, path = noticed
    accounts.deactivate(email)
    mails = len(house.mailbox.of(email))
    assert house.post(path).code == "link_invalid"
    accounts.activate(email)
    assert len(house.mailbox.of(email)) == mails
    assert house.login(email, OTHER).status == 200


def test_a_second_factor_stays_and_is_asked_for_afterwards(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    assert house.post(house.mailbox.last(email).path).status == 200
    assert factors_of(email) == 1
    assert house.post(house.mailbox.last(email).path, {"password": OTHER}).status == 200
    answer = house.post("/verify-otp", {"mfa_token": ticket(house, email, OTHER), "method": "totp", "code": code_of(app)})
    assert answer.status == 200


def test_a_ticket_that_waits_is_ended(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    waiting = ticket(house, email)
    assert house.post(house.mailbox.last(email).path).status == 200
    assert house.post("/verify-otp", {"mfa_token": waiting, "method": "totp", "code": code_of(app)}).code == "mfa_ticket_expired"


def test_known_devices_are_forgotten(house, email, noticed):
    tokens, path = noticed
    house.post(path)
    house.post(house.mailbox.last(email).path, {"password": OTHER})
    again = house.login(email, OTHER, headers={"X-Device-Token": tokens["device_token"]}).json
    assert again["device_token"] != tokens["device_token"]


def test_a_way_in_that_was_added_lately_is_removed_and_an_old_one_stays(house, email, noticed, moved_clock):
    _, path = noticed
    _link_identity(email, "github")
    moved_clock(-limits.REMEDY_SECONDS - 60)
    _link_identity(email, "google")
    moved_clock(0)
    assert house.post(path).status == 200
    with reading() as db:
        assert list(db.scalars(select(Identity.provider).where(Identity.user_id == user_of(email).id))) == ["google"]


def test_where_the_address_was_changed_since_the_mail_it_comes_back(house, email, noticed):
    tokens, path = noticed
    thief = f"thief.{email}"
    house.post("/profile/email", {"email": thief}, token=tokens["access_token"])
    assert house.post(house.mailbox.last(thief).path).status == 200
    assert house.post(path).status == 200
    assert user_of(email).password_hash is None
    assert house.mailbox.last(email).subject == "Your account is secured: set a new password"
    assert "http" not in house.mailbox.last(thief).text


def test_an_address_that_is_not_the_accounts_any_more_gets_no_link(house, email, noticed):
    tokens, path = noticed
    new = f"new.{email}"
    house.post("/profile/email", {"email": new}, token=tokens["access_token"])
    assert house.post(house.mailbox.last(new).path).status == 200
    accounts.create(email)
    mails = len(house.mailbox.of(email))
    assert house.post(path).status == 200
    assert len(house.mailbox.of(email)) == mails
    assert house.mailbox.last(new).subject == "Your account is secured: set a new password"
    assert (user_of(new).password_hash, count(Identity)) == (None, 0)


@pytest.mark.settings(ADMIN_EMAIL="help@example.com")
def test_its_pages_say_what_happens_what_has_happened_and_whom_to_ask(house, noticed):
    _, path = noticed
    assert len({house.get(one, headers=HTML).text for one in (path, "/not-me/something")}) == 1
    page = house.post(path, headers=FORM)
    assert "Every session and every device was signed out" in page.text
    assert 'href="mailto:help@example.com"' in page.text
    assert "token_used" in house.post(path, headers=FORM).text


def test_without_an_admin_the_page_names_none(house, noticed):
    assert "mailto:" not in house.post(noticed[1], headers=FORM).text


def test_it_stands_in_the_audit_trail(house, email, noticed):
    house.post(noticed[1])
    with reading() as db:
        event = db.scalars(select(AuditEvent).where(AuditEvent.action == "not_me")).one()
    assert (event.user_id, event.result) == (user_of(email).id, "success")


def _asked(house, email):
    assert house.post("/forgot-password", {"email": email}).status == 202
    return house.mailbox.last(email).path


def _link_identity(email, provider):
    now = clock.now()
    row = Identity(id=new_id(), user_id=user_of(email).id, provider=provider, issuer=provider, sub="1", linked_at=now)
    with transaction() as db:
        db.add(row)
