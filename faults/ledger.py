"""What one account's owner did and was told, and whether all of it can be true: the judge of every scenario.

An act is acknowledged (2xx), refused (4xx), or its outcome is unknown: the connection broke, or the answer was 503. What was
acknowledged is so from then on. What is unknown may be either, until an answer shows which; then it stays. Acts of one account
come in here one by one, so whatever is shown can be compared with what is possible.
"""

from collections.abc import Mapping
from typing import NamedTuple

from faults import wire
from faults.wire import LOST, Reply

YES, NO, UNKNOWN = "acknowledged", "refused", "unknown"
LIVE, DEAD = "live", "dead"
TAKEN, MAYBE = "taken", "maybe"
NOTHING = ""  # What a register holds before anybody writes to it.
ENDED = (
    "token_revoked",
    "session_expired",
    "token_invalid",
    "token_expired",
    "mfa_ticket_expired",
)  # With these a credential is refused for good.
USED = "token_used"  # Of a link: this one has acted.


class Event(NamedTuple):
    """One act and its answer.

    `by` is the credential that it came with. If it took place it `sets` registers, `ends` credentials, `makes` new ones, and
    `takes` what may be taken once. An acknowledged one `shows` what registers hold; a refused one `denies` what they might.
    """

    act: str
    reply: Reply
    outcome: str
    by: str = ""
    sets: Mapping[str, str] = {}
    shows: Mapping[str, str] = {}
    denies: Mapping[str, str] = {}
    makes: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    takes: str = ""

    def __str__(self) -> str:
        """In one line, without secrets."""
        more = f" {self.reply.code}" if self.reply.code else ""
        return f"{self.act} ({self.by or 'nobody'}): {self.reply.status or 'no answer'}{more} after {self.reply.seconds:.1f} s"


def outcome_of(reply: Reply) -> str:
    """What an answer says about the act."""
    if reply.status == LOST or reply.status >= 500:
        return UNKNOWN
    return YES if reply.status < 400 else NO


class Ledger:
    """The account as it may be, after everything that its owner was told."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.registers: dict[str, set[str]] = {}
        self.credentials: dict[str, set[str]] = {}
        self.taken: dict[str, str] = {}
        self.violations: list[str] = []
        self.is_skewed = False  # Clocks differ: a refusal may be the clock's, and says nothing of what is.
        self._pending: dict[str, list[Event]] = {}
        self.recent: list[Event] = []

    def write(self, event: Event) -> None:
        """One more act; whatever can't be true goes to the violations."""
        self._judge_form(event)
        self._judge_credential(event)
        if self._judge_once(event):
            self._apply(event, event.outcome)
        self._judge_registers(event)
        self.recent = [*self.recent[-11:], event]

    def possible(self, register: str) -> set[str]:
        """What a register may hold."""
        return self.registers.get(register, {NOTHING})

    def known(self, kind: str, *states: str) -> list[str]:
        """The credentials of a kind that are in this state for sure, or may be in each of several; the newest last."""
        return [name for name, state in self.credentials.items() if name.startswith(kind) and state == set(states)]

    def doubt(self) -> None:
        """From now on every credential that lives may as well have ended."""
        for state in self.credentials.values():
            if LIVE in state:
                state.add(DEAD)

    def blame(self, what: str) -> None:
        """Write down a violation, with what came before it."""
        self.violations.append(f"{self.owner}: {what}\n    " + "\n    ".join(map(str, self.recent)))

    def drain(self) -> list[str]:
        """The violations since the last time."""
        found, self.violations = self.violations, []
        return found

    def _judge_form(self, event: Event) -> None:
        reply = event.reply
        if reply.status >= 500 and (reply.status, reply.code, bool(reply.retry_after)) != (503, "unavailable", True):
            self.blame(f"{event}: neither done nor `unavailable` with Retry-After")
        if reply.seconds > wire.bound:
            self.blame(f"{event}: nobody shall wait as long")

    def _judge_credential(self, event: Event) -> None:
        state = self.credentials.setdefault(event.by, {LIVE, DEAD}) if event.by else None
        if state is None or event.outcome == UNKNOWN:
            return
        seen = DEAD if event.outcome == NO and event.reply.code in ENDED else LIVE
        if event.outcome == NO and self.is_skewed:
            return
        if seen not in state:
            self.blame(f"{event}: {event.by} was {'/'.join(state)}, and is {seen}")
        self.credentials[event.by] = {seen}

    def _judge_once(self, event: Event) -> bool:
        """Whether the act can have had its effects, as far as what it takes decides."""
        thing, state = event.takes, self.taken.get(event.takes)
        if not thing:
            return True
        if event.outcome == YES:
            if state == TAKEN:
                self.blame(f"{event}: {thing} was taken twice")
            self.taken[thing] = TAKEN
        elif event.outcome == UNKNOWN:
            if state == TAKEN:
                return False
            self.taken[thing] = MAYBE
            self._pending.setdefault(thing, []).append(event)
        elif event.reply.code == USED and not self.is_skewed:
            if state is None:
                self.blame(f"{event}: {thing} is said to be used, and nobody has used it")
            elif state == MAYBE:
                self._settle(self._pending[thing])
            self.taken[thing] = TAKEN
        return True

    def _settle(self, events: list[Event]) -> None:
        """One of these acts has taken place, and with it all of its effects; of several nobody knows which."""
        if len(events) == 1:
            self._apply(events[0], YES)
        for name in set.intersection(*(set(one.ends) for one in events)):
            self.credentials[name] = {DEAD}

    def _apply(self, event: Event, outcome: str) -> None:
        if outcome == NO:
            return
        for register, value in event.sets.items():
            self.registers[register] = {value} if outcome == YES else self.possible(register) | {value}
        for name in event.ends:
            self.credentials[name] = {DEAD} if outcome == YES else self.credentials.get(name, {LIVE}) | {DEAD}
        if outcome == YES:
            self.credentials.update({name: {LIVE} for name in event.makes})

    def _judge_registers(self, event: Event) -> None:
        if event.outcome == YES:
            for register, value in event.shows.items():
                if value not in self.registers.get(register, {value}):
                    self.blame(f"{event}: {register} is {value!r}, and can only be one of {sorted(self.registers[register])}")
                self.registers[register] = {value}
        if event.outcome == NO:
            for register, value in event.denies.items():
                left = self.possible(register) - {value}
                if left:
                    self.registers[register] = left
                else:
                    self.blame(f"{event}: {register} is not {value!r}, which it has to be")
