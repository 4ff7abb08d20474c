"""Are you a person? Asked of strangers where they could have mails written or guess secrets: never (CAPTCHA=off), always, or of
an address that has failed too often (after_failures).

Asked by address, never by account: what is asked must not tell whether an account exists, and nobody may have somebody else
asked by guessing at their account. A right answer only lets a request go on: no limit and no budget is lifted by it. It counts
once, over all workers, and whatever the request comes to (ASVS 6.3.1, 2.4.1; OWASP OAT-008).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import config
from domain import challenges, clock, metrics, puzzles, tallies
from domain.caller import Client
from domain.database import transaction
from domain.errors import CaptchaFailed, CaptchaRequired, NotFound, Unavailable
from domain.puzzles import Puzzle
from outbound import siteverify

FAILURES = "failures"
ANSWER_SECONDS = 600  # How long a verifier's answer is remembered; the services that we know of take theirs for 300 at most.
RETRY_SECONDS = 5

logger = logging.getLogger("gatehouse.captcha")


def offer() -> Puzzle | str:
    """What a page needs to ask its visitor: a puzzle, or the site key for the widget of a verifier; `NotFound` where CAPTCHA is off."""
    if config.settings.CAPTCHA == "off":
        raise NotFound
    return config.settings.CAPTCHA_SITE_KEY if config.settings.CAPTCHA_VERIFY_URL else puzzles.make()


@contextmanager
def guard(client: Client, answer: str | None, *, asks: bool, guesses: bool) -> Iterator[None]:
    """Around what a stranger may do: `asks` whether this operation may ask for a CAPTCHA, `guesses` whether it checks a secret.

    A guess is counted for its address before it is judged, and is given back unless it fails. `CaptchaRequired`, `CaptchaFailed`;
    `Unavailable` if the verifier is away, for else whoever brings it down would be asked no more.
    """
    mode, window = config.settings.CAPTCHA, config.settings.LOCKOUT_WINDOW_SECONDS
    counts = mode == "after_failures"
    taken = tallies.take(FAILURES, client, window) if counts and guesses else None
    used_up = counts and (taken is None if guesses else tallies.wait(FAILURES, client, window) > 0)
    if asks and (used_up or mode == "always"):
        _judge(answer, client)
    failed = False
    try:
        yield
    except metrics.FAILED:
        failed = True
        raise
    finally:
        if taken is not None and not failed:
            tallies.give_back(FAILURES, client, taken)


def _judge(answer: str | None, client: Client) -> None:
    if answer is None:
        metrics.captcha("required")
        raise CaptchaRequired
    right = _passes(answer, client) if config.settings.CAPTCHA_VERIFY_URL else _solves(answer)
    metrics.captcha("passed" if right else "failed")
    if not right:
        raise CaptchaFailed


def _solves(answer: str) -> bool:
    found = puzzles.solved(answer)
    return found is not None and _is_first(found.signature, found.ends)


def _passes(answer: str, client: Client) -> bool:
    settings = config.settings
    try:
        right = siteverify.passes(settings.CAPTCHA_VERIFY_URL, settings.CAPTCHA_SECRET, answer, client.ip)
    except siteverify.Away as away:
        metrics.captcha("away")
        logger.warning("The CAPTCHA's verifier %s", away)
        raise Unavailable(retry_after=RETRY_SECONDS) from None
    return right and _is_first(answer, clock.epoch() + ANSWER_SECONDS)


def _is_first(what: str, ends: int) -> bool:
    """Whether this was never taken before."""
    with transaction() as db:
        return challenges.take_other(db, f"{puzzles.PURPOSE} {what}", ends)
