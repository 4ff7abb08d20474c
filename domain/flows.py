"""A browser's way to a provider and back, as its row remembers it. Every step is taken once, by one guarded update.

The return belongs to its start by `state` (RFC 9700, 2.1 and 4.7). Without an address to return to, it belongs to one browser by
a cookie; with one, what comes of it is handed over by a one-time code, to whoever can say the PKCE verifier (RFC 7636).
"""

import base64
import hashlib
import hmac
import re
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session as Database

from domain import clock, limits, providers, secrets
from domain.caller import Caller
from domain.database import changed, new_id
from domain.errors import Fault, LinkInvalid, TokenUsed, ValidationFailed
from domain.providers import Claims
from model import SocialFlow
from outbound.code_flow import Visit

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # The base64url of a SHA-256.


class Back(NamedTuple):
    """To whom a visit comes back: to a front end at `redirect_to`, or to the browser that has this cookie."""

    redirect_to: str | None = None
    code_challenge: str | None = None
    browser: str | None = None


def check_challenge(code_challenge: str | None, *, needed: bool) -> None:
    """Refuse a challenge that is no S256 one, or is missing where it is needed: `ValidationFailed`."""
    if code_challenge is None and not needed:
        return
    if code_challenge is None or not CHALLENGE.fullmatch(code_challenge):
        word = "missing" if code_challenge is None else "invalid"
        raise ValidationFailed(errors=[Fault("code_challenge", word, "Send the S256 challenge of a PKCE verifier (RFC 7636).")])


def visit(provider: str) -> Visit:
    """The secrets of a new visit to a provider."""
    return Visit(providers.callback(provider), secrets.token(), secrets.token(), secrets.token())


def begin(db: Database, provider: str, visit: Visit, back: Back, caller: Caller | None) -> None:
    """Remember a visit until its return, for SOCIAL_FLOW_SECONDS; of `caller`, if it is to link an identity."""
    now = clock.now()
    db.add(
        SocialFlow(
            id=new_id(),
            provider=provider,
            state_hash=secrets.hashed(visit.state),
            browser_hash=secrets.hashed(back.browser) if back.browser else None,
            nonce=visit.nonce,
            verifier_encrypted=secrets.encrypt(visit.verifier),
            redirect_to=back.redirect_to,
            code_challenge=back.code_challenge,
            link_user_id=caller.user_id if caller else None,
            link_session_id=caller.session_id if caller else None,
            created_at=now,
            expires_at=now + timedelta(seconds=limits.SOCIAL_FLOW_SECONDS),
        )
    )


def come_back(db: Database, provider: str, state: str, browser: str | None) -> tuple[SocialFlow | None, bool]:
    """The visit that this return belongs to, if it is this provider's and this browser's, and whether it is the first one
    and in time. What another browser brings uses nothing up.
    """
    now = clock.now()
    same_browser = or_(SocialFlow.browser_hash.is_(None), SocialFlow.browser_hash == secrets.hashed(browser or ""))
    mine = (SocialFlow.state_hash == secrets.hashed(state), SocialFlow.provider == provider, same_browser)
    alive = (SocialFlow.used_at.is_(None), SocialFlow.expires_at > now)
    taken = changed(db, update(SocialFlow).where(*mine, *alive).values(used_at=now)) == 1
    return db.scalar(select(SocialFlow).where(*mine)), taken


def visit_of(flow: SocialFlow, state: str) -> Visit:
    """The secrets of a visit that has come back; `LinkInvalid` if they are under a key that was lost meanwhile."""
    verifier = secrets.opened(flow.verifier_encrypted)
    if verifier is None:
        raise LinkInvalid
    return Visit(providers.callback(flow.provider), state, flow.nonce, verifier)


def hand_over(db: Database, flow: SocialFlow, claims: Claims) -> str:
    """A one-time code for what the provider said, good for EXCHANGE_SECONDS."""
    code = secrets.token()
    values = {
        "code_hash": secrets.hashed(code),
        "code_expires_at": clock.now() + timedelta(seconds=limits.EXCHANGE_SECONDS),
        "identity": claims._asdict(),
    }
    db.execute(update(SocialFlow).where(SocialFlow.id == flow.id).values(values))
    return code


def redeem(db: Database, code: str, verifier: str | None, *mine: ColumnElement[bool]) -> Claims | None:
    """What a code was handed out for, once; None for a wrong verifier, which spends it too, so the caller commits.

    `TokenUsed` for a code that was used, `LinkInvalid` whatever else is wrong.
    """
    now = clock.now()
    this = (SocialFlow.code_hash == secrets.hashed(code), *mine)
    alive = (SocialFlow.code_used_at.is_(None), SocialFlow.code_expires_at > now)
    taken = changed(db, update(SocialFlow).where(*this, *alive).values(code_used_at=now)) == 1
    flow = db.scalar(select(SocialFlow).where(*this))
    if flow is None or flow.code_expires_at is None or flow.code_expires_at <= now:
        raise LinkInvalid
    if not taken:
        raise TokenUsed
    said, flow.identity = flow.identity, None  # It has done its work; nobody's name and address stay for longer.
    return Claims(**said) if said and _fits(flow.code_challenge, verifier) else None


def _fits(challenge: str | None, verifier: str | None) -> bool:
    """Whether the verifier is the one behind the challenge; where none was given, there is none to say."""
    if challenge is None or verifier is None:
        return challenge is verifier
    digest = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
