"""Cookies have the names and flags that keep them in this browser and with this host."""

import pytest

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
