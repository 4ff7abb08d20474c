"""How people end what they have, use what may be used once, and try what must not work any more."""

import random
import time
from collections.abc import Mapping
from typing import Any

from faults import wire
from faults.acts import bio, confirm, give, new_password, sign_in, sign_up
from faults.ledger import DEAD, LIVE, YES, Event, outcome_of
from faults.people import NEW_KEY, PASSWORD_CHANGED, RESET, Person
from faults.wire import Reply

BUDGET = 5  # FAILED_ATTEMPTS_LIMIT.
GUESSES = 12
TRIES_LEFT = 2  # Nobody here uses up their own budget.


def log_out(person: Person) -> None:
    """Sign out; from then on no host knows the session."""
    if mine := person.session():
        reply = person.ask("log out", "POST", "/logout", token=person.sessions[mine].access, ends=(mine,))
        if outcome_of(reply) == YES:
            try_session(person, mine)


def try_session(person: Person, name: str) -> None:
    """Ask every host by a session, and for its next pair; its state has to be what it can be."""
    tokens = person.sessions[name]
    for port in person.house.ports * 2:
        person.ask("try session", "GET", "/mfa", token=tokens.access, by=name, port=port)
    if person.ledger.credentials[name] == {DEAD}:
        person.ask("try to refresh", "POST", "/refresh", token=tokens.refresh, by=name)


def end_session(person: Person) -> None:
    """End another session of one's own."""
    mine, others = person.session(), person.ledger.known("session:", LIVE)
    other = random.choice([name for name in others if name != mine] or [""])
    if mine and other:
        path = f"/api/auth/sessions/{other.removeprefix('session:')}"
        reply = person.ask("end session", "DELETE", path, token=person.sessions[mine].access, by=mine, ends=(other,))
        if outcome_of(reply) == YES:
            try_session(person, other)


def end_others(person: Person) -> None:
    """End all sessions but this one."""
    if mine := person.session():
        ends = tuple(name for name in person.sessions if name != mine)
        person.ask("end others", "DELETE", "/api/auth/sessions", token=person.sessions[mine].access, by=mine, ends=ends)


def change_password(person: Person) -> None:
    """Change the password; the other sessions end."""
    mine, now = person.session(), person.ledger.possible("password")
    if not mine or len(now) != 1:
        sign_in(person)
        return
    (current,), new = now, new_password()
    person.past_passwords.append(new)
    effects: dict[str, Any] = {"by": mine, "sets": {"password": new}, "denies": {"password": current}, "letter": PASSWORD_CHANGED}
    effects["ends"] = tuple(name for name in person.sessions if name != mine)
    body = {"current_password": current, "new_password": new}
    person.ask("change password", "POST", "/change-password", body, token=person.sessions[mine].access, **effects)


def make_key(person: Person) -> None:
    """Make an API key."""

    def learn(reply: Reply) -> Mapping[str, Any]:
        name = f"key:{reply.json['key_id']}"
        person.keys[name] = reply.json["api_key"]
        return {"makes": (name,)}

    if mine := person.session():
        effects: dict[str, Any] = {"by": mine, "learn": learn, "letter": NEW_KEY}
        person.ask("make key", "POST", "/keys/create", {"name": "one"}, token=person.sessions[mine].access, **effects)


def use_key(person: Person, *names: str) -> None:
    """Ask by API keys; by any of them if none is named."""
    for name in names or random.sample(list(person.keys), min(1, len(person.keys))):
        person.ask("use key", "GET", "/api/auth/me", headers={"X-API-Key": person.keys[name]}, by=name, learn=bio)


def revoke_key(person: Person) -> None:
    """Revoke a key; from then on it opens nothing."""
    mine, name = person.session(), random.choice(person.ledger.known("key:", LIVE) or [""])
    if mine and name:
        path = f"/keys/revoke/{name.removeprefix('key:')}"
        reply = person.ask("revoke key", "POST", path, token=person.sessions[mine].access, by=mine, ends=(name,))
        if outcome_of(reply) == YES:
            use_key(person, name, name)


def forget(person: Person) -> None:
    """Ask for a link that sets a new password, and use one that has come: once, though two try it with different passwords."""
    fresh = [one for one in person.house.postbox.to(person.email) if one.subject == RESET and one.number not in person.seen_letters]
    if not fresh:
        person.ask("forget", "POST", "/forgot-password", {"email": person.email}, letter=RESET)
        return
    person.seen_letters |= {one.number for one in fresh}
    _reset(person, str(fresh[-1].path("reset-password")))


