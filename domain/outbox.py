"""Deliver the outbox, each channel by itself: at least once, never by two at a time, and no letter stands in another's way.

A letter is claimed by one guarded update, sent outside any transaction, and marked by another guarded update. Who dies
in between leaves a claim that runs out, and the letter goes again under the same Message-ID. What is of no use any more, such
as a code that is over, does not leave.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select, update

import config
from domain import clock, letters, mail, secrets
from domain.database import changed, reading, transaction
from model import Mail
from outbound import sms, smtp
from outbound.failures import Down, Failed, Hopeless, Refused

BATCH = 50  # Letters in one connection; many servers take no more than 100.
FIRST_WAITS = (10, 30, 60)  # Seconds before the second, third and fourth try; from then on the wait doubles.
LONGEST_WAIT = 4 * 3600
GIVE_UP_AFTER = timedelta(days=3)
PAUSE_SECONDS = 10  # What the others wait, uncounted, while the server is away; so each of them probes in its turn.
ANSWERS = 4  # To MAIL, RCPT, DATA and the letter itself: a claim lasts as long as all of them may take.
ANSWERS_BY_SMS = 3  # The connection, the request and the answer.

logger = logging.getLogger(__name__)
stopping = threading.Event()  # This process is about to end: a run sends the letter that it is at, and takes no other.
Place = tuple[datetime, str]  # Where a letter stands in the queue: created_at and id.


class Channel(NamedTuple):
    """One way out: how to connect, what goes over the wire for a template, an address, its values and a language, and how many seconds a
    claim lasts. One that is in trouble holds up no other.
    """

    name: str
    connection: Callable[[], AbstractContextManager[Callable[..., None]]]
    render: Callable[[str, str, Mapping[str, Any], str | None], tuple[str, ...]]
    seconds: Callable[[], int]


MAIL = Channel(mail.MAIL, smtp.connection, letters.render, lambda: config.settings.MAIL_TIMEOUT * ANSWERS)
SMS = Channel(mail.SMS, sms.connection, letters.render_text, lambda: config.settings.SMS_TIMEOUT * ANSWERS_BY_SMS)


def deliver(channel: Channel = MAIL, *, now: bool = False) -> int:
    """Send every letter that is due, the oldest first; with `now`, those too that wait for their next try. How many left.

    A server that is away ends the run; everything stays queued. `Unavailable` if the database is away.
    """
    sent = 0
    batch = _due(channel, None, at_once=now)
    while batch:
        left, is_up = _deliver(channel, batch, at_once=now)
        sent += left
        batch = _due(channel, batch[-1], at_once=now) if is_up else []
    return sent


def _deliver(channel: Channel, batch: Sequence[Place], *, at_once: bool) -> tuple[int, bool]:
    """Send one batch over one connection: how many left, and whether the server is up."""
    sent = 0
    with channel.connection() as send:
        for position, (_, letter_id) in enumerate(batch, start=1):
            if stopping.is_set():
                return sent, False
            letter = _claim(channel, letter_id, at_once=at_once)
            failure = _send(channel, send, letter) if letter else None
            if letter and not failure:
                sent += 1
            if isinstance(failure, Down):
                _put_off(batch[position:])
                return sent, False
    return sent, True


def _send(channel: Channel, send: Callable[..., None], letter: Mail) -> Failed | None:
    """Send a claimed letter and mark what became of it. A letter that can't be read or rendered fails like a refused one."""
    if letter.expires_at and letter.expires_at <= clock.now():
        return _failed(letter, Hopeless("it would come too late"))
    try:
        values = json.loads(secrets.decrypt(letter.values_encrypted or b""))
        said = channel.render(letter.template, letter.to, values, letter.locale)
    except Exception as error:  # Whatever is wrong with one letter must not hold up the others.
        return _failed(letter, Refused(f"it can't be rendered ({type(error).__name__})"))
    try:
        send(letter.id, letter.to, *said)
    except Failed as failure:
        return _failed(letter, failure)
    _mark(Mail.id == letter.id, state="sent", sent_at=clock.now(), values_encrypted=None, claimed_until=None, last_error=None)
    return None


def _failed(letter: Mail, failure: Failed) -> Failed:
    """Put a letter off, ever longer; at its end, or if there is no hope, give it up and forget what it said."""
    now, tries = clock.now(), letter.tries + 1
    mine = and_(Mail.id == letter.id, Mail.claimed_until == letter.claimed_until)
    changes = {"tries": tries, "last_error": failure.reason[:200], "claimed_until": None}
    end = letter.created_at + GIVE_UP_AFTER
    end = min(end, letter.expires_at or end)
    if now >= end or isinstance(failure, Hopeless):
        _mark(mine, **changes, state="dead", next_try_at=now, values_encrypted=None)
        logger.error("Mail %s is given up after %d tries: %s", letter.id, tries, failure.reason)
    else:
        _mark(mine, **changes, next_try_at=min(now + timedelta(seconds=wait_seconds(tries)), end))
        logger.warning("Mail %s did not leave (try %d): %s", letter.id, tries, failure.reason)
    return failure


def wait_seconds(tries: int) -> int:
    """How long a letter waits after so many failed tries: 10, 30, 60 s, then doubling up to LONGEST_WAIT."""
    if tries <= len(FIRST_WAITS):
        return FIRST_WAITS[tries - 1]
    return min(int(FIRST_WAITS[-1] * 2 ** min(tries - len(FIRST_WAITS), 20)), LONGEST_WAIT)


def _due(channel: Channel, after: Place | None, *, at_once: bool) -> list[Place]:
    """The next letters that may go, behind a place in the queue; so a run takes each of them once."""
    query = select(Mail.created_at, Mail.id).where(_free(channel, clock.now(), at_once=at_once))
    if after is not None:
        created_at, letter_id = after
        query = query.where(or_(Mail.created_at > created_at, and_(Mail.created_at == created_at, Mail.id > letter_id)))
    with reading() as db:
        return [(row.created_at, row.id) for row in db.execute(query.order_by(Mail.created_at, Mail.id).limit(BATCH))]


def _claim(channel: Channel, letter_id: str, *, at_once: bool) -> Mail | None:
    """Take a letter for as long as sending it may last; None if somebody else has it or it is gone."""
    now = clock.now()
    until = now + timedelta(seconds=channel.seconds())
    with transaction() as db:
        taken = changed(db, update(Mail).where(Mail.id == letter_id, _free(channel, now, at_once=at_once)).values(claimed_until=until))
        return db.get(Mail, letter_id) if taken else None


def _free(channel: Channel, now: datetime, *, at_once: bool) -> ColumnElement[bool]:
    unclaimed = or_(Mail.claimed_until.is_(None), Mail.claimed_until < now)
    return and_(Mail.state == "queued", Mail.channel == channel.name, unclaimed, *(() if at_once else (Mail.next_try_at <= now,)))


def _put_off(places: Sequence[Place]) -> None:
    """The rest of a batch waits a little: no try is counted, for none was made."""
    soon = clock.now() + timedelta(seconds=PAUSE_SECONDS)
    rest = Mail.id.in_([letter_id for _, letter_id in places])
    _mark(and_(rest, Mail.next_try_at < soon), next_try_at=soon)


def _mark(which: ColumnElement[bool], **values: object) -> None:
    """One guarded update: a letter that has left or was given up meanwhile stays as it is."""
    with transaction() as db:
        changed(db, update(Mail).where(Mail.state == "queued", which).values(**values))
