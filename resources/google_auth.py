"""Sign in by Google, or any other provider of the table in `domain/provider_table.py`."""

from typing import Annotated, ClassVar, Literal, Self

from flask import Response, request
from pydantic import ConfigDict, PrivateAttr, StringConstraints

import config
from domain import limits, providers, secrets, social
from domain.caller import Caller, Client
from domain.social import LinkPending, Redirect, Returned, Start
from resources import sign_in
from resources.base import Resource
from resources.shapes import FORM, Body, Cookies, Given, Out, Query, Token
from resources.sign_in import Tokens, Waiting

Verifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Answered = Annotated[str, StringConstraints(max_length=2000)]


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
    name: str | None = None  # Not from the provider: see `providers.as_address`.
    as_sent: ClassVar[frozenset[str]] = frozenset({"state", "code", "error", "iss", "name"})


class PostedReturn(Body):
    """The same in a form, which the page of a provider posts; other fields are let be."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    media_types: ClassVar[tuple[str, ...]] = (FORM,)

    state: Answered
    code: Answered | None = None
    error: Answered | None = None
    iss: Answered | None = None
    user: Answered | None = None


class Exchange(Body):
    """The one-time code that came to the front end, and the verifier of the challenge that it began with."""

    code: Token
    code_verifier: Verifier
    cookies: Given[Cookies] = None


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
    def at(cls, address: str, start: Start | None = None) -> Self:
        """This address, with the cookie of a start."""
        made = cls()
        made._address, made._start = address, start
        return made

    def finish(self, response: Response) -> None:
        """Name the address, and set the cookie that a start is bound by."""
        response.headers["Location"] = self._address
        if self._start:
            _bind(response, self._start)


class Onward(Elsewhere):
    """The browser brings the same answer as an address."""

    http_status: ClassVar[int] = 303


class LinkPendingOut(Out):
    """Nothing is linked before the account's owner brings this code."""

    status: Literal["link_pending"] = "link_pending"
    code: str
    expires_in: int


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

    def get(self, provider: str, query: ReturnQuery, client: Client) -> Tokens | Waiting | LinkPendingOut | Elsewhere:
        """Go on to the front end with a one-time code, or answer here."""
        browser = request.cookies.get(_cookie(query.state))
        returned = Returned(query.state, query.code, query.error, query.iss, browser, query.name)
        outcome = social.come_back(provider, returned, client)
        match outcome:
            case Redirect():
                return Elsewhere.at(outcome.to)
            case LinkPending():
                return LinkPendingOut(code=outcome.code, expires_in=outcome.expires_in)
            case _:
                return sign_in.answer(outcome)

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Only some providers post their answers."""
        if request.method == "POST":
            providers.check_posts(parts["provider"])

    def post(self, body: PostedReturn, provider: str) -> Onward:
        """Have the browser come anew, with its cookie."""
        return Onward.at(providers.as_address(provider, body.model_dump(exclude={"user"}), body.user))


class SocialExchange(Resource):
    """The end of a sign-in that went by a front end."""

    def post(self, body: Exchange, client: Client) -> Tokens | Waiting:
        """Trade the one-time code."""
        return sign_in.answer(social.exchange(body.code, body.code_verifier, client), cookies=body.cookies)


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
