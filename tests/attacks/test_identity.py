"""Threats 1 and 3 to 7: whose address, whose account, against the real server."""

import pytest
from sqlalchemy import select

import model
from domain import passwords, secrets, sign_up, tickets
from domain.database import reading, transaction
from model import Link, Mail, SignUpAttempt, User
from tests.attacks.acts import OTHER, account, count, live_sessions_of, mails_of, statuses, user_of, wide
from tests.serving import at_once
from tests.visitor import PASSWORD

ASKING_FOR_AN_ADDRESS = (
    ("/signup", {"password": PASSWORD}),
    ("/login", {"password": PASSWORD}),
    ("/confirm", {"code": "123456"}),
    ("/resend-confirmation", {}),
    ("/forgot-password", {}),
    ("/send-otp", {}),
)


def test_who_signs_up_first_with_somebody_elses_address_gains_nothing(server, email):
    server.sign_up(email, OTHER, username="intruder")
    theirs = server.mailbox.last(email)
    server.sign_up(email)
    assert server.post(server.mailbox.last(email).path).json == {"status": "confirmed"}
    assert server.post(theirs.path).code == "link_invalid"
    assert server.post("/confirm", {"email": email, "code": theirs.code}).code == "mfa_invalid_code"
    assert server.login(email, OTHER).code == "invalid_credentials"
    assert server.login(email).json["user"]["username"] is None


def test_a_reset_leaves_nothing_of_a_strangers_sign_up(server, email):
    server.sign_up(email, OTHER)
    theirs = server.mailbox.last(email)
    server.post("/forgot-password", {"email": email})
    assert server.post(server.mailbox.last(email).path, {"password": PASSWORD}).status == 200
    assert server.post(theirs.path).code == "link_invalid"
    assert server.post("/confirm", {"email": email, "code": theirs.code}).code == "mfa_invalid_code"
    assert server.login(email, OTHER).code == "invalid_credentials"
    assert server.login(email).status == 200


def test_a_code_asked_for_before_there_was_an_account_does_not_open_it(server, email):
    early = secrets.token()
    with transaction() as db:
        code = tickets.make_code(db, tickets.SIGN_IN, secrets.hashed(early), email)
    server.join(email)
    assert server.post("/verify-otp", {"otp_token": early, "code": code}).code == "mfa_invalid_code"


def test_every_spelling_of_an_address_is_one_account(server, email):
    name = email.split("@")[0]
    spellings = [f"{name}@EXAMPLE.com", f"{name.upper()}@example.com", f"{name}@{wide('example')}.com", f"{name}@example。com"]
    assert server.sign_up(spellings[2]).status == 201
    assert server.post(server.mailbox.last(email).path).status == 200
    assert [server.login(one).json["user"]["email"] for one in spellings] == [email] * 4
    for one in spellings:
        server.sign_up(one, OTHER)
    assert server.mailbox.last(email).subject.startswith("Somebody tried")
    assert count(SignUpAttempt, SignUpAttempt.email.like(f"{name}@%"), SignUpAttempt.slot.in_(sign_up.OPEN)) == 0


def test_an_address_is_written_to_as_it_is_stored_and_not_as_it_was_typed(server, email):
    server.join(email)
    for spelling in (email.upper(), email.replace("example", wide("example"))):
        for path in ("/forgot-password", "/send-otp", "/resend-confirmation"):
            assert server.post(path, {"email": spelling}).status == 202
    with reading() as db:
        recipients = set(db.scalars(select(Mail.to).where(Mail.to.like(f"{email.split('@')[0][:12]}%"))))
    assert recipients == {email}


