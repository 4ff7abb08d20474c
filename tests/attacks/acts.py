"""What several of the attack tests do and look at: rows behind the server's back, accounts in every state, aged tokens."""

import socket
from collections import Counter
from typing import Any

import jwt
from sqlalchemy import func, select

import config
from domain import accounts, passwords
from domain.database import reading, transaction
from model import Factor, Mail, Session, User
from tests.visitor import PASSWORD, Answer, Visitor

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


def account(email: str, password: str | None = PASSWORD) -> str:
    """A confirmed account, made without a mail; without a password it is one of social sign-in."""
    hashed = passwords.hash(password) if password is not None else None
    with transaction() as db:
        return accounts.add(db, email, hashed).id


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


def ticket(visitor: Visitor, email: str, password: str = PASSWORD, **more: Any) -> str:
    """The mfa_token of a sign-in that waits for its second factor."""
    answer = visitor.login(email, password, **more)
    assert answer.json["status"] == "mfa_required", answer.body
    return answer.json["mfa_token"]


def raw(port: int, text: str) -> bytes:
    """What the server answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall(text.encode("latin-1"))
        wire.settimeout(10)
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
    return received
