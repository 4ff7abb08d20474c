"""Sign-in by an identity provider: out to it, back from it, and in; or to link one more way in to an account.

An identity opens the account that it was linked to. An unknown one whose provider vouches for its address joins that address's
account, or makes it; any other proves the address by a mailed code first, and whether somebody has it does not show before.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from sqlalchemy.orm import Session as Database

from domain import (
    accounts,
    audit,
    budgets,
    devices,
    factors,
    flows,
    identities,
    limits,
    login,
    mail,
    metrics,
    providers,
    redirects,
    secrets,
    tickets,
    totp,
)
from domain.caller import Caller, Client
from domain.database import reading, transaction
from domain.errors import (
    AccountDisabled,
    Fault,
    LinkInvalid,
    LinkTaken,
    MfaInvalidCode,
    MfaTicketExpired,
    ProviderFailed,
    Refused,
    SignUpClosed,
    Unavailable,
    ValidationFailed,
)
from domain.flows import Back
from domain.provider_table import DENIED
from domain.providers import Claims, Provider
from domain.sessions import Grant
from domain.stages import Pending
from model import SocialFlow, User

T = TypeVar("T")
EMAIL_PROVEN = "email_proven"
TRIES = 3  # At an act that somebody else may be faster at.
# What a front end is told in `?error=`.
WORDS: dict[type[Refused], str] = {Unavailable: "provider_unavailable", AccountDisabled: "account_disabled", LinkTaken: "link_taken"}


class Start(NamedTuple):
    """Where the browser goes, and what it keeps until it comes back (nothing, if it comes back to a front end)."""

    auth_url: str
    state: str
    browser: str | None


class Returned(NamedTuple):
    """What a browser brought back from a provider, as it came, and what it had kept."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None
    browser: str | None = None
    name: str | None = None


class Redirect(NamedTuple):
    """The browser goes on to the front end, with a code or an error."""

    to: str


class LinkPending(NamedTuple):
    """The identity is linked once its account's owner brings this code."""

    code: str
    expires_in: int


def start(provider: str, redirect_to: str | None, code_challenge: str | None) -> Start:
    """Begin a sign-in. `RedirectNotAllowed`, `NotFound`, `ValidationFailed` without a challenge, `Unavailable`."""
    if redirect_to is not None:
        redirects.check(redirect_to)
    found = providers.find(provider)
    flows.check_challenge(code_challenge, needed=redirect_to is not None)
    return _start(found, Back(redirect_to, code_challenge, secrets.token() if redirect_to is None else None))


def start_link(caller: Caller, provider: str, redirect_to: str | None, code_challenge: str | None) -> str:
    """Begin to link an identity to the caller's account: where to send the browser. The code that comes of it is the caller's
    alone, so there need be no challenge. Refuses as `start` does.
    """
    if redirect_to is not None:
        redirects.check(redirect_to)
    found = providers.find(provider)
    flows.check_challenge(code_challenge, needed=False)
    return _start(found, Back(redirect_to, code_challenge), caller).auth_url


def come_back(provider: str, returned: Returned, client: Client) -> Redirect | LinkPending | Grant | Pending:
    """Go on when the browser comes back: to the front end with a one-time code or an error, else straight in.

    `ProviderFailed`, `Unavailable`, `AccountDisabled`, `LinkTaken`, `SignUpClosed`, where there is no front end to tell.
    """
    found = providers.find(provider)
    with transaction() as db:
        flow, is_first = flows.come_back(db, provider, returned.state, returned.browser)
    if flow is None:
        raise ProviderFailed
    try:
        claims = _ask(found, flow, returned if is_first else None)
        return _go_on(flow, claims, client)
    except (ProviderFailed, Unavailable, AccountDisabled, LinkTaken, SignUpClosed) as refusal:
        if flow.redirect_to is None:
            raise
        word = "access_denied" if returned.error in DENIED else WORDS.get(type(refusal), "failed")
        return Redirect(redirects.with_query(flow.redirect_to, error=word))


def exchange(code: str, verifier: str, client: Client) -> Grant | Pending:
    """Sign in with the one-time code that the front end got. `LinkInvalid`, `TokenUsed`; else as `enter` refuses."""
    with transaction() as db:
        claims = flows.redeem(db, code, verifier, SocialFlow.link_user_id.is_(None))
    if claims is None:
        raise LinkInvalid
    return enter(claims, client)


def link(caller: Caller, provider: str, code: str, verifier: str | None) -> None:
    """Link the identity that a code stands for, for who began it, in the same session. `LinkInvalid`, `TokenUsed`, `LinkTaken`."""
    mine = (
        SocialFlow.provider == provider,
        SocialFlow.link_user_id == caller.user_id,
        SocialFlow.link_session_id == caller.session_id,
    )
    with transaction() as db:
        claims = flows.redeem(db, code, verifier, *mine)
        if claims is not None:
            identities.link(db, caller, claims)
    if claims is None:
        raise LinkInvalid


