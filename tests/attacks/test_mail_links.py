"""Threats 20 to 23 against the real server: links in mails, what is in them, and who may follow them."""

import json
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import update

from domain import accounts, clock, passwords
from domain.database import transaction
from model import Link, Mail, Session, User
from tests.attacks.acts import OTHER, account, count, live_sessions_of, mails_of, raw, statuses, ticket, user_of
from tests.conftest import ROOMY
from tests.serving import at_once
from tests.visitor import PASSWORD, code_of

SHARED = ROOMY
NOT_A_TOKEN = [True, 0, 1, -1, 1.5, None, [], ["a token"], {}, {"token": "a token"}, "", "x" * 513, "a\x00token", "a\ud800token"]
ANYWHERE_ELSE = "evil.example"


# Threat 20: a reset happens once.


def test_of_many_resets_by_one_link_one_wins_and_its_password_signs_in(server, email):
    server.join(email)
    words = [f"password number {number} of them all" for number in range(24)]
    link = _reset_link(server, email)
    answers = at_once(24, lambda number: server.post(link, {"password": words[number]}))
    assert Counter(one.code for one in answers) == {None: 1, "token_used": 23}
    winner = words[[one.status for one in answers].index(200)]
    assert server.login(email, winner).status == 200
    assert sum(passwords.verify(user_of(email).password_hash, word) for word in words) == 1
    assert len([one for one in server.mailbox.of(email) if "password was changed" in one.subject]) == 1


def test_of_many_resets_of_an_address_that_was_not_confirmed_one_makes_the_account(server, email):
    server.sign_up(email)
    words = [f"password number {number} of them all" for number in range(20)]
    link = _reset_link(server, email)
    answers = at_once(20, lambda number: server.post(link, {"password": words[number]}))
    assert Counter(one.code for one in answers) == {None: 1, "token_used": 19}
    assert count(User, User.email == email) == 1
    assert server.login(email, words[[one.status for one in answers].index(200)]).status == 200


def test_a_reset_and_a_confirmation_at_once_make_one_account(server, email):
    server.sign_up(email)
    confirm, reset = server.mailbox.last(email).path, _reset_link(server, email)
    answers = at_once(20, lambda number: server.post(reset, {"password": OTHER}) if number % 2 else server.post(confirm))
    assert set(statuses(answers)) <= {200, 400}
    assert count(User, User.email == email) == 1
    assert sum(answers[number].status == 200 for number in range(1, 20, 2)) == 1
    assert server.login(email, OTHER).status == 200


def test_a_reset_link_dies_with_its_use(server, email):
    server.join(email)
    link = _reset_link(server, email)
    assert server.post(link, {"password": OTHER}).status == 200
    assert server.post(link, {"password": PASSWORD}).code == "token_used"
    assert server.post("/api/password/reset", {"token": link.split("/")[-1], "password": PASSWORD}).code == "token_used"
    assert server.login(email, OTHER).status == 200


def test_a_reset_link_dies_with_a_newer_request(server, email):
    server.join(email)
    first, second = _reset_link(server, email), _reset_link(server, email)
    assert server.post(first, {"password": OTHER}).code == "link_invalid"
    assert server.post(second, {"password": OTHER}).status == 200


def test_a_reset_link_dies_with_a_changed_password(server, email):
    token = server.member(email)["access_token"]
    link = _reset_link(server, email)
    assert server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=token).status == 200
    assert server.post(link, {"password": PASSWORD}).code == "link_invalid"


def test_a_reset_link_dies_with_its_account(server, email):
    server.join(email)
    link = _reset_link(server, email)
    accounts.deactivate(email)
    assert server.post(link, {"password": OTHER}).code == "link_invalid"
    accounts.activate(email)
    assert server.post(link, {"password": OTHER}).code == "link_invalid"
    assert server.login(email).status == 200


@pytest.mark.parametrize("purpose", ["reset", "confirm"])
def test_a_link_dies_with_time(server, email, purpose):
    server.sign_up(email)
    link = server.mailbox.last(email).path if purpose == "confirm" else _reset_link(server, email)
    with transaction() as db:
        db.execute(update(Link).where(Link.email == email).values(expires_at=clock.now() - timedelta(seconds=1)))
    assert server.post(link, None if purpose == "confirm" else {"password": OTHER}).code == "link_invalid"
    assert count(User, User.email == email) == 0


def test_a_weak_password_leaves_the_link_good(server, email):
    server.join(email)
    link = _reset_link(server, email)
    assert server.post(link, {"password": "short"}).code == "weak_password"
    assert server.post(link, {"password": OTHER, "email": "victim@example.com"}).code == "validation_failed"
    assert server.post(link, {"password": OTHER}).status == 200


