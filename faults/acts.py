"""What people do with their accounts; each act knows what has to be so afterwards."""

import io
import random
import secrets
from collections.abc import Mapping
from typing import Any

import pyotp
from PIL import Image

from faults import wire
from faults.house import wait_until
from faults.ledger import YES, outcome_of
from faults.people import CONFIRM, NEW_DEVICE, Person
from faults.wire import Reply

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (250, 250, 250), "black": (5, 5, 5)}
FRESH = {"factor": "off", "bio": "", "picture": ""}  # Of a new account.


def sign_up(person: Person) -> None:
    """Sign up; the password is the first that this person ever has."""
    person.past_passwords = [new_password()]
    person.ask("sign up", "POST", "/signup", {"email": person.email, "password": person.past_passwords[0]}, letter=CONFIRM)
    if person.promised[CONFIRM]:
        person.promised[CONFIRM] = 1  # Confirming withdraws the others.


def confirm(person: Person) -> bool:
    """Confirm by the link or the code of a letter that has come; whether there is one and it did."""
    letters = [one for one in person.house.postbox.to(person.email) if one.subject == CONFIRM]
    if not letters:
        return False
    link, digits = letters[0].path("confirm"), letters[0].digits
    made: dict[str, Any] = {"sets": {**FRESH, "password": person.past_passwords[0], "account": "there"}}
    if random.random() < 0.5:
        reply = person.ask("confirm by link", "POST", str(link), **made)
    else:
        body = {"email": person.email, "code": digits}
        reply = person.ask("confirm by code", "POST", "/confirm", body, takes=f"code:{digits}", **made)
        person.used_links.append(str(digits))
    return outcome_of(reply) == YES


def join(person: Person, *, with_factor: bool = False) -> None:
    """A new account in calm weather, signed in."""
    sign_up(person)
    if not (wait_until(lambda: confirm(person)) and wait_until(lambda: bool(sign_in(person)))):
        raise RuntimeError(f"{person.email} could not join: {person.ledger.violations or 'no mail, or no sign-in'}")
    if with_factor:
        turn_on_factor(person)


def sign_in(person: Person, *, port: int | None = None) -> str:
    """Sign in by the password, and a code where a factor is on; the session's name, empty without one."""
    for password in sorted(person.ledger.possible("password"), key=person.past_passwords.index, reverse=True):
        reply = _give_password(person, password, port)
        if outcome_of(reply) != YES:
            person.wrong += reply.code == "invalid_credentials"
            continue
        person.wrong = 0
        if reply.json["status"] == "mfa_required":
            reply = _give_code(person, reply.json["mfa_token"], port) or Reply(400)
        return f"session:{reply.json['session_id']}" if outcome_of(reply) == YES else ""
    return ""


def _give_password(person: Person, password: str, port: int | None = None) -> Reply:
    def learn(reply: Reply) -> Mapping[str, Any]:
        said = reply.json
        shows = {"password": password, "factor": "on" if said["status"] == "mfa_required" else "off"}
        if "mfa_token" in said:
            return {"shows": shows, "makes": (f"ticket:{said['mfa_token']}",)}
        return {"shows": shows, "makes": (_opened(person, reply),)}

    body = {"email": person.email, "password": password}
    return person.ask("sign in", "POST", "/login", body, port=port, headers=_device(), denies={"password": password}, learn=learn)


def _device() -> dict[str, str]:
    """A client that was never here before, which the owner is told of."""
    return {"User-Agent": f"Faults/{secrets.token_hex(4)}"}


def _opened(person: Person, reply: Reply) -> str:
    if person.sessions:  # The very first sign-in is told to nobody.
        person.promised[NEW_DEVICE] += 1
    return person.opened(reply)


def _give_code(person: Person, ticket: str, port: int | None = None) -> Reply | None:
    found = person.code()
    return give(person, ticket, *found, port=port) if found else None


