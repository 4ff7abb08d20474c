"""Threat 32: where the browser is sent after a sign-in."""

from urllib.parse import urlencode

import pytest

from model import SocialFlow
from tests.attacks.acts import count, refused
from tests.provider import FRONT_END, bring, come_back, exchange, s256
from tests.providers import NAMES, OWN

SETTINGS: dict[str, str] = {}
pytestmark = pytest.mark.usefixtures("stand_ins")
every = pytest.mark.parametrize("provider", [*NAMES, OWN], indirect=True)


# 32: where the browser is sent.

TRICKS = [
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://app.example.com@evil.example",
    "https://app.example.com:x@evil.example/",
    "https://evil.example/@app.example.com",
    "https://evil.example#@app.example.com",
    "https://evil.example\\@app.example.com",
    "https://evil.example\0.app.example.com",
    "https://evil.example%00.app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com\\.evil.example",
    "https://app.example.com%2eevil.example",
    "https://app.example.com%2f@evil.example",
    "https://app.example.comevil.example",
    "https://app.example.com:8443/",
    "https://sub.app.example.com/",
    "http://app.example.com/",
    "https://APP.example.com.evil.example/",
    "https://app.example.com\t.evil.example",
    "https://app.example.com\r\nLocation: https://evil.example",
    "https://app.example.com/\r\nSet-Cookie: a=b",
    "https://app.example.com/\\evil.example",
    "https://app.example.com/#/in",
    " https://app.example.com",
    "\thttps://app.example.com",
    "https://app.example.com ",
    "https://app\u3002example.com",
    "https://\uff41pp.example.com",
    "javascript:alert(1)//https://app.example.com",
    "javascript://app.example.com/%0aalert(1)",
    "data:text/html,app.example.com",
    "app.example.com",
    "/signed-in",
    "",
    "null",
    "https://",
    "https://app.example.com/" + "x" * 2000,
]


@every
@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: ascii(trick)[:40])
def test_a_browser_is_sent_nowhere_else(server, provider, email, trick):
    before = count(SocialFlow)
    name = provider.name
    for more in ({"code_challenge": s256("verifier")}, {}):  # It is refused before anything else is looked at.
        query = urlencode({"redirect_to": trick, **more})
        for path in (f"/auth/{name}", f"/api/oauth/{name}", f"/auth/{name}/auth-url"):
            answer = server.get(f"{path}?{query}")
            assert refused(answer, "redirect_not_allowed")
            assert "Location" not in answer.headers
    assert count(SocialFlow) == before


@every
@pytest.mark.parametrize("more", ["", "/", "/in?a=b&c=%0d%0a", "?a=b", "/a/../b", "/;x", "/%00"])
def test_our_own_front_end_is_reached(server, provider, more):
    given, verifier = come_back(server, provider, "https://app.example.com" + more)
    assert exchange(server, given["code"], verifier).status == 200


@every
def test_only_the_first_of_two_addresses_counts(server, provider):
    query = urlencode([("redirect_to", FRONT_END), ("redirect_to", "https://evil.example"), ("code_challenge", s256("v"))])
    back = provider.visit(server.get(f"/auth/{provider.name}?{query}").headers["Location"])
    assert bring(server, back).headers["Location"].startswith(FRONT_END + "?code=")