def test_looking_at_a_link_changes_nothing(server, email):
    server.sign_up(email)
    confirm, reset = server.mailbox.last(email).path, _reset_link(server, email)
    alias = confirm.replace("/confirm/", "/api/auth/verify-email/")
    for path in (confirm, alias, reset):
        for method in ("GET", "HEAD", "OPTIONS"):
            for accept in ("*/*", "text/html", "text/html,application/json", "", "text/plain"):
                assert server.request(method, path, headers={"Accept": accept}).status == 200
        assert server.request("HEAD", path, headers={"Accept": "application/json"}).status == 200
    assert server.get(reset, headers={"Accept": "application/json"}).status == 200
    assert count(User, User.email == email) == 0
    assert server.post(confirm).status == 200


# Threat 21: where a link leads is not for the client to say.


@pytest.mark.parametrize(
    "claims",
    [
        {"Host": ANYWHERE_ELSE},
        {"Host": f"{ANYWHERE_ELSE}:443@127.0.0.1"},
        {"X-Forwarded-Host": ANYWHERE_ELSE},
        {"X-Forwarded-Host": ANYWHERE_ELSE, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/evil"},
        {"Forwarded": f"host={ANYWHERE_ELSE};proto=https"},
        {"X-Original-URL": f"http://{ANYWHERE_ELSE}/", "X-Rewrite-URL": f"http://{ANYWHERE_ELSE}/"},
        {"Origin": f"https://{ANYWHERE_ELSE}", "Referer": f"https://{ANYWHERE_ELSE}/"},
    ],
    ids="+".join,
)
def test_no_header_says_where_a_link_leads(server, email, claims):
    for path, body in (("/signup", {"email": email, "password": PASSWORD}), ("/resend-confirmation", {"email": email})):
        server.post(path, body, headers=claims)
        _leads_home(server, server.mailbox.last(email))
    server.post("/forgot-password", {"email": email}, headers=claims)
    _leads_home(server, server.mailbox.last(email))


def test_an_absolute_request_line_does_not_say_where_a_link_leads(server, email):
    account(email)
    body = json.dumps({"email": email})
    for target in (f"http://{ANYWHERE_ELSE}/forgot-password", f"https://{ANYWHERE_ELSE}:443/forgot-password"):
        head = f"POST {target} HTTP/1.1\r\nHost: {ANYWHERE_ELSE}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        answer = raw(server.port, f"{head}Content-Length: {len(body)}\r\n\r\n{body}")
        assert answer.split(b" ")[1] in (b"202", b"400", b"404")
    server.post("/forgot-password", {"email": email})
    for letter in server.mailbox.of(email):
        _leads_home(server, letter)


def test_no_answer_leads_to_where_the_client_says(server):
    for path in ("//login", "//profile", "/healthz/", f"//{ANYWHERE_ELSE}/login", f"/\\{ANYWHERE_ELSE}", "/confirm//x", "/static/../x"):
        for method in ("GET", "POST"):
            for claims in ({"Host": ANYWHERE_ELSE}, {"X-Forwarded-Host": ANYWHERE_ELSE}):
                answer = server.request(method, path, headers=claims)
                assert ANYWHERE_ELSE not in answer.headers.get("Location", ""), (method, path, claims)
                assert ANYWHERE_ELSE not in answer.text


# Threat 22: a token is good for one thing.


def test_a_token_of_one_purpose_is_refused_for_every_other(server, email):
    tokens = server.member(email)
    app, codes = server.turn_on_totp(tokens["access_token"])
    server.sign_up(f"new.{email}")
    moved = server.member(f"first.{email}")
    links = {name: path.split("/")[-1] for name, path in _address_links(server, moved, email).items()}
    everything = {
        "confirm": server.mailbox.last(f"new.{email}").path.split("/")[-1],
        **links,
        "reset": _reset_link(server, email).split("/")[-1],
        "otp": server.post("/send-otp", {"email": email}).json["otp_token"],
        "mfa": ticket(server, email),
        "device": tokens["device_token"],
        "access": tokens["access_token"],
        "refresh": tokens["refresh_token"],
        "recovery": codes[0],
        "session": tokens["session_id"],
    }
    refusals = {
        "confirm": lambda token: server.post(f"/confirm/{token}"),
        "address": lambda token: server.post(f"/profile/email/confirm/{token}"),
        "undo": lambda token: server.post(f"/profile/email/undo/{token}"),
        "notice": lambda token: server.post(f"/not-me/{token}"),
        "reset": lambda token: server.post(f"/reset-password/{token}", {"password": OTHER}),
        "reset in the body": lambda token: server.post("/api/password/reset", {"token": token[:512], "password": OTHER}),
        "otp": lambda token: server.post("/verify-otp", {"otp_token": token[:512], "code": codes[0]}),
        "mfa": lambda token: server.post("/verify-otp", {"mfa_token": token[:512], "method": "totp", "code": code_of(app)}),
        "access": lambda token: server.get("/mfa", token=token),
        "refresh": lambda token: server.post("/refresh", token=token),
        "device": lambda token: server.login(f"nobody.{email}", headers={"X-Device-Token": token}),
    }
    for name, token in everything.items():
        for purpose, use in refusals.items():
            if name not in purpose.split(" in ")[0]:
                assert use(token).status in (400, 401), (name, purpose)
    assert count(User, User.email == f"new.{email}") == 0
    assert server.get("/profile", token=moved["access_token"]).json["email"] == f"second.{email}"
    assert server.post(f"/confirm/{everything['confirm']}").status == 200
    assert server.post(f"/profile/email/confirm/{everything['address']}").status == 200
    assert server.post(f"/not-me/{everything['notice']}").status == 200
    assert server.post(f"/profile/email/undo/{everything['undo']}").status == 200
    assert server.post("/verify-otp", {"mfa_token": everything["mfa"], "method": "totp", "code": code_of(app)}).status == 200
    assert server.post(f"/reset-password/{everything['reset']}", {"password": OTHER}).status == 200


def test_no_token_of_a_mail_is_a_bearer(server, email):
    account(email)
    server.sign_up(f"new.{email}")
    links = [server.mailbox.last(f"new.{email}").path, _reset_link(server, email)]
    links += _address_links(server, server.member(f"first.{email}"), email).values()
    tokens = [one.split("/")[-1] for one in links] + [server.post("/send-otp", {"email": email}).json["otp_token"]]
    for token in tokens:
        for method, path in (("GET", "/mfa"), ("GET", "/profile"), ("POST", "/refresh"), ("POST", "/logout"), ("POST", "/change-password")):
            assert server.request(method, path, token=token).code == "token_invalid"
            assert server.request(method, path, cookies={"access_token_cookie": token, "refresh_token_cookie": token}).status == 401


@pytest.mark.parametrize("value", NOT_A_TOKEN, ids=lambda value: ascii(value)[:20])
def test_what_is_no_token_is_malformed(server, value):
    answers = [
        server.post("/api/password/reset", {"token": value, "password": PASSWORD}),
        server.post("/verify-otp", {"otp_token": value, "code": "123456"}),
        server.post("/verify-otp", {"mfa_token": value, "method": "totp", "code": "123456"}),
        server.post("/send-otp", {"mfa_token": value, "method": "email"}),
        server.post("/verify-otp", {"otp_token": "a token", "code": value if value not in ("",) else []}),
    ]
    assert {(one.status, one.code) for one in answers} == {(400, "validation_failed")}


@pytest.mark.parametrize("token", ["x", "%ed%a0%80", "'%20or%201=1--", "%25", "a%0d%0ab", "{{7*7}}"])
def test_a_link_that_is_none_is_refused(server, token):
    acts = ("confirm", "profile/email/confirm", "profile/email/undo", "not-me")
    for path, body in (*((f"/{act}/{token}", None) for act in acts), (f"/reset-password/{token}", {"password": PASSWORD})):
        assert server.post(path, body).status in (400, 404, 414)
        assert server.get(path).status in (200, 404, 414)


def test_a_link_with_something_added_is_another_link(server, email):
    server.join(email)
    link = _reset_link(server, email)
    for other in (link + "=", link + "%20", link.upper(), link.lower(), link[:-1], link + "%00", link + "x"):
        assert server.post(other, {"password": OTHER}).status in (400, 404), other
    assert server.post(link, {"password": OTHER}).status == 200


# Threat 23: what strangers write into mails and pages.


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "{{31337*31337}}{{config}}{% for x in range(9) %}x{% endfor %}",
        "${31337*31337} #{31337*31337} %(link)s {0.__class__}",
        "https://evil.example/pay Click here www.evil.example",
        '"><a href="https://evil.example">your bank</a>',
        "x" * 5000,
    ],
    ids=["html", "jinja", "formats", "link", "anchor", "long"],
)
def test_what_a_stranger_writes_is_only_words_in_a_mail(server, email, words):
    server.post("/signup", {"email": email, "password": PASSWORD, "name": words[:200]}, headers={"User-Agent": words})
    server.join(f"known.{email}")
    server.post("/forgot-password", {"email": f"known.{email}"}, headers={"User-Agent": words})
    server.post("/signup", {"email": f"known.{email}", "password": PASSWORD, "name": words[:200]}, headers={"User-Agent": words})
    letters = server.mailbox.of(email) + server.mailbox.of(f"known.{email}")
    assert len(letters) == 4
    for letter in letters:
        for bad in ("<script", "<img src=x", "982007569", "evil.example", "http://evil", "xxxxxxxxx" * 30):
            assert bad not in letter.html, bad
            assert bad not in letter.text, bad
        assert "\n" not in letter.subject
        assert letter.to in (email, f"known.{email}")