def test_a_domain_in_its_own_script_and_in_punycode_is_one(server, email):
    name = email.split("@")[0]
    server.sign_up(f"{name}@bücher.example")
    assert server.post(server.mailbox.last(f"{name}@xn--bcher-kva.example").path).status == 200
    for spelling in ("BÜCHER.example", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE", "bu\u0308cher.example"):
        assert server.login(f"{name}@{spelling}").status == 200


@pytest.mark.parametrize(
    "address",
    [
        "adm\u0131n@example.com",
        "\u0130stanbul@example.com",
        "us\u212aer@example.com",
        "\uff55ser@example.com",
        "us\u200ber@example.com",
        "user@exam\u200bple.com",
        "user@exam\u00adple.com",
        "user@@example.com",
        "user@example.com@example.org",
        "user@example.com.",
        "user@example..com",
        '"a user"@example.com',
        "user(comment)@example.com",
        "User <user@example.com>",
        "user@[127.0.0.1]",
        " user@example.com",
        "user@example.com ",
        "user@example.com\u00a0",
        "user@xn--a.com",
        "@example.com",
        "user",
        "",
        "user@" + "x." * 126 + "com",
        "x" * 321,
    ],
    ids=ascii,
)
def test_what_is_no_plain_address_is_refused_everywhere(server, address):
    _refuses(server, address)


@pytest.mark.parametrize(
    "address",
    [
        ["user@example.com"],
        ["user@example.com", "evil@example.org"],
        {"email": "user@example.com"},
        {"0": "user@example.com"},
        None,
        True,
        0,
        "user@example.com,evil@example.org",
        "user@example.com;evil@example.org",
        "user@example.com evil@example.org",
        "user@example.com\r\nBcc: evil@example.org",
        "user@example.com\nevil@example.org",
        "user@example.com\r",
        "user\r\n@example.com",
        "user@example.com%0d%0aBcc:evil@example.org",
        "user@example.com\u2028evil@example.org",
        "user@example.com\x00",
        "user@example.com\ud800",
    ],
    ids=ascii,
)
def test_an_address_that_would_be_two_is_refused_everywhere(server, address):
    _refuses(server, address)


def test_a_burst_of_sign_ups_with_one_address_makes_three_mails_and_one_account(server, email):
    words = [f"password number {number} of the burst" for number in range(24)]
    assert statuses(at_once(24, lambda number: server.sign_up(email, words[number]))) == {201: 24}
    assert count(SignUpAttempt, SignUpAttempt.email == email, SignUpAttempt.slot.in_(sign_up.OPEN)) == 3
    letters = server.mailbox.of(email)
    assert len(letters) == 3
    answers = at_once(24, lambda number: server.post(letters[number % 3].path))
    assert set(statuses(answers)) <= {200, 400}
    assert statuses(answers)[200] == 8  # The eight who followed the link that won.
    assert count(User, User.email == email) == 1
    assert sum(passwords.verify(user_of(email).password_hash, word) for word in words) == 1
    assert count(SignUpAttempt, SignUpAttempt.email == email, SignUpAttempt.slot.in_(sign_up.OPEN)) == 0


def test_a_link_and_a_code_followed_at_once_make_one_account(server, email):
    server.sign_up(email)
    letter = server.mailbox.last(email)
    by_code = ("/confirm", {"email": email, "code": letter.code})
    answers = at_once(20, lambda number: server.post(*by_code) if number % 10 == 0 else server.post(letter.path))
    assert set(statuses(answers)) <= {200, 401}
    assert count(User, User.email == email) == 1
    assert server.login(email).status == 200


def test_sign_ups_and_confirmations_at_once_leave_one_account(server, email):
    server.sign_up(email)
    path = server.mailbox.last(email).path
    answers = at_once(22, lambda number: server.sign_up(email, OTHER) if number % 11 == 5 else server.post(path))
    assert statuses(answers) == {200: 20, 201: 2}
    assert count(User, User.email == email) == 1
    assert server.login(email, OTHER).status == 401


def test_acts_of_every_kind_on_one_address_at_once_do_not_stand_in_each_others_way(server, email):
    server.sign_up(email)
    letter = server.mailbox.last(email)
    server.post("/forgot-password", {"email": email})
    reset = server.mailbox.last(email).path
    acts = [
        lambda: server.sign_up(email, OTHER),
        lambda: server.post("/forgot-password", {"email": email}),
        lambda: server.post("/resend-confirmation", {"email": email}),
        lambda: server.post("/send-otp", {"email": email}),
        lambda: server.post("/confirm", {"email": email, "code": letter.code}),
        lambda: server.post(letter.path),
        lambda: server.login(email, OTHER),
        lambda: server.post(reset, {"password": PASSWORD}),
    ]
    answers = at_once(40, lambda number: acts[number % 8]())
    assert not [one for one in answers if one.status >= 500], statuses(answers)
    assert count(User, User.email == email) <= 1


def test_a_name_that_many_want_is_given_once(server, email):
    addresses = [f"{number}.{email}" for number in range(20)]
    for one in addresses:
        server.sign_up(one, username="sought-after")
    with transaction() as db:
        attempts = db.scalars(select(SignUpAttempt).where(SignUpAttempt.email.in_(addresses))).all()
        paths = [f"/confirm/{tickets.make_link(db, tickets.CONFIRM, one.email, 3600, one.id)}" for one in attempts]
    assert statuses(at_once(20, lambda number: server.post(paths[number]))) == {200: 20}
    assert count(User, User.email.in_(addresses)) == 20
    assert count(User, User.username == "sought-after") == 1


def test_no_column_can_be_set_by_signing_up(server, email):
    columns = {column.name for table in model.Base.metadata.tables.values() for column in table.columns}
    for name in sorted(columns - {"email", "username", "name"}):
        answer = server.sign_up(email, **{name: "1"})
        assert (answer.code, [error["field"] for error in answer.json["errors"]]) == ("validation_failed", [name])
    for value in ("1", True, {"is_admin": True}):
        assert server.sign_up(email, __proto__=value).code == "validation_failed"
    assert count(SignUpAttempt, SignUpAttempt.email == email) == 0


def test_no_column_can_be_set_through_the_profile(server, email):
    token = server.member(email)["access_token"]
    before = _row(email)
    columns = {column.name for table in model.Base.metadata.tables.values() for column in table.columns}
    for name in sorted(columns - {"username", "name", "phone", "bio", "locale", "timezone", "metadata"}):
        for method in ("PUT", "PATCH"):
            answers = [server.request(method, "/profile", {name: "1"}, token=token)]
            answers.append(server.request(method, "/profile", token=token, files={name: (None, "1"), "bio": (None, "changed")}))
            for answer in answers:
                assert answer.status == 400, (method, name)
                assert name in [error["field"] for error in answer.json.get("errors", [{"field": name}])]
    assert _row(email) == before


def test_a_taken_username_can_not_be_had_at_the_profile(server, email):
    account(f"owner.{email}")
    name = email[5:17]
    owner = server.login(f"owner.{email}").json["access_token"]
    assert server.patch("/profile", {"username": name}, token=owner).status == 200
    tokens = [server.member(f"{number}.{email}")["access_token"] for number in range(4)]
    for spelling in (name, name.upper()):
        assert server.patch("/profile", {"username": spelling}, token=tokens[0]).code == "username_taken"
    assert server.patch("/profile", {"username": f"owner.{email}"}, token=tokens[0]).code == "validation_failed"
    wanted = {"username": f"{name}-2"}
    answers = at_once(20, lambda number: server.patch("/profile", wanted, token=tokens[number % 4]))
    assert set(statuses(answers)) == {200, 400}
    assert count(User, User.username == wanted["username"]) == 1


def test_an_account_without_a_password_has_no_password(server, email):
    account(email, None)
    for guess in ("", " ", "None", "null", "v1$", PASSWORD):
        assert server.login(email, guess).code == ("invalid_credentials" if guess != PASSWORD else "too_many_attempts")
    for guess in (None, [], {}, 0, False):
        assert server.post("/login", {"email": email, "password": guess}).code == "validation_failed"
    assert server.post("/login", {"email": email}).code == "validation_failed"
    assert live_sessions_of(email) == 0


def test_somebodys_address_can_not_be_a_username(server, email):
    server.join(email)
    for name in (email, email.upper(), email.replace("@", wide("@")), email.replace("@", "\u200b@")):
        assert server.sign_up(f"evil.{email}", username=name).code == "validation_failed"
        assert server.post("/login", {"username": name, "password": PASSWORD}).code == "validation_failed"
    assert mails_of(f"evil.{email}") == 0


def test_a_username_in_look_alike_letters_is_refused(server, email):
    for name in ("\u212aelvin", "r\u043ebin", wide("robin"), "robin\u200b", "rob\u0131n", "robin\n", "ro bin", "ro", "x" * 33, ["robin"]):
        assert server.sign_up(email, username=name).code == "validation_failed"


def _row(email):
    user = user_of(email)
    return {column.key: getattr(user, column.key) for column in User.__mapper__.column_attrs}


def _refuses(server, address):
    mails, attempts, links = count(Mail), count(SignUpAttempt), count(Link)
    for path, more in ASKING_FOR_AN_ADDRESS:
        answer = server.post(path, {"email": address, **more})
        assert (answer.status, answer.code) == (400, "validation_failed"), path
        assert "email" in [error["field"] for error in answer.json["errors"]]
    assert (count(Mail), count(SignUpAttempt), count(Link)) == (mails, attempts, links)
