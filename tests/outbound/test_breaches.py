"""The service that knows breached passwords: what leaves, what its answer means, and that nobody waits for it for long."""

import hashlib
import time

import pytest

from outbound import breaches
from tests.breaches import OTHERS, serving

pytestmark = pytest.mark.once

PASSWORD = "seven quiet lanterns"
DIGEST = hashlib.sha1(PASSWORD.encode()).hexdigest().upper()


@pytest.fixture
def service():
    with serving() as running:
        yield running


def answers(service, body, status=200):
    """Whether the password is known by this answer."""
    service.status, service.body = status, body
    return breaches.knows(service.url, PASSWORD)


def test_only_five_digits_leave_and_the_answer_is_padded(service):
    assert not breaches.knows(service.url, PASSWORD)
    ((line, headers),) = service.asked
    assert line == f"GET /range/{DIGEST[:5]} HTTP/1.1"
    assert headers["Add-Padding"] == "true"
    said = line + str(headers)
    assert DIGEST[5:10] not in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("line", "is_known"),
    [
        (f"{DIGEST[5:]}:7", True),
        (f"{DIGEST[5:].lower()}:1", True),
        (f"{DIGEST[5:]}:0", False),
        (f"{DIGEST[5:]}", False),
        (f"{DIGEST[5:]}:many", False),
        (f"{DIGEST[5:-1]}:7", False),
        ("", False),
    ],
    ids=["known", "in lower case", "padding", "no count", "no number", "another", "empty"],
)
def test_a_line_of_the_answer_tells(service, line, is_known):
    assert answers(service, f"{OTHERS}{line}\r\n") == is_known


@pytest.mark.parametrize("status", [204, 301, 302, 400, 403, 404, 429, 500, 503])
def test_any_other_answer_is_none(service, status):
    with pytest.raises(breaches.Away, match=str(status)):
        answers(service, "", status)
    assert len(service.asked) == 1


def test_who_does_not_answer_is_not_waited_for(service):
    service.pause = 1.5
    before = time.monotonic()
    with pytest.raises(breaches.Away):
        answers(service, "x" * 200_000)
    assert time.monotonic() - before < 10  # The whole of it takes 15.
    with pytest.raises(breaches.Away):
        breaches.knows("http://127.0.0.1:1/range", PASSWORD)


def test_an_answer_without_end_is_not_read(service):
    with pytest.raises(breaches.Away):
        answers(service, OTHERS * 20_000)


def test_what_it_says_of_itself_holds_nothing_of_the_password(service):
    with pytest.raises(breaches.Away) as away:
        answers(service, "", 500)
    assert DIGEST[:5] not in str(away.value)
    with pytest.raises(breaches.Away) as away:
        breaches.knows("http://127.0.0.1:1/range", PASSWORD)
    assert DIGEST[:5] not in str(away.value)