def test_line_breaks_in_a_name_or_an_agent_start_no_header(server, email):
    before = count(Mail)
    name = "Eve\r\nBcc: evil@example.org\r\n\r\nHello"
    assert server.sign_up(email, name=name).status in (201, 400)
    agent = "curl\x85Bcc: evil@example.org"
    assert server.post("/signup", {"email": email, "password": PASSWORD}, headers={"User-Agent": agent.encode("latin-1")}).status == 201
    assert "curl" in server.mailbox.last(email).text
    for letter in server.mailbox.of(email):
        assert not any(line.startswith(("Bcc", "Hello")) for line in (letter.text + letter.html).splitlines())
    assert server.mailbox.of("evil@example.org") == []
    assert count(Mail) > before


def test_what_a_stranger_sends_does_not_stand_on_a_page(server):
    words = "<script>alert(1)</script>{{7*7}}"
    acts = ("confirm", "reset-password", "profile/email/confirm", "profile/email/undo", "not-me")
    for path in (*(f"/{act}/{words}" for act in acts), f"/confirm/x?next={words}"):
        for method, language in (("GET", "en"), ("POST", "en"), ("GET", "de"), ("POST", "de"), ("GET", words)):
            form = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded", "X-Request-ID": words}
            form["Accept-Language"] = language
            answer = server.request(method, path, headers=form, data={"password": words, words: words} if method == "POST" else None)
            assert "<script" not in answer.text
            assert "alert(1)" not in answer.text
            assert "{{7*7}}" not in answer.text


