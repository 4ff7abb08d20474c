"""Threats 3, 4, 14, 20, 22 and 23 on the change of an address, and who would take an account over by it."""

import pytest
from sqlalchemy import delete

from domain import accounts, tickets
from domain.database import transaction
from model import Link, User
from tests.attacks.acts import OTHER, account, count, live_sessions_of, mails_of, statuses, user_of, wide
from tests.conftest import ROOMY
from tests.serving import at_once
from tests.visitor import PASSWORD

SHARED = ROOMY
HTML = {"Accept": "text/html"}
EVIL = "<script>alert(1)</script>{{31337*31337}} https://evil.example/pay"


@pytest.fixture
def owner(server, email):
    """The tokens of an account."""
    return server.member(email)


def ask(server, tokens, new):
    """Ask for another address: the path of the link in its mailbox."""
    assert server.post("/profile/email", {"email": new}, token=tokens["access_token"]).status == 202
    return server.mailbox.last(new).path


def change(server, tokens, email, new):
    """Change the address: the path of the undo link in the old mailbox."""
    assert server.post(ask(server, tokens, new)).status == 200
    return server.mailbox.last(email).path


def address_of(server, tokens):
    return server.get("/profile", token=tokens["access_token"]).json["email"]


# Threats 3 and 4: one address has one form, and nothing else is one.


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda email: email.replace("example.com", wide("example.com")),
        lambda email: email.replace("example.com", "EXAMPLE.COM"),
    ],
    ids=["capitals", "a wide domain", "a domain in capitals"],
)
def test_an_address_that_somebody_has_is_theirs_in_every_spelling(server, owner, email, spell):
    victim = f"victim.{email}"
    account(victim)
    assert server.post("/profile/email", {"email": spell(victim)}, token=owner["access_token"]).status == 202
    assert server.mailbox.last(victim).subject == "Somebody wanted your address for another account"
    assert count(User, User.email == victim) == 1


@pytest.mark.parametrize(
    "value",
    [
        ["a@example.com", "b@example.com"],
        {"email": "a@example.com"},
        "a@example.com,b@example.com",
        "a@example.com;b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\nb@example.com",
        "a@b@example.com",
        "a@example.com.",
        "\u0131nfo@example.com",
        wide("info") + "@example.com",
        "a\u200b@example.com",
        '"a b"@example.com',
        "Ann <a@example.com>",
        "a@example.com\x00",
        True,
        0,
        None,
    ],
    ids=ascii,
)
def test_what_is_no_address_is_refused_and_mails_nobody(server, owner, value):
    before = count(Link), mails_of("a@example.com"), mails_of("b@example.com")
    answer = server.post("/profile/email", {"email": value}, token=owner["access_token"])
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert (count(Link), mails_of("a@example.com"), mails_of("b@example.com")) == before


@pytest.mark.parametrize("field", ["user_id", "email_confirmed_at", "status", "id", "password_hash"])
def test_no_other_column_rides_along(server, owner, email, field):
    answer = server.post("/profile/email", {"email": f"new.{email}", field: "x"}, token=owner["access_token"])
    assert answer.code == "validation_failed"
    assert mails_of(f"new.{email}") == 0


# Nobody learns whether somebody has the new address.


def test_the_answer_does_not_tell_whether_somebody_has_the_address(server, owner, email):
    states = {state: f"{number}.{email}" for number, state in enumerate(("unknown", "known", "disabled", "social only", "unconfirmed"))}
    account(states["known"])
    account(states["disabled"])
    accounts.deactivate(states["disabled"])
    account(states["social only"], None)
    server.sign_up(states["unconfirmed"])
    told = set()
    for address in (*states.values(), email):
        answer = server.post("/profile/email", {"email": address}, token=owner["access_token"])
        told.add((answer.status, answer.body, tuple(sorted(set(answer.headers) - {"Date", "X-Request-ID"}))))
    assert len(told) == 1
    for state in ("known", "disabled", "social only"):
        letter = server.mailbox.last(states[state])
        assert "http" not in letter.text + letter.html, state


def test_mail_to_one_address_is_capped_however_many_accounts_ask(server, email):
    victim = f"victim.{email}"
    tokens = [server.member(f"{number}.{email}")["access_token"] for number in range(3)]
    answers = at_once(24, lambda number: server.post("/profile/email", {"email": victim}, token=tokens[number % 3]))
    assert statuses(answers) == {202: 24}
    assert mails_of(victim, "queued") == 10


# Pre-hijack: who asks for somebody else's address gains nothing by it.


def test_a_request_for_an_address_dies_when_its_owner_signs_up(server, owner, email):
    victim = f"victim.{email}"
    link = ask(server, owner, victim)
    server.join(victim, OTHER)
    assert server.post(link).code == "link_invalid"
    assert address_of(server, owner) == email
    with transaction() as db:
        db.execute(delete(User).where(User.email == victim))
    assert server.post(link).code == "link_invalid"  # Not even when the address is free again.
    assert address_of(server, owner) == email


