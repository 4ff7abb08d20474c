"""Another address for an account: nothing changes before the new mailbox has proven itself, and the old one can undo it."""

import re

import pytest
from sqlalchemy import select

from domain import accounts, limits
from domain.database import reading
from model import AuditEvent
from tests.attacks.acts import aged, live_sessions_of, mails_of, user_of
from tests.visitor import PASSWORD

NEW = "an entirely new password"
HTML = {"Accept": "text/html"}


@pytest.fixture
def new(email):
    """The address to be."""
    return f"new.{email}"


def ask(house, tokens, new, **more):
    """Ask for another address: the path of the link in its mailbox."""
    answer = house.post("/profile/email", {"email": new, **more}, token=tokens["access_token"])
    assert (answer.status, answer.json) == (202, {"status": "accepted"})
    return house.mailbox.last(new).path


def change(house, tokens, email, new):
    """Change the address: the path of the undo link in the old mailbox."""
    assert house.post(ask(house, tokens, new)).json == {"status": "email_changed"}
    return house.mailbox.last(email).path


def address_of(house, tokens):
    return house.get("/profile", token=tokens["access_token"]).json["email"]


def test_the_address_changes_when_the_link_in_the_new_mailbox_is_followed_and_not_before(house, email, new):
    tokens = house.member(email)
    path = ask(house, tokens, new)
    assert path.startswith("/profile/email/confirm/")
    assert address_of(house, tokens) == email
    assert house.login(new).code == "invalid_credentials"
    assert house.post(path).json == {"status": "email_changed"}
    assert address_of(house, tokens) == new
    assert house.login(new).status == 200
    assert house.login(email).code == "invalid_credentials"
    assert house.post(path).code == "token_used"


def test_both_mailboxes_are_told_and_only_the_old_one_can_undo(house, email, new):
    undo = change(house, house.member(email), email, new)
    assert house.mailbox.last(email).subject == "The address of your account was changed"
    assert undo.startswith("/profile/email/undo/")
    told = house.mailbox.last(new)
    assert told.subject == "Your new address is in force"
    assert "http" not in told.text + told.html
    assert new not in house.mailbox.last(email).text


def test_an_address_that_somebody_has_gets_the_same_answer_and_its_owner_a_mail_without_a_link(house, email, new):
    house.join(new)
    tokens = house.member(email)
    answer = house.post("/profile/email", {"email": new}, token=tokens["access_token"])
    assert (answer.status, answer.json) == (202, {"status": "accepted"})
    letter = house.mailbox.last(new)
    assert letter.subject == "Somebody wanted your address for another account"
    assert "http" not in letter.text + letter.html
    assert email not in (letter.text + letter.html).replace(new, "")


@pytest.mark.settings(PREVENT_ENUMERATION=False)
def test_who_may_know_is_told_that_an_address_is_taken(house, email, new):
    house.join(new)
    assert house.post("/profile/email", {"email": new}, token=house.member(email)["access_token"]).code == "email_taken"


def test_asking_for_the_present_address_calls_the_change_off_and_mails_nothing(house, email, new):
    tokens = house.member(email)
    path, before = ask(house, tokens, new), len(house.mailbox.of(email))
    assert house.post("/profile/email", {"email": email.upper()}, token=tokens["access_token"]).status == 202
    assert len(house.mailbox.of(email)) == before
    assert house.post(path).code == "link_invalid"
    assert address_of(house, tokens) == email


def test_a_newer_request_ends_the_older_one(house, email, new):
    tokens = house.member(email)
    older, newer = ask(house, tokens, new), ask(house, tokens, f"newer.{email}")
    assert house.post(older).code == "link_invalid"
    assert house.post(newer).status == 200
    assert address_of(house, tokens) == f"newer.{email}"


def test_a_sign_in_that_is_not_recent_needs_the_current_password(house, email, new):
    tokens = house.member(email)
    old = aged(tokens["access_token"])
    refused = house.post("/profile/email", {"email": new}, token=old)
    assert (refused.code, refused.json["methods"]) == ("reauthentication_required", ["password"])
    assert house.post("/profile/email", {"email": new, "current_password": "a wrong password"}, token=old).code == "invalid_credentials"
    assert house.post("/profile/email", {"email": new, "current_password": PASSWORD}, token=old).status == 202
    assert house.mailbox.last(new).path


@pytest.mark.parametrize(
    "value", ["", "nobody", "a@b@c", "a,b@example.com", ["a@example.com"], {"a": 1}, None, 1, "a@example.com\r\nBcc: b@example.com"]
)
def test_what_is_no_address_is_refused(house, email, value):
    assert house.post("/profile/email", {"email": value}, token=house.member(email)["access_token"]).code == "validation_failed"


def test_a_mail_whose_link_is_over_does_not_leave(house, email, new, moved_clock):
    token = house.member(email)["access_token"]
    assert house.post("/profile/email", {"email": new}, token=token).status == 202
    moved_clock(86401)
    assert house.mailbox.of(new) == []


def test_a_confirm_link_is_over_in_time(house, email, new, moved_clock):
    path = ask(house, house.member(email), new)
    moved_clock(86401)
    assert house.post(path).code == "link_invalid"


def test_an_address_that_was_taken_meanwhile_is_refused(house, email, new):
    tokens = house.member(email)
    path = ask(house, tokens, new)
    accounts.create(new)
    assert house.post(path).code == "link_invalid"
    assert address_of(house, tokens) == email


def test_a_disabled_account_changes_nothing(house, email, new):
    tokens = house.member(email)
    undo = change(house, tokens, email, new)
    path = ask(house, tokens, f"newer.{email}")
    accounts.deactivate(new)
    assert [house.post(one).code for one in (path, undo)] == ["link_invalid", "link_invalid"]
    assert user_of(new).status == "inactive"


