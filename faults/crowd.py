"""People who act all at once, each in a thread of their own, and who afterwards look whether everything is as they were told."""

import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator

from faults import acts, ends
from faults.house import House, wait_until
from faults.ledger import DEAD, LIVE
from faults.people import Person

SOME = 5  # So many of the credentials of each kind and state are tried in the end, the newest ones; and so many newcomers.

# What they do, and how often.
WEIGHTS: dict[Callable[[Person], object], float] = {
    acts.read: 4,
    acts.write: 6,
    acts.look: 2,
    acts.paint: 2,
    acts.refresh: 5,
    lambda person: acts.refresh(person, 8): 0.3,
    acts.sign_in: 3,
    ends.log_out: 2,
    ends.end_session: 1,
    ends.end_others: 0.3,
    ends.change_password: 2,
    ends.make_key: 2,
    ends.use_key: 2,
    ends.revoke_key: 1.5,
    ends.forget: 1.5,
    ends.welcome: 1.5,
    ends.try_dead: 2,
    ends.try_old_password: 1,
    ends.replay: 0.5,
    ends.replay_code: 1,
}


class Crowd:
    """So many people, every third of them with a second factor; they act while the block lasts."""

    def __init__(self, house: House, size: int) -> None:
        self.house = house
        self.people = [Person(house) for _ in range(size)]
        for number, person in enumerate(self.people):
            acts.join(person, with_factor=number % 3 == 0)
        self.errors: list[str] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def everybody(self) -> Iterator[Person]:
        """Those whom they have brought along, too."""
        for person in self.people:
            yield person
            yield from list(person.newcomers)

    def __enter__(self) -> "Crowd":
        self._over.clear()
        self._threads = [threading.Thread(target=self._live, args=(person,)) for person in self.people]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def look_back(self) -> None:
        """Everybody compares what is with what can be, on every host."""
        threads = [threading.Thread(target=self._guarded, args=(_look_back, person)) for person in self.people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def post_is_there(self) -> bool:
        """Whether every letter came that was promised; those that wait for their next try are sent now."""
        if wait_until(lambda: not self.owed(), 4):
            return True
        for _ in range(3):
            self.house.run_job("deliver-mail")
            if wait_until(lambda: not self.owed(), 8):
                return True
        return False

    def owed(self) -> list[str]:
        """The letters that are missing."""
        return [f"{person.email}: {count} of {kind!r}" for person in self.everybody() for kind, count in person.owed().items()]

    def drain(self) -> list[str]:
        """Everything that can't be true, since the last time."""
        errors, self.errors = self.errors, []
        return errors + [one for person in self.everybody() for one in person.ledger.drain()]

    def counts(self) -> Counter[str]:
        """How many requests were made, and with which outcome."""
        return sum((person.counts for person in self.everybody()), Counter[str]())

    def _live(self, person: Person) -> None:
        while not self._over.is_set():
            (act,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            self._guarded(act, person)

    def _guarded(self, act: Callable[[Person], object], person: Person) -> None:
        try:
            act(person)
        except Exception:  # An answer that is not of the form that the contract gives.
            self.errors.append(f"{person.email}: {traceback.format_exc()}\n    " + "\n    ".join(map(str, person.ledger.recent)))


def _look_back(person: Person) -> None:
    for one in (person, *person.newcomers[-SOME:]):
        if one.ledger.possible("account") == {"there"} or one is person:
            _look_at_everything(one)
        elif acts.confirm(one):
            acts.sign_in(one)


def _look_at_everything(person: Person) -> None:
    for port in person.house.ports:
        acts.sign_in(person, port=port)
        acts.read(person, port=port)
    acts.look(person)
    for state in ((DEAD,), (LIVE,), (LIVE, DEAD)):
        for name in person.ledger.known("session:", *state)[-SOME:]:
            ends.try_session(person, name)
        ends.use_key(person, *person.ledger.known("key:", *state)[-SOME:])
    ends.try_dead(person, number=SOME)
    ends.try_old_password(person)