def give(person: Person, ticket: str, step: int, digits: str, *, port: int | None = None) -> Reply:
    """Give a code of the app for a ticket: it works once, whatever the ticket."""
    name = f"ticket:{ticket}"
    body = {"mfa_token": ticket, "method": "totp", "code": digits}
    effects: dict[str, Any] = {"by": name, "ends": (name,), "takes": f"step:{step}", "headers": _device()}
    effects["learn"] = lambda reply: {"makes": (_opened(person, reply),)}
    return person.ask("give code", "POST", "/verify-otp", body, port=port, **effects)


def turn_on_factor(person: Person) -> None:
    """Turn an authenticator app on."""
    mine = person.session()
    token = person.sessions[mine].access
    setup = person.ask("begin factor", "POST", "/mfa", {}, token=token, by=mine).json
    person.app = pyotp.TOTP(setup["secret"])
    found = person.code()
    assert found
    others = tuple(name for name in person.sessions if name != mine)
    person.ask("turn on factor", "POST", "/mfa", {"code": found[1]}, token=token, by=mine, sets={"factor": "on"}, ends=others)


def read(person: Person, *, port: int | None = None) -> None:
    """Read the profile."""
    if mine := person.session() or sign_in(person):
        person.ask("read", "GET", "/profile", token=person.sessions[mine].access, by=mine, port=port, learn=bio)


def bio(reply: Reply) -> Mapping[str, Any]:
    """What a profile says of its owner."""
    return {"shows": {"bio": reply.json["bio"] or ""}}


def look(person: Person) -> None:
    """Look at the own picture."""
    mine = person.session()
    reply = person.ask("read", "GET", "/profile", token=person.sessions[mine].access, by=mine) if mine else Reply(400)
    if outcome_of(reply) != YES:
        return
    if (url := reply.json["picture_url"]) is None:
        person.note("look", reply, shows={"picture": ""})
        return
    picture = person.ask("look", "GET", "/" + url.split("/", 3)[3], learn=lambda reply: {"shows": {"picture": _colour(reply.body)}})
    if picture.status == 404:
        person.ledger.blame("the picture of the profile is not there")


def write(person: Person, *, by_port: int | None = None) -> bool:
    """Change the profile; whether it was acknowledged."""
    if not (mine := person.session() or sign_in(person)):
        return False
    said = {"bio": secrets.token_hex(8)}
    reply = person.ask("write", "PATCH", "/profile", said, token=person.sessions[mine].access, by=mine, port=by_port, sets=said)
    return outcome_of(reply) == YES


def paint(person: Person) -> Reply | None:
    """Upload a picture of one colour."""
    if not (mine := person.session()):
        return None
    colour, made = random.choice(list(COLOURS)), io.BytesIO()
    Image.new("RGB", (300, 300), COLOURS[colour]).save(made, "PNG")
    form, media_type = wire.form_with("picture", made.getvalue())
    effects: dict[str, Any] = {"by": mine, "sets": {"picture": colour}, "media_type": media_type}
    return person.ask("upload", "PATCH", "/profile", form, token=person.sessions[mine].access, **effects)


def _colour(picture: bytes) -> str:
    pixel = Image.open(io.BytesIO(picture)).convert("RGB").getpixel((128, 128))
    assert isinstance(pixel, tuple)
    return min(COLOURS, key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], pixel, strict=True)))


def refresh(person: Person, times: int = 1) -> None:
    """Trade the refresh token for the next pair; many times at once, everybody has to get the same."""
    if not (mine := person.session()):
        return
    token = person.sessions[mine].refresh
    learn: dict[str, Any] = {"by": mine, "learn": lambda reply: person.refreshed(mine, token, reply)}
    if times == 1:
        person.ask("refresh", "POST", "/refresh", token=token, **learn)
        return
    ports = person.house.ports
    for reply in person.at_once(times, lambda n: wire.ask(ports[n % len(ports)], "POST", "/refresh", headers=wire.bearer(token))):
        person.note("refresh in a herd", reply, **learn)


def new_password() -> str:
    """One that nobody guesses."""
    return f"quiet lanterns {secrets.token_hex(8)}"
