"""What several of the attack tests do and look at: rows behind the server's back, accounts in every state, aged tokens."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import Any

import jwt
from sqlalchemy import func, select

import config
from domain import accounts, cards, clock, passwords, roles
from domain.database import new_id, reading, transaction
from model import Assignment, Factor, Identity, Mail, Role, Session, User
from tests.serving import PATIENCE, ROOT
from tests.visitor import PASSWORD, Answer, Visitor, code_of

OTHER = "another long password"


def wide(text: str) -> str:
    """Full-width look-alikes of these ASCII characters, which are the same to who normalises by NFKC."""
    return "".join(chr(ord(one) + 0xFEE0) for one in text)


def count(table: Any, *which: Any) -> int:
    """How many rows of a table there are."""
    with reading() as db:
        return db.scalar(select(func.count()).select_from(table).where(*which)) or 0


def mails_of(email: str, *states: str) -> int:
    """How many letters the outbox has had for an address, in some or all states."""
    return count(Mail, Mail.to == email, *([Mail.state.in_(states)] if states else []))


def user_of(email: str) -> User:
    """The row of an account."""
    with reading() as db:
        return db.scalars(select(User).where(User.email == email)).one()


def factors_of(email: str) -> int:
    """How many factors an account has that count."""
    return count(Factor, Factor.user_id == user_of(email).id, Factor.proven_at.is_not(None))


def live_sessions_of(email: str) -> int:
    """How many sessions of an account are running."""
    return count(Session, Session.user_id == user_of(email).id, Session.ended_at.is_(None))


def account(email: str, password: str | None = PASSWORD, **columns: Any) -> str:
    """A confirmed account, made without a mail; without a password it is one of social sign-in."""
    hashed = passwords.hash(password) if password is not None else None
    with transaction() as db:
        user = accounts.add(db, email, hashed)
        for name, value in columns.items():
            setattr(user, name, value)
        return user.id


def an_admin(visitor: Visitor) -> Any:
    """A new administrator, signed in: the JSON of the tokens."""
    email = f"admin-{new_id()}@example.com"
    accounts.create(email, PASSWORD, admin=True)
    return visitor.login(email).json


def staff(visitor: Visitor, *permissions: str) -> Any:
    """A new user with these of the server's own permissions, signed in; there is an administrator already."""
    member = visitor.member()
    now = clock.now()
    with transaction() as db:
        db.add(Role(id=(role := new_id()), service_id=roles.GATEHOUSE, name=role, permissions=list(permissions), created_at=now))
        db.flush()
        db.add(Assignment(user_id=member["user"]["id"], role_id=role, assigned_at=now))
        cards.mark(db)
    return member


@contextmanager
def while_open():
    """In this process it is as it was before SIGN_UP was changed."""
    now = config.settings
    config.settings = now.model_copy(update={"SIGN_UP": "open"})
    yield
    config.settings = now


def statuses(answers: list[Answer]) -> Counter[int]:
    """How many answers had which status."""
    return Counter(one.status for one in answers)


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    return jwt.decode(token, options={"verify_signature": False})


def aged(token: str, seconds: int = 100_000) -> str:
    """The same access token of a sign-in that lies so much further back."""
    key = config.keys(config.settings.JWT_SECRET_KEY)[0]
    older = claims(token) | {"auth_time": claims(token)["auth_time"] - seconds}
    return jwt.encode(older, key, "HS256", {"kid": jwt.get_unverified_header(token)["kid"]})


def over(token: str) -> str:
    """The same token, a minute after its end."""
    key = config.keys(config.settings.JWT_SECRET_KEY)[0]
    past = {**claims(token), "iat": int(time.time()) - 120, "exp": int(time.time()) - 60}
    return jwt.encode(past, key, "HS256", {"kid": jwt.get_unverified_header(token)["kid"]})


def ticket(visitor: Visitor, email: str, password: str = PASSWORD, **more: Any) -> str:
    """The mfa_token of a sign-in that waits for its second factor."""
    answer = visitor.login(email, password, **more)
    assert answer.json["status"] == "mfa_required", answer.body
    return answer.json["mfa_token"]


def trusted(visitor: Visitor, email: str) -> Any:
    """The tokens of a new user with a factor, signed in from a device that stands for it."""
    app, _ = visitor.turn_on_totp(visitor.member(email)["access_token"])
    proof = {"mfa_token": ticket(visitor, email), "method": "totp", "code": code_of(app), "trust_device": True}
    answer = visitor.post("/verify-otp", proof)
    assert answer.status == 200, answer.body
    return answer.json


def raw(port: int, text: str) -> bytes:
    """What the server answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as wire:
        wire.sendall(text.encode("latin-1"))
        wire.settimeout(PATIENCE)
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
    return received


def refused(answer: Answer, code: str = "provider_failed", status: int = 400) -> bool:
    """Whether that is how it was refused."""
    return (answer.status, answer.code) == (status, code)


def nobody_came_in(email: str) -> bool:
    """Neither an account nor an identity came of it."""
    return not count(User, User.email == email) and not count(Identity, Identity.email == email)


def exported(server):
    """The audit trail as `flask audit export` writes it."""
    environment = {**os.environ, **{name: str(value) for name, value in server.settings.items()}}
    command = [sys.executable, "-m", "flask", "--app", "app", "audit", "export"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=True).stdout.decode()
