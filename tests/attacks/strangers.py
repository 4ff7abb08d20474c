"""What a stranger may ask about an address, and what the address may have: two tables, from which the tests that compare the
answers, and the work behind them, take every pair. A new flow is one row, and so is a new state.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import pyotp
from sqlalchemy import select

from domain import accounts, clock, secrets, totp
from domain.database import transaction
from model import Factor, Identity, User
from tests.attacks.acts import OTHER, account, ticket
from tests.visitor import Answer, Visitor

GUESS = "the password that I signed up with"


class Who(NamedTuple):
    """Whom a stranger asks about."""

    email: str
    username: str


class Flow(NamedTuple):
    """What a stranger asks, and the status and code of the first answer; `limit` is how many there are before a 429."""

    act: Callable[[Visitor, Who], Answer]
    status: int
    code: str | None = None
    limit: int | None = None


def _signed_in_before(visitor: Visitor, who: Who) -> None:
    """An account whose owner has been here: with a session, a device, a language, a counted sign-in and a counted mail."""
    account(who.email, username=who.username, name="Robin", locale="de")
    assert visitor.post("/forgot-password", {"email": who.email}).status == 202
    assert visitor.login(who.email).status == 200


def _with_a_full_mailbox(visitor: Visitor, who: Who) -> None:
    _signed_in_before(visitor, who)
    for _ in range(12):  # More than MAIL_LIMIT.
        assert visitor.post("/forgot-password", {"email": who.email}).status == 202


def _with_a_second_factor(visitor: Visitor, who: Who) -> None:
    """Its owner has signed in with it, so a right code was counted too."""
    _signed_in_before(visitor, who)
    secret = totp.new_secret()
    with transaction() as db:
        user = db.scalars(select(User).where(User.email == who.email)).one()
        user.mfa_enabled = True
        factor = Factor(id=user.id, user_id=user.id, type="totp", name="app", last_step=0, created_at=user.created_at)
        factor.secret_encrypted, factor.proven_at = secrets.encrypt(secret), user.created_at
        db.add(factor)
    proof = {"mfa_token": ticket(visitor, who.email), "method": "totp", "code": pyotp.TOTP(secret).now()}
    assert visitor.post("/verify-otp", proof).json["status"] == "signed_in"


def _disabled(visitor: Visitor, who: Who) -> None:
    _signed_in_before(visitor, who)
    accounts.deactivate(who.email)


def _being_deleted(visitor: Visitor, who: Who) -> None:
    account(who.email, username=who.username, name="Robin", locale="de")
    assert visitor.post("/forgot-password", {"email": who.email}).status == 202
    assert visitor.delete("/profile", token=visitor.login(who.email).json["access_token"]).status == 202


def _social_only(_: Visitor, who: Who) -> None:
    user_id = account(who.email, None, username=who.username)
    seen = {"provider": "google", "issuer": "https://accounts.google.com", "sub": user_id, "email": who.email}
    with transaction() as db:
        at = db.get_one(User, user_id).created_at
        db.add(Identity(id=user_id, user_id=user_id, linked_at=at, last_used_at=at, **seen))


def _invited(_: Visitor, who: Who) -> None:
    account(who.email, None, username=who.username, invited_at=clock.now())


STATES: dict[str, Callable[[Visitor, Who], object]] = {
    "unknown": lambda _visitor, _who: None,
    "known": _signed_in_before,
    "known, never signed in": lambda _, who: account(who.email, username=who.username),
    "unconfirmed": lambda visitor, who: visitor.sign_up(who.email, username=who.username),
    "disabled": _disabled,
    "being deleted": _being_deleted,
    "social only": _social_only,
    "second factor": _with_a_second_factor,
    "invited": _invited,
    "full mailbox": _with_a_full_mailbox,
}


def _sign_up_and_in(visitor: Visitor, who: Who) -> Answer:
    assert visitor.sign_up(who.email, GUESS).status == 201
    return visitor.login(who.email, GUESS)


def _code_to_sign_in(visitor: Visitor, who: Who) -> Answer:
    asked = visitor.post("/send-otp", {"email": who.email})
    return asked if asked.status != 202 else visitor.post("/verify-otp", {"otp_token": asked.json["otp_token"], "code": "abcdef"})


def _page(path: str) -> Callable[[Visitor, Who], Answer]:
    return lambda visitor, who: visitor.get(f"{path}/{who.username}", headers={"Accept": "text/html"})


FLOWS: dict[str, Flow] = {
    "login": Flow(lambda visitor, who: visitor.login(who.email, OTHER), 401, "invalid_credentials", 5),
    "login by username": Flow(
        lambda visitor, who: visitor.post("/login", {"username": who.username, "password": OTHER}), 401, "invalid_credentials", 5
    ),
    "login without a password": Flow(lambda visitor, who: visitor.login(who.email, ""), 401, "invalid_credentials", 5),
    "login from a device": Flow(
        lambda visitor, who: visitor.login(who.email, OTHER, headers={"X-Device-Token": "a token"}), 401, "invalid_credentials", 5
    ),
    "signup": Flow(lambda visitor, who: visitor.sign_up(who.email, OTHER), 201),
    "signup with a username": Flow(lambda visitor, who: visitor.sign_up(who.email, OTHER, username=who.username, name="Eve"), 201),
    "signup with a bad password": Flow(lambda visitor, who: visitor.sign_up(who.email, "short"), 400, "weak_password"),
    "signup and login": Flow(_sign_up_and_in, 401, "invalid_credentials", 5),
    "confirm": Flow(lambda visitor, who: visitor.post("/confirm", {"email": who.email, "code": "abcdef"}), 401, "mfa_invalid_code", 5),
    "resend-confirmation": Flow(lambda visitor, who: visitor.post("/resend-confirmation", {"email": who.email}), 202),
    "forgot-password": Flow(lambda visitor, who: visitor.post("/forgot-password", {"email": who.email}), 202),
    "send-otp": Flow(lambda visitor, who: visitor.post("/send-otp", {"email": who.email}), 202),
    "verify-otp": Flow(_code_to_sign_in, 401, "mfa_invalid_code", 5),
    "a link to confirm": Flow(lambda visitor, who: visitor.post(f"/confirm/{who.username}"), 400, "link_invalid"),
    "a link to reset": Flow(lambda visitor, who: visitor.post(f"/reset-password/{who.username}", {"password": OTHER}), 400, "link_invalid"),
    "a token to reset": Flow(
        lambda visitor, who: visitor.post("/api/password/reset", {"token": who.username, "password": OTHER}), 400, "link_invalid"
    ),
    "the page to confirm": Flow(_page("/confirm"), 200),
    "the page to reset": Flow(_page("/reset-password"), 200),
}


def everybody(visitor: Visitor, email: str) -> dict[str, Who]:
    """Somebody in each of the states; their addresses and usernames are equally long."""
    word = email.split("@", maxsplit=1)[0].removeprefix("user-")
    found = {state: Who(f"{number}.{email}", f"{number}.{word}") for number, state in enumerate(STATES)}
    for state, prepare in STATES.items():
        prepare(visitor, found[state])
    return found


def told(whos: dict[str, Who], act: Callable[[Who], Answer]) -> tuple[int, str | None]:
    """The status and code that everybody's answer has. In nothing else may the answers differ: body, names and values of
    headers, cookies; but for what is random, and a wait that has got some seconds shorter from one to the next.
    """
    answers = {state: act(who) for state, who in whos.items()}
    seen = {state: _without_marks(answer) for state, answer in answers.items()}
    assert len(set(seen.values())) == 1, seen
    waits = [int(answer.headers.get("Retry-After", 0)) for answer in answers.values()]
    assert max(waits) - min(waits) <= 5, dict(zip(answers, waits, strict=True))
    return answers["unknown"].status, answers["unknown"].code


def _without_marks(answer: Answer) -> tuple[object, ...]:
    body = re.sub(r'"(request_id|otp_token)":"[^"]*"', r'"\1":"…"', answer.text)
    changing = {"Date": "", "X-Request-ID": "", "Retry-After": ""}
    headers = sorted((name, changing.get(name, value)) for name, value in answer.headers.items())
    return answer.status, body, len(answer.body), tuple(headers), tuple(sorted(answer.cookies))
