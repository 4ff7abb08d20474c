"""The identities of an account at providers: ways in that its user lists, links and unlinks."""

from datetime import datetime
from typing import ClassVar, Literal

from flask import request

from domain import identities, providers, social
from domain.caller import Caller
from resources.base import Resource
from resources.google_auth import AuthUrl, Verifier
from resources.shapes import Body, Done, Given, Out, Password, Token


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


class Identities(Resource):
    """The caller's identities."""

    def get(self, caller: Caller) -> IdentitiesOut:
        """List them."""
        found = identities.of(caller.user_id)
        return IdentitiesOut(identities=[IdentityOut(**{name: getattr(one, name) for name in IdentityOut.model_fields}) for one in found])


class ProviderIdentity(Resource):
    """The caller's identity at one provider."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """To link one, its provider has to be configured; to unlink one, it has to be linked."""
        assert caller is not None
        if request.method == "POST":
            providers.find(parts["provider"])
        else:
            identities.find(caller, parts["provider"])

    def post(self, body: StartLink | FinishLink, caller: Caller, provider: str) -> AuthUrl | Linked:
        """Begin to link one, or do it with the code that came of it."""
        if isinstance(body, StartLink):
            return AuthUrl(auth_url=social.start_link(caller, provider, body.redirect_to, body.code_challenge))
        social.link(caller, provider, body.code, body.code_verifier)
        return Linked()

    def delete(self, body: Unlink, caller: Caller, provider: str) -> None:
        """Unlink it."""
        identities.remove(caller, provider)