def _reset(person: Person, path: str) -> None:
    wanted = [new_password(), new_password()]
    person.past_passwords += wanted
    ends, ports = (*person.sessions, *person.keys), person.house.ports  # Whatever was open is over.
    found: dict[int, Reply] = {}

    def send(n: int) -> Reply:
        found[n] = wire.ask(ports[n % len(ports)], "POST", path, {"password": wanted[n]})
        return found[n]

    for reply in person.at_once(2, send):
        (number,) = [n for n, one in found.items() if one is reply]
        if outcome_of(reply) == YES:
            person.promised[PASSWORD_CHANGED] += 1
        person.note("reset", reply, takes=path, sets={"password": wanted[number]}, ends=ends)
    person.used_links.append(path)


def welcome(person: Person) -> None:
    """Somebody new signs up, or one who did confirms and signs in."""
    waiting = [one for one in person.newcomers if one.ledger.possible("account") != {"there"}]
    if waiting and random.random() < 0.6:
        newcomer = random.choice(waiting)
        if confirm(newcomer):
            sign_in(newcomer)
    elif len(person.newcomers) < 12:
        person.newcomers.append(Person(person.house))
        sign_up(person.newcomers[-1])


def try_dead(person: Person, *, number: int = 1) -> None:
    """Try what has ended or was used: sessions, keys, links, codes."""
    for name in random.sample(dead := person.ledger.known("session:", DEAD), min(number, len(dead))):
        try_session(person, name)
    use_key(person, *random.sample(dead := person.ledger.known("key:", DEAD), min(number, len(dead))))
    for path in random.sample(used := [one for one in person.used_links if "/" in one], min(number, len(used))):
        person.past_passwords.append(again := new_password())
        effects: dict[str, Any] = {"takes": path, "sets": {"password": again}, "ends": (*person.sessions, *person.keys)}
        person.ask("use link again", "POST", path, {"password": again}, letter=PASSWORD_CHANGED, **effects)


def try_old_password(person: Person) -> None:
    """Try a password of before."""
    old = [one for one in person.past_passwords if one not in person.ledger.possible("password")]
    if old and person.wrong < TRIES_LEFT:
        body = {"email": person.email, "password": (chosen := random.choice(old))}
        reply = person.ask("old password", "POST", "/login", body, learn=lambda _: {"shows": {"password": chosen}})
        person.wrong += reply.code == "invalid_credentials"


def replay(person: Person) -> None:
    """A thief has an old refresh token: whoever shows it ends the session."""
    ready = [name for name in person.ledger.known("session:", LIVE) if len(person.sessions[name].older) > 3]
    if not ready:
        return
    name = random.choice(ready)
    reply = wire.ask(person.house.port(), "POST", "/refresh", headers=wire.bearer(person.sessions[name].older[0]))
    if outcome_of(reply) == YES:
        person.ledger.blame("a refresh token of long ago was traded for a pair")
    ended = YES if reply.code == "token_revoked" else outcome_of(reply)
    person.ledger.write(Event("replay", reply, ended, ends=(name,)))
    if ended == YES:
        try_session(person, name)


def replay_code(person: Person) -> None:
    """Whoever saw a code and knows the password tries it again, while the app still shows it."""
    if person.app and person.wrong == 0 and sign_in(person):
        body = {"email": person.email, "password": next(iter(person.ledger.possible("password")))}
        reply = wire.ask(person.house.port(), "POST", "/login", body)
        if "mfa_token" in reply.json:
            step = person.last_step
            give(person, reply.json["mfa_token"], step, person.app.generate_otp(step))


def guess(victim: Person, *, clocks: int = 1) -> None:
    """Guess a stranger's password on all hosts at once: no more are judged than the budget has (so many times, where clocks
    differ), and then nobody gets in.
    """
    ports, since = victim.house.ports, time.monotonic()
    body = {"email": victim.email, "password": "not the one at all"}
    replies = victim.at_once(GUESSES, lambda n: wire.ask(ports[n % len(ports)], "POST", "/login", body))
    for reply in replies:
        victim.note("guess", reply)
    victim.wrong += sum(reply.code == "invalid_credentials" for reply in replies)
    if victim.wrong > BUDGET * clocks:
        victim.ledger.blame(f"{victim.wrong} wrong passwords were judged")
    (right,) = victim.ledger.possible("password")
    reply = wire.ask(victim.house.port(), "POST", "/login", {"email": victim.email, "password": right})
    if victim.wrong >= BUDGET * clocks and time.monotonic() - since < 30 and outcome_of(reply) == YES:
        victim.ledger.blame("a stranger got in whose tries were used up")
    if outcome_of(reply) == YES:
        victim.wrong = 0
    victim.note("guess right", reply)