@metrics.sign_in("social")
def enter(claims: Claims, client: Client) -> Grant | Pending:
    """Sign in whom a provider knows, or ask for proof of the address. `AccountDisabled`, `LinkTaken`, `SignUpClosed`."""
    with audit.failures("sign_in", identities.owner_id(claims), client, name=claims.email):
        found = _settled(lambda db: identities.admit(db, claims, client) or _ask_for_proof(db, claims))
    if isinstance(found, Pending):
        return found
    with audit.failures("sign_in", found.id, client):
        return login.enter(found, [login.SOCIAL], client)


@metrics.sign_in("social")
def prove(ticket: str, method: str, code: str, client: Client) -> Grant | Pending:
    """Prove the address that a provider did not vouch for, by a mailed code, and go in.

    `MfaTicketExpired`, `MfaInvalidCode`, `TooManyAttempts`, `ValidationFailed`, `AccountDisabled`, `LinkTaken`, `SignUpClosed`.
    """
    with reading() as db:
        pending = tickets.find_pending(db, ticket)
    if pending is None or pending.stage != EMAIL_PROVEN or pending.identity is None:
        raise MfaTicketExpired
    if method != factors.EMAIL:
        raise ValidationFailed(errors=[Fault("method", "not_enrolled", "This sign-in waits for a mailed code.")])
    claims = Claims(**pending.identity)._replace(vouched=True)
    tried = _spend(pending.email, client)

    def act(db: Database) -> User | None:
        if tickets.try_code(db, tickets.PROVE, pending.id, totp.plain_digits(code)) is None:
            return None
        if not tickets.take_pending(db, pending):
            raise MfaTicketExpired
        return identities.admit(db, claims, client)

    with audit.failures("sign_in", pending.user_id, client, tried=tried, name=pending.email):
        user = _settled(act)
        if user is None:
            raise MfaInvalidCode
        return login.enter(user, [login.SOCIAL, login.MAILED_CODE], client, tried=tried)


def _start(provider: Provider, back: Back, caller: Caller | None = None) -> Start:
    visit = flows.visit(provider.name)
    url = providers.authorization_url(provider, visit)
    with transaction() as db:
        flows.begin(db, provider.name, visit, back, caller)
    return Start(url, visit.state, back.browser)


def _ask(provider: Provider, flow: SocialFlow, returned: Returned | None) -> Claims:
    """Who it was that came back with a code, for the first time."""
    if returned is None or returned.error is not None or not returned.code:
        raise ProviderFailed
    visit = flows.visit_of(flow, returned.state)
    return providers.identify(provider, visit, returned.code, returned.issuer, returned.name)


def _go_on(flow: SocialFlow, claims: Claims, client: Client) -> Redirect | LinkPending | Grant | Pending:
    if flow.link_user_id is None and flow.redirect_to is None:
        return enter(claims, client)
    with audit.failures("sign_in", identities.owner_id(claims), client, name=claims.email), transaction() as db:
        if flow.link_user_id is None:
            identities.look(db, claims)
        else:
            identities.check_link(db, flow.link_user_id, claims)
        code = flows.hand_over(db, flow, claims)
    return Redirect(redirects.with_query(flow.redirect_to, code=code)) if flow.redirect_to else LinkPending(code, limits.EXCHANGE_SECONDS)


def _settled(act: Callable[[Database], T]) -> T:
    """Do an act that makes or joins an account; anew, if somebody else was first, for then there is one to go in by."""
    for _ in range(TRIES):
        with suppress(identities.Raced), transaction() as db:
            return act(db)
    raise Unavailable(retry_after=1)


def _ask_for_proof(db: Database, claims: Claims) -> Pending:
    """Mail a code to the address that nobody vouches for. The same work and answer whether or not somebody has it."""
    email = claims.email or ""
    user = accounts.find(db, email)
    user_id = user.id if user else None
    ticket = tickets.make_pending(db, EMAIL_PROVEN, email, [login.SOCIAL], user_id, claims._asdict())
    pending = tickets.find_pending(db, ticket)
    assert pending is not None
    code = tickets.make_code(db, tickets.PROVE, pending.id, email, user_id)
    mail.send_capped(db, "code", email, mail.code_values(code, tickets.PROVE), locale=user.locale if user else None)
    return Pending("confirmation_required", ticket, [factors.EMAIL])


def _spend(email: str, client: Client) -> budgets.Try:
    """A try at the codes of an address, out of the budget of its account, or of the name that nobody has."""
    user = accounts.look_up(email)
    device = devices.recognise(client, user.id if user else "")
    return budgets.spend("code", accounts.budget_name(user, email), device.id if device else budgets.STRANGER)