def test_mail_to_one_address_is_capped_and_the_answers_stay_as_they_were(server, email):
    account(email)
    kinds = [("/forgot-password", {}), ("/send-otp", {}), ("/signup", {"password": PASSWORD}), ("/resend-confirmation", {})]
    answers = [server.post(path, {"email": email.upper() if number % 2 else email, **more}) for number in range(8) for path, more in kinds]
    assert set(statuses(answers)) == {201, 202}
    assert mails_of(email, "queued") <= 10
    assert len(server.mailbox.of(email)) <= 10


def test_of_many_requests_for_mail_at_once_no_more_are_sent_than_the_limit(server, email):
    account(email)
    assert statuses(at_once(30, lambda _: server.post("/forgot-password", {"email": email}))) == {202: 30}
    assert mails_of(email, "queued") == 10


def test_notices_to_the_owner_are_not_capped(server, email):
    token = server.member(email)["access_token"]
    for _ in range(12):
        server.post("/forgot-password", {"email": email})
    assert server.post("/change-password", {"current_password": PASSWORD, "new_password": OTHER}, token=token).status == 200
    assert server.mailbox.last(email).subject == "Your password was changed"


def test_a_reset_signs_nobody_in(server, email):
    server.join(email)
    answer = server.post(_reset_link(server, email), {"password": OTHER})
    assert (answer.json, answer.cookies) == ({"status": "password_reset"}, {})
    assert live_sessions_of(email) == 0
    assert count(Session, Session.user_id == user_of(email).id) == 0


def _reset_link(server, email):
    assert server.post("/forgot-password", {"email": email}).status == 202
    return server.mailbox.last(email).path


def _address_links(server, tokens, email):
    """The links of a change from `first.` to `second.`, of its undo, of a notice, and of another change that waits."""

    def ask(new):
        assert server.post("/profile/email", {"email": f"{new}.{email}"}, token=tokens["access_token"]).status == 202
        return server.mailbox.last(f"{new}.{email}").path

    assert server.post(ask("second")).status == 200
    undo = server.mailbox.last(f"first.{email}").path
    server.turn_on_totp(tokens["access_token"])
    return {"undo": undo, "notice": server.mailbox.last(f"second.{email}").path, "address": ask("third")}


def _leads_home(server, letter):
    assert letter.link.startswith(f"{server.base}/")
    assert ANYWHERE_ELSE not in letter.text + letter.html + letter.subject