def test_who_confirms_an_address_ends_the_sign_ups_that_wait_for_it(server, owner, email):
    new = f"new.{email}"
    server.sign_up(new, OTHER)
    stranger = server.mailbox.last(new).path
    server.post("/forgot-password", {"email": new})
    reset = server.mailbox.last(new).path
    assert server.post(ask(server, owner, new)).status == 200
    assert server.post(stranger).code == "link_invalid"
    assert server.post(reset, {"password": OTHER}).code == "link_invalid"
    assert server.login(new, OTHER).code == "invalid_credentials"
    assert server.login(new).status == 200
    assert user_of(new).email == address_of(server, owner)


def test_a_stolen_session_without_the_password_can_ask_for_nothing_later(server, owner, email):
    link = ask(server, owner, f"thief.{email}")
    answer = server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=owner["access_token"])
    assert answer.status == 200
    assert server.post(link).code == "link_invalid"
    assert address_of(server, owner) == email


# Threat 20: whatever was mailed before dies with the address.


def test_a_reset_link_dies_with_the_address(server, owner, email):
    server.post("/forgot-password", {"email": email})
    reset = server.mailbox.last(email).path
    new = f"new.{email}"
    change(server, owner, email, new)
    assert server.post(reset, {"password": OTHER}).code == "link_invalid"
    assert server.login(new).status == 200
    assert count(User, User.email == email) == 0


def test_codes_and_tickets_die_with_the_address(server, owner, email):
    app, _ = server.turn_on_totp(owner["access_token"])
    waiting = server.login(email).json["mfa_token"]
    otp = server.post("/send-otp", {"email": email}).json["otp_token"]
    code = server.mailbox.last(email).code
    change(server, owner, email, f"new.{email}")
    assert server.post("/verify-otp", {"otp_token": otp, "code": code}).code == "mfa_invalid_code"
    answer = server.post("/verify-otp", {"mfa_token": waiting, "method": "totp", "code": app.now()})
    assert answer.code == "mfa_ticket_expired"


def test_looking_changes_nothing(server, owner, email):
    new = f"new.{email}"
    paths = [ask(server, owner, new)]
    for acted in (False, True):
        for path in paths:
            for method in ("GET", "HEAD", "OPTIONS"):
                for accept in ("*/*", "text/html", "application/json", ""):
                    assert server.request(method, path, headers={"Accept": accept}).status == 200
        if not acted:
            assert address_of(server, owner) == email
            assert server.post(paths[0]).status == 200
            server.turn_on_totp(owner["access_token"])
            paths = [server.mailbox.last(email).path, server.mailbox.last(new).path]
    assert [path.split("/")[1] for path in paths] == ["profile", "not-me"]
    assert address_of(server, owner) == new
    assert live_sessions_of(new) == 1


# Races: an address belongs to one.


def test_of_many_accounts_that_confirm_one_address_at_once_one_gets_it(server, email):
    new = f"new.{email}"
    members = [server.member(f"{number}.{email}") for number in range(20)]
    links = _links_to(new, [tokens["user"]["id"] for tokens in members])
    answers = at_once(20, lambda number: server.post(links[number]))
    assert sorted(one.code or "" for one in answers) == ["", *["link_invalid"] * 19]
    assert count(User, User.email == new) == 1
    assert sum(address_of(server, tokens) == new for tokens in members) == 1


def test_of_many_presses_of_one_link_one_acts(server, owner, email):
    link = ask(server, owner, f"new.{email}")
    answers = at_once(20, lambda _: server.post(link))
    assert sorted(one.code or "" for one in answers) == ["", *["token_used"] * 19]
    assert len(server.mailbox.of(email)) == 2  # The sign-up's, and one that tells of the change.
    undo = server.mailbox.last(email).path
    assert sorted(one.code or "" for one in at_once(20, lambda _: server.post(undo))) == ["", *["token_used"] * 19]
    assert len(server.mailbox.of(email)) == 3


def test_a_sign_up_and_a_change_to_one_address_at_once_make_one_owner(server, email):
    for round_ in range(4):
        new = f"{round_}.new.{email}"
        tokens = server.member(f"{round_}.{email}")
        server.sign_up(new, OTHER)
        sign_up, moving = server.mailbox.last(new).path, ask(server, tokens, new)
        answers = at_once(20, lambda number: server.post(sign_up if number % 2 else moving))  # noqa: B023
        assert set(statuses(answers)) <= {200, 400}, [one.body for one in answers if one.status >= 500]
        moved = address_of(server, tokens) == new
        assert count(User, User.email == new) == 1
        assert server.login(new, PASSWORD if moved else OTHER).status == 200
        assert any(answers[number].status == 200 for number in range(0, 20, 2)) == moved


