"""A person with one account: asks, and has every answer written into the account's ledger."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyotp

from faults.house import House
from faults.ledger import NO, UNKNOWN, YES, Event, Ledger, outcome_of
from faults.wire import LOST, Reply, ask, bearer, claims

SETTLE_SECONDS = 0.3  # What a worker that died has left with the database is over by then.
NEW_DEVICE, PASSWORD_CHANGED, NEW_KEY = "A sign-in from a new device", "Your password was changed", "A new API key"
CONFIRM, RESET = "Confirm your address", "Set a new password"
Learn = Callable[[Reply], Mapping[str, Any]]


class Tokens(NamedTuple):
    """A session's newest pair, and the refresh tokens of before."""

    access: str
    refresh: str
    older: tuple[str, ...] = ()


class Person:
    """One account and all that its owner holds of it."""

    repeats = False  # Whether every request is sent twice, the first answer being lost.

    def __init__(self, house: House) -> None:
        self.house = house
        self.email = f"person-{secrets.token_hex(6)}@example.com"
        self.ledger = Ledger(self.email)
        self.sessions: dict[str, Tokens] = {}
        self.keys: dict[str, str] = {}
        self.app: pyotp.TOTP | None = None
        self.last_step = 0
        self.past_passwords: list[str] = []
        self.used_links: list[str] = []
        self.seen_letters: set[str] = set()
        self.newcomers: list[Person] = []
        self.promised = Counter[str]()  # Letters that have to come, by subject.
        self.counts = Counter[str]()
        self.wrong = 0  # Tries since the last right one, which would be counted against us.

    def ask(
        self,
        act: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
        port: int | None = None,
        learn: Learn | None = None,
        letter: str = "",
        **effects: Any,
    ) -> Reply:
        """Ask one of the hosts. `effects` are those of `Event`; `learn` says more of them from an answer that acknowledges."""
        sent = bearer(token) if token else dict(headers or {})

        def send() -> Reply:
            return ask(port or self.house.port(), method, path, body, sent, media_type=media_type)

        reply = self._twice(act, send, effects) if Person.repeats and method != "GET" else send()
        self.note(act, reply, learn, **effects)
        if outcome_of(reply) == UNKNOWN:
            time.sleep(SETTLE_SECONDS)
        if letter and outcome_of(reply) == YES:
            self.promised[letter] += 1
        return reply

    def note(self, act: str, reply: Reply, learn: Learn | None = None, **effects: Any) -> None:
        """Write one answer down."""
        outcome = outcome_of(reply)
        self.counts.update(["requests", outcome, "lost" if reply.status == LOST else "unavailable" if reply.status == 503 else "answered"])
        if outcome == YES and learn:
            effects |= learn(reply)
        if reply.code != "invalid_credentials":
            effects.pop("denies", None)
        self.ledger.write(Event(act, reply, outcome, **effects))

    def at_once(self, times: int, send: Callable[[int], Reply]) -> list[Reply]:
        """So many requests at the same time; those that were acknowledged first."""
        found: list[Reply] = []
        threads = [threading.Thread(target=lambda n=n: found.append(send(n))) for n in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if any(outcome_of(one) == UNKNOWN for one in found):
            time.sleep(SETTLE_SECONDS)
        return sorted(found, key=lambda one: (YES, UNKNOWN, NO).index(outcome_of(one)))

    def session(self) -> str:
        """The name of a session that may be used; empty if there is none."""
        live = [name for name in self.sessions if "live" in self.ledger.credentials[name]]
        return random.choice(live[-4:]) if live else ""

    def opened(self, reply: Reply) -> str:
        """Keep the tokens of a new session; its name."""
        name = f"session:{reply.json['session_id']}"
        self.sessions[name] = Tokens(reply.json["access_token"], reply.json["refresh_token"])
        return name

    def refreshed(self, name: str, old: str, reply: Reply) -> Mapping[str, Any]:
        """Keep the next pair of a session: it has to be the same for everybody who asks with that token."""
        before, new = self.sessions[name], Tokens(reply.json["access_token"], reply.json["refresh_token"])
        if old == before.refresh:
            self.sessions[name] = new._replace(older=(*before.older, old))
        return {"shows": {f"successor of {claims(old)['jti']}": claims(new.refresh)["jti"]}}

    def code(self) -> tuple[int, str] | None:
        """A code of the app that was not given yet, and its time step."""
        now = int(time.time()) // 30
        step = next((one for one in (now, now + 1) if one > self.last_step), None)
        if step is None or self.app is None:
            return None
        self.last_step = step
        return step, self.app.generate_otp(step)

    def owed(self) -> dict[str, int]:
        """How many letters of each kind have not come yet, of those that were promised."""
        came = Counter(one.subject for one in self.house.postbox.to(self.email))
        return {subject: count - came[subject] for subject, count in self.promised.items() if came[subject] < count}

    def _twice(self, act: str, send: Callable[[], Reply], effects: Mapping[str, Any]) -> Reply:
        """Send it, lose the answer, and send it again; sometimes the second does not wait for the first."""
        lost: list[Reply] = []
        first = threading.Thread(target=lambda: lost.append(send()))
        first.start()
        if random.random() < 0.5:
            first.join()
        again = send()
        first.join()
        self.counts.update(["repeats"])
        unknown = {name: effects[name] for name in ("by", "sets", "ends", "takes") if name in effects}
        self.ledger.write(Event(f"{act}, answer lost", lost[0], UNKNOWN, **unknown))
        return again
