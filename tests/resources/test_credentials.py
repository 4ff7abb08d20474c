"""Cookies have the names and flags that keep them in this browser and with this host; tokens are bound to their client."""

import pytest

from app import create_app
from domain import cache, database
from model import AuditEvent
from tests.attacks.acts import claims, count
from tests.visitor import PASSWORD, Visitor, in_process

NAMES = {"access_token_cookie", "refresh_token_cookie", "csrf_access_token", "csrf_refresh_token"}


def flags(answer):
    """The cookies that an answer sets, by name: their flags without dates."""
    lines = [line.split("; ") for line in answer.headers.getlist("Set-Cookie")]
    return {line[0].split("=", 1)[0]: {word for word in line[1:] if not word.startswith(("Expires=", "Max-Age="))} for line in lines}


@pytest.mark.parametrize(
    ("address", "prefix", "secure"),
    [
        pytest.param("https://gatehouse.example", "__Host-", {"Secure"}, marks=pytest.mark.settings(BASE_URL="https://gatehouse.example")),
        ("http://127.0.0.1:5000", "", set()),
    ],
)
def test_cookies_have_the_flags_that_keep_them_here(house, email, address, prefix, secure):
    house.join(email)
    found = flags(house.login(email, cookies=True))
    common = {"Path=/", "SameSite=Lax"} | secure
    hidden = {f"{prefix}{name}" for name in ("access_token_cookie", "refresh_token_cookie", "device")}
    shown = {f"{prefix}{name}" for name in ("csrf_access_token", "csrf_refresh_token")}
    assert found == {name: common | {"HttpOnly"} for name in hidden} | dict.fromkeys(shown, common)


def test_a_sign_in_ends_the_session_whose_cookies_it_replaces(house, email):
    house.join(email)
    house.join("bob@example.com")
    body = {"email": email, "password": PASSWORD}
    first = house.login(email, cookies=True)
    beside = house.login(email)
    second = house.post("/login", {**body, "cookies": True}, cookies=first.cookies)
    assert house.get("/mfa", cookies=first.cookies).code == "token_revoked"
    assert house.get("/mfa", token=beside.json["access_token"]).status == 200
    third = house.post("/login", {**body, "email": "bob@example.com", "cookies": True}, cookies=second.cookies)
    assert house.get("/mfa", cookies=second.cookies).code == "token_revoked"
    # Nothing is replaced by tokens in the answer, a wrong password, or a cookie that is none.
    assert house.post("/login", {**body, "password": "wrong"}, cookies=third.cookies).status == 401
    assert house.post("/login", body, cookies=third.cookies).status == 200
    assert house.get("/mfa", cookies=third.cookies).status == 200
    assert house.post("/login", {**body, "cookies": True}, cookies={"refresh_token_cookie": "none"}).status == 200


@pytest.mark.settings(BASE_URL="https://gatehouse.example")
def test_over_https_only_cookies_of_this_host_count(house, email):
    house.join(email)
    browser = house.login(email, cookies=True)
    assert house.get("/mfa", cookies=browser.cookies).status == 200
    without_prefix = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
    assert house.get("/mfa", cookies=without_prefix).code == "token_missing"
    csrf = {"X-CSRF-TOKEN": browser.json["csrf_access_token"]}
    cleared = flags(house.post("/logout", cookies=browser.cookies, headers=csrf))
    assert set(cleared) == {f"__Host-{name}" for name in NAMES}
    assert all({"Path=/", "Secure"} <= words for words in cleared.values())  # Else a browser keeps them.


def others(tokens, house, agent="Other/1.0"):
    """What the server answers to another program with the same token."""
    answer = house.get("/mfa", token=tokens["access_token"], headers={"User-Agent": agent})
    return answer.status, answer.code


def bound(tokens):
    return [claims(tokens[kind]).get("bound") for kind in ("access_token", "refresh_token")]


def test_without_binding_tokens_say_nothing_about_their_client(house):
    tokens = house.member()
    assert bound(tokens) == [None, None]
    assert others(tokens, house) == (200, None)


@pytest.mark.settings(TOKEN_BINDING="user_agent", TRUSTED_PROXIES=1)
def test_tokens_that_are_bound_to_the_program_alone_may_travel(house):
    tokens = house.member()
    assert others(tokens, house) == (401, "token_revoked")
    moved = house.get("/mfa", token=tokens["access_token"], headers={"X-Forwarded-For": "198.51.100.9"})
    assert moved.status == 200


@pytest.mark.settings(TOKEN_BINDING="user_agent", SESSION_IDLE_SECONDS=60, ACTIVITY_FLUSH_SECONDS=1)
def test_a_mismatch_is_no_activity_of_the_session(house, moved_clock):
    tokens = house.member()
    for seconds in (25, 50):
        moved_clock(seconds)
        assert others(tokens, house) == (401, "token_revoked")
    moved_clock(70)
    assert house.get("/mfa", token=tokens["access_token"]).code == "session_expired"


@pytest.mark.settings(TOKEN_BINDING="user_agent")
def test_mismatches_are_noted_once_a_minute(house, moved_clock):
    tokens = house.member()
    for seconds in (0, 60, 120):
        moved_clock(seconds)
        for _ in range(3):
            others(tokens, house)
    assert count(AuditEvent, AuditEvent.action == "session.mismatch") == 3


@pytest.mark.settings(SECRET_KEY="the first secret key of 0123456789abcdef")
def test_a_binding_that_is_turned_on_asks_for_a_new_sign_in_and_outlives_a_new_key(house, settings, email):
    before = house.member(email)
    house = restarted(house, settings, TOKEN_BINDING="user_agent")
    assert others(before, house, "") == (401, "token_revoked")
    after = house.login(email).json
    key = settings["SECRET_KEY"]
    house = restarted(house, settings, TOKEN_BINDING="user_agent", SECRET_KEY=f"the second secret key of 0123456789abcde, {key}")
    assert house.get("/mfa", token=after["access_token"]).status == 200
    assert others(after, house) == (401, "token_revoked")


def restarted(house, settings, **more):
    """The same house after a restart with other settings."""
    database.disconnect()
    if cache.client is not None:
        cache.client.close()
    return Visitor(in_process(create_app(**{**settings, **more})), house.mailbox)