def test_an_undo_and_another_change_at_once_leave_one_of_them(server, owner, email):
    undo = change(server, owner, email, f"thief.{email}")
    further = ask(server, owner, f"further.{email}")
    answers = at_once(20, lambda number: server.post(undo if number % 2 else further))
    assert set(statuses(answers)) <= {200, 400}
    assert user_of(email).password_hash is None
    assert (live_sessions_of(email), count(User, User.email.in_([f"thief.{email}", f"further.{email}"]))) == (0, 0)


# An owner takes the account back, whatever the thief has done with it.


def test_an_undo_works_after_the_thief_changed_the_password_too(server, owner, email):
    thief = f"thief.{email}"
    undo = change(server, owner, email, thief)
    assert server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=owner["access_token"]).status == 200
    server.post("/forgot-password", {"email": thief})
    reset = server.mailbox.last(thief).path
    assert server.post(reset, {"password": "the thief's own password"}).status == 200
    back = server.login(thief, "the thief's own password").json
    assert server.post(undo).status == 200
    assert server.get("/mfa", token=back["access_token"]).code == "token_revoked"
    assert server.post("/refresh", token=back["refresh_token"]).code == "token_revoked"
    for name in (thief, email):
        assert (
            server.login(name, "the thief's own password", headers={"X-Device-Token": back["device_token"]}).code == "invalid_credentials"
        )
    assert server.post(server.mailbox.last(email).path, {"password": OTHER}).status == 200
    assert server.login(email, OTHER).status == 200


def test_a_thiefs_mailboxes_can_not_undo_the_undoing(server, owner, email):
    first, second = f"thief.{email}", f"other.{email}"
    undo = change(server, owner, email, first)
    thiefs = change(server, owner, first, second)
    server.turn_on_totp(owner["access_token"])
    notice = server.mailbox.last(second).path
    assert notice.startswith("/not-me/")
    assert server.post(undo).status == 200
    assert server.post(thiefs).code == "link_invalid"
    assert server.post(notice).code == "link_invalid"
    assert user_of(email).status == "active"


def test_a_thief_who_undoes_his_own_change_leaves_the_owners_link_good(server, owner, email):
    first, second = f"thief.{email}", f"other.{email}"
    undo = change(server, owner, email, first)
    thiefs = change(server, owner, first, second)
    assert server.post(thiefs).status == 200
    assert server.post(undo).status == 200
    assert user_of(email).password_hash is None


def test_this_was_not_me_leaves_nothing_of_a_thief(server, owner, email):
    thief = server.login(email).json
    assert server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=thief["access_token"]).status == 200
    notice = server.mailbox.last(email).path
    waiting = ask(server, thief, f"thief.{email}")
    server.post("/forgot-password", {"email": email})
    reset = server.mailbox.last(email).path
    again = server.login(email, OTHER).json
    answers = at_once(20, lambda _: server.post(notice))
    assert sorted(one.code or "" for one in answers) == ["", *["token_used"] * 19]
    for tokens in (thief, again):
        assert server.get("/mfa", token=tokens["access_token"]).code == "token_revoked"
        assert server.post("/refresh", token=tokens["refresh_token"]).code == "token_revoked"
    assert server.post(waiting).code == "link_invalid"
    assert server.post(reset, {"password": OTHER}).code == "link_invalid"
    assert server.login(email, OTHER).code == "invalid_credentials"


def test_a_sign_in_at_the_same_moment_does_not_outlive_this_was_not_me(server, owner, email):
    assert server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=owner["access_token"]).status == 200
    notice = server.mailbox.last(email).path
    answers = at_once(24, lambda number: server.post(notice) if number == 5 else server.login(email, OTHER))
    assert answers[5].status == 200
    assert set(statuses(answers)) <= {200, 401}
    assert live_sessions_of(email) == 0


# Threat 23: what strangers say of themselves, in both languages.


@pytest.mark.parametrize("locale", ["en", "de", "de-AT"])
def test_what_a_stranger_says_is_only_words_in_these_mails(server, email, locale):
    tokens = server.member(email)
    server.patch("/profile", {"locale": locale, "name": EVIL[:200]}, token=tokens["access_token"])
    evil = {"User-Agent": EVIL}
    new, taken = f"new.{email}", f"taken.{email}"
    account(taken)
    for address in (taken, new):
        assert server.post("/profile/email", {"email": address}, token=tokens["access_token"], headers=evil).status == 202
    assert server.post(server.mailbox.last(new).path, headers=evil).status == 200
    assert server.post(server.mailbox.last(email).path, headers=evil).status == 200
    letters = server.mailbox.of(new) + server.mailbox.of(taken) + server.mailbox.of(email)[1:]
    assert len(letters) == 6
    for letter in letters:
        for bad in ("<script", "982007569", "evil.example", "https://evil"):
            assert bad not in letter.text + letter.html
        assert "\n" not in letter.subject


def _links_to(email, user_ids):
    """A link for each account to this address, made as a request makes it: mails to one address are capped."""
    with transaction() as db:
        return ["/profile/email/confirm/" + tickets.make_link(db, tickets.EMAIL_CONFIRM, email, 3600, user_id=one) for one in user_ids]
