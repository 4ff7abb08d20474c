"""Sign in by Google, or any other provider of the table in `domain/providers.py`, and manage the identities of an account."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from flask import Response, request
from pydantic import PrivateAttr, StringConstraints

import config
from domain import identities, limits, secrets, social
from domain.caller import Caller, Client
from domain.social import LinkPending, Redirect, Returned, Start
from resources import sign_in
from resources.base import Resource
from resources.shapes import Body, Cookies, Done, Given, Out, Password, Query, Token
from resources.sign_in import PendingOut, Tokens

Verifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class StartQuery(Query):
    """The front end's address to return to, and its PKCE challenge. Without them the browser itself gets the answer."""

    redirect_to: str | None = None
    code_challenge: str | None = None
    as_sent: ClassVar[frozenset[str]] = frozenset({"redirect_to", "code_challenge"})


class ReturnQuery(Query):
    """What the provider sends the browser back with (RFC 6749 4.1.2, RFC 9207)."""

    state: str = ""
    code: str | None = None
    error: str | None = None
    iss: str | None = None
    as_sent: ClassVar[frozenset[str]] = frozenset({"state", "code", "error", "iss"})


class Exchange(Body):
    """The one-time code that came to the front end, and the verifier of the challenge that it began with."""

    code: Token
    code_verifier: Verifier
    cookies: Given[Cookies] = None


class StartLink(Body):
    """Begin to link an identity."""

    redirect_to: Given[str] = None
    code_challenge: Given[str] = None
    current_password: Given[Password] = None


class FinishLink(Body):
    """The code that the callback gave."""

    code: Token
    code_verifier: Given[Verifier] = None
    current_password: Given[Password] = None


class Unlink(Body):
    """No field is needed; on an account without a second factor the password stands for a recent sign-in."""

    current_password: Given[Password] = None


class AuthUrl(Out):
    """Where to send the browser."""

    auth_url: str
    _start: Start | None = PrivateAttr(None)

    @classmethod
    def of(cls, start: Start) -> "AuthUrl":
        """This start, with its cookie."""
        made = cls(auth_url=start.auth_url)
        made._start = start
        return made

    def finish(self, response: Response) -> None:
        """Set the cookie that the start is bound by."""
        if self._start:
            _bind(response, self._start)


class Elsewhere(Out):
    """The browser goes on to another address: the provider's, or the front end's with `?code=` or `?error=`."""

    http_status: ClassVar[int] = 302
    status: Literal["redirected"] = "redirected"
    _address: str = PrivateAttr()
    _start: Start | None = PrivateAttr(None)

    @classmethod
    def at(cls, address: str, start: Start | None = None) -> "Elsewhere":
        """This address, with the cookie of a start."""
        made = cls()
        made._address, made._start = address, start
        return made

    def finish(self, response: Response) -> None:
        """Name the address, and set the cookie that a start is bound by."""
        response.headers["Location"] = self._address
        if self._start:
            _bind(response, self._start)


class LinkPendingOut(Out):
    """Nothing is linked before the account's owner brings this code."""

    status: Literal["link_pending"] = "link_pending"
    code: str
    expires_in: int


class Linked(Done):
    """The identity is a way in from now on."""

    http_status: ClassVar[int] = 201
    status: Literal["linked"] = "linked"


class IdentityOut(Out):
    """One identity of an account."""

    provider: str
    email: str | None
    linked_at: datetime
    last_used_at: datetime | None


class IdentitiesOut(Out):
    """The identities of an account."""

    identities: list[IdentityOut]


class SocialStart(Resource):
    """The way out to a provider."""

    def get(self, provider: str, query: StartQuery) -> Elsewhere:
        """Send the browser there."""
        start = social.start(provider, query.redirect_to, query.code_challenge)
        return Elsewhere.at(start.auth_url, start)


class SocialAuthUrl(Resource):
    """The same start for clients that open the window themselves."""

    def get(self, provider: str, query: StartQuery) -> AuthUrl:
        """Say where to go."""
        return AuthUrl.of(social.start(provider, query.redirect_to, query.code_challenge))


class SocialCallback(Resource):
    """The way back from a provider."""

    def get(self, provider: str, query: ReturnQuery, client: Client) -> Tokens | PendingOut | LinkPendingOut | Elsewhere:
        """Go on to the front end with a one-time code, or answer here."""
        browser = request.cookies.get(_cookie(query.state))
        outcome = social.come_back(provider, Returned(query.state, query.code, query.error, query.iss, browser), client)
        match outcome:
            case Redirect():
                return Elsewhere.at(outcome.to)
            case LinkPending():
                return LinkPendingOut(code=outcome.code, expires_in=outcome.expires_in)
            case _:
                return sign_in.answer(outcome)


class SocialExchange(Resource):
    """The end of a sign-in that went by a front end."""

    def post(self, body: Exchange, client: Client) -> Tokens | PendingOut:
        """Trade the one-time code."""
        return sign_in.answer(social.exchange(body.code, body.code_verifier, client), cookies=body.cookies)


class Identities(Resource):
    """The caller's identities."""

    def get(self, caller: Caller) -> IdentitiesOut:
        """List them."""
        found = identities.of(caller.user_id)
        return IdentitiesOut(identities=[IdentityOut(**{name: getattr(one, name) for name in IdentityOut.model_fields}) for one in found])


class ProviderIdentity(Resource):
    """The caller's identity at one provider."""

    def post(self, body: StartLink | FinishLink, caller: Caller, client: Client, provider: str) -> AuthUrl | Linked:
        """Begin to link one, or do it with the code that came of it."""
        if isinstance(body, StartLink):
            return AuthUrl(auth_url=social.start_link(caller, provider, body.redirect_to, body.code_challenge))
        social.link(caller, provider, body.code, body.code_verifier, client)
        return Linked()

    def delete(self, body: Unlink, caller: Caller, provider: str) -> None:
        """Unlink it."""
        identities.remove(caller, provider)


def _bind(response: Response, start: Start) -> None:
    """Let this browser, and no other, come back; each visit has a cookie of its own, so that two windows do not mix."""
    if start.browser:
        response.set_cookie(
            _cookie(start.state),
            start.browser,
            max_age=limits.SOCIAL_FLOW_SECONDS,
            httponly=True,
            secure=config.settings.https,
            samesite="Lax",
            path="/",
        )


def _cookie(state: str) -> str:
    return ("__Host-" if config.settings.https else "") + "social_" + secrets.hashed(state)[:16]
