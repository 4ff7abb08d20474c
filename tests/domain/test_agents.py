"""A user agent in words: right for what people use, harmless and quick for anything else."""

import random
import re
import time

import pytest

from domain import agents

pytestmark = pytest.mark.once

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IOS = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
KNOWN = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0": "Firefox on Windows",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36": "Chrome on Linux",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91": "Edge on Windows",
    f"{MAC} Version/17.0 Safari/605.1.15": "Safari on macOS",
    f"{IOS} Version/17.0 Mobile/15E148 Safari/604.1": "Safari on iOS",
    f"{IOS} Mobile/15E148": "an app on iOS",
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36": "Chrome on Android",
    "MyApp/3.1 (Android)": "a device with Android",
    "curl/8.1.0": "curl",
    "python-requests/2.31.0": "Python Requests",
    "PostmanRuntime/7.36": "Postman",
}


@pytest.mark.parametrize("user_agent", KNOWN)
def test_a_client_is_called_what_people_call_it(user_agent):
    assert agents.words(user_agent) == KNOWN[user_agent]


@pytest.mark.parametrize("user_agent", [None, "", " ", "x", "0", "Mozilla/5.0", "\ud800", "ä" * 400, "(" * 400, "%s{0}$1\\1" * 40])
def test_what_says_nothing_is_an_unknown_device(user_agent):
    assert agents.words(user_agent) == agents.UNKNOWN == "an unknown device"


def scraps():
    """User agents of 400 characters, from pieces that the parser looks for, and from any others."""
    chance = random.Random(1)
    pieces = [
        "Mozilla/5.0 ",
        "Chrome/",
        "Version/",
        "Mobile ",
        "Safari/",
        "Android ",
        "; ",
        "(",
        ")",
        "1.",
        "_2",
        "/",
        "Bot ",
        "http://x.y/",
        "\n",
        "é",
        "\ud800",
    ]
    for _ in range(200):
        yield "".join(chance.choices(pieces, k=200))[:400]
    for _ in range(200):
        yield "".join(chr(chance.choice((chance.randrange(0x20, 0x7F), chance.randrange(0x110000)))) for _ in range(400))
    for piece in (*pieces, "a", " ", "Opera Mini", "OpenVAS", "newsrepublic", "musical/"):
        yield (piece * 400)[:400]


def test_anything_at_all_gives_a_few_harmless_words_at_once():
    agents.load()
    for user_agent in scraps():
        began = time.thread_time()
        words = agents.words(user_agent)
        assert time.thread_time() - began < 0.25, user_agent
        assert re.fullmatch(r"[A-Za-z0-9+-]+( [A-Za-z0-9+-]+)*", words), user_agent
        assert len(words) <= 80, "as much as a column holds"


def test_a_name_that_a_client_gives_itself_is_no_link():
    words = [agents.words(one) for one in ("https://evil.example/Bot/1.0", "www.evil.example-spider/2", "evil.exampleBot/1.0")]
    assert [one for one in words if re.search(r"[./:@]", one)] == []


def test_the_patterns_are_read_once_and_the_words_are_kept():
    agents.words.cache_clear()
    agents.load()
    parser = agents._parser()
    for _ in range(3):
        assert agents.words("curl/8.1.0") == "curl"
    assert agents._parser() is parser
    assert (agents.words.cache_info().misses, agents.words.cache_info().hits) == (1, 2)