def test_undoing_brings_the_old_address_back_and_ends_everything(house, email, new):
    tokens = house.member(email)
    device = tokens["device_token"]
    undo = change(house, tokens, email, new)
    assert house.post(undo).json == {"status": "email_restored"}
    assert user_of(email).password_hash is None
    assert live_sessions_of(email) == 0
    assert house.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
    assert house.login(email, headers={"X-Device-Token": device}).code == "invalid_credentials"
    assert house.post(undo).code == "token_used"
    letter = house.mailbox.last(email)
    assert letter.subject == "Your account is secured: set a new password"
    assert house.post(letter.path, {"password": NEW}).status == 200
    assert house.login(email, NEW).status == 200
    told = house.mailbox.last(new)
    assert told.subject == "The address of an account was changed back"
    assert "http" not in told.text


def test_undoing_works_for_seven_days(house, email, new, moved_clock):
    undo = change(house, house.member(email), email, new)
    moved_clock(limits.REMEDY_SECONDS + 1)
    assert house.post(undo).code == "link_invalid"
    moved_clock(limits.REMEDY_SECONDS - 60)
    assert house.post(undo).status == 200


def test_an_old_address_that_somebody_has_by_now_stays_theirs_and_the_link_stays_good(house, email, new):
    tokens = house.member(email)
    undo = change(house, tokens, email, new)
    accounts.create(email, PASSWORD)
    refused = house.post(undo)
    assert (refused.code, refused.json["detail"]) == ("link_invalid", "Another account has this address by now.")
    assert house.get("/mfa", token=tokens["access_token"]).status == 200
    assert house.post(ask(house, house.login(email).json, f"elsewhere.{email}")).status == 200
    assert house.post(undo).status == 200


def test_mailed_codes_go_to_the_new_address_and_the_factor_is_named_after_it(house, email, new):
    tokens = house.member(email)
    house.post("/mfa", {"method": "email"}, token=tokens["access_token"])
    assert house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=tokens["access_token"]).status == 200
    change(house, tokens, email, new)
    assert house.get("/mfa", token=tokens["access_token"]).json["methods"][0]["name"] == new
    ticket = house.login(new).json["mfa_token"]
    assert house.post("/send-otp", {"mfa_token": ticket, "method": "email"}).status == 202
    assert house.post("/verify-otp", {"mfa_token": ticket, "method": "email", "code": house.mailbox.last(new).code}).status == 200


def test_a_changed_address_ends_trust_in_devices(house, email, new):
    tokens = house.member(email)
    house.post("/mfa", {"method": "email"}, token=tokens["access_token"])
    house.post("/mfa", {"method": "email", "code": house.mailbox.last(email).code}, token=tokens["access_token"])
    ticket = house.login(email).json["mfa_token"]
    house.post("/send-otp", {"mfa_token": ticket, "method": "email"})
    code = house.mailbox.last(email).code
    trusted = house.post("/verify-otp", {"mfa_token": ticket, "method": "email", "code": code, "trust_device": True}).json
    known = {"X-Device-Token": trusted["device_token"]}
    assert house.login(email, headers=known).json["status"] == "signed_in"
    change(house, trusted, email, new)
    assert house.login(new, headers=known).json["status"] == "mfa_required"


def test_the_mails_are_in_the_language_of_the_account(house, email, new):
    tokens = house.member(email)
    house.patch("/profile", {"locale": "de-AT"}, token=tokens["access_token"])
    path = ask(house, tokens, new)
    assert house.mailbox.last(new).subject == "Bestätigen Sie Ihre neue Adresse"
    house.post(path)
    assert house.mailbox.last(email).subject == "Die Adresse Ihres Kontos wurde geändert"
    assert "Das war ich nicht" in house.mailbox.last(email).html


def test_each_link_has_a_page_that_is_the_same_for_every_token_and_changes_nothing(house, email, new):
    tokens = house.member(email)
    confirm = ask(house, tokens, new)
    pages = {house.get(path, headers=HTML).text for path in (confirm, "/profile/email/confirm/something")}
    assert len(pages) == 1
    assert address_of(house, tokens) == email
    done = house.post(confirm, headers={**HTML, "Content-Type": "application/x-www-form-urlencoded"})
    assert (done.status, "Your account has its new address" in done.text) == (200, True)
    undo = house.mailbox.last(email).path
    assert len({house.get(path, headers=HTML).text for path in (undo, "/profile/email/undo/something")}) == 1
    assert address_of(house, tokens) == new
    assert "former address again" in house.post(undo, headers={**HTML, "Content-Type": "application/x-www-form-urlencoded"}).text
    again = house.post(undo, headers=HTML)
    assert (again.status, "token_used" in again.text) == (400, True)


def test_one_account_can_mail_only_so_many_strangers(house, email):
    token = house.member(email)["access_token"]
    others = [f"{number}.{email}" for number in range(14)]
    assert {house.post("/profile/email", {"email": other}, token=token).status for other in others} == {202}
    assert sum(mails_of(other, "queued") for other in others) == 10


def test_the_acts_stand_in_the_audit_trail_without_an_address_among_the_facts(house, email, new):
    undo = change(house, house.member(email), email, new)
    house.post(undo)
    events = {event.action: event for event in _events(user_of(email).id)}
    assert {"email.change_requested", "email.changed", "email.undone"} <= set(events)
    assert not re.search("@", "".join(str(event.facts) for event in events.values()))


def _events(user_id):
    with reading() as db:
        return list(db.scalars(select(AuditEvent).where(AuditEvent.user_id == user_id)))
