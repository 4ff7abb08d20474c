"""Passkeys: make, list, name and remove them; sign in by one. What browsers get and send is the JSON of W3C Web Authentication 3."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from domain import passkey_sign_in, passkeys
from domain.caller import Caller, Client
from model import Passkey
from resources import sign_in
from resources.base import Resource
from resources.shapes import Body, Cookies, Done, Given, Out, Proof, Token
from resources.sign_in import Tokens, Waiting

Base64Url = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]*$"), Field(examples=["dGVzdA"])]
CredentialId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=1364), Field(examples=["dGVzdA"])]
PasskeyName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), Field(examples=["My laptop"])]
Transport = Annotated[str, StringConstraints(max_length=32)]


class Part(BaseModel):
    """A part of a credential as `toJSON()` gives it. What else a browser puts beside is let be, for each puts there some more."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class Attested(Part):
    """How the authenticator answered that made a passkey."""

    client_data: Base64Url = Field(alias="clientDataJSON")
    attestation_object: Base64Url
    transports: list[Transport] | None = Field(default=None, max_length=16)


class Asserted(Part):
    """How the authenticator answered that showed a passkey."""

    client_data: Base64Url = Field(alias="clientDataJSON")
    authenticator_data: Base64Url
    signature: Base64Url
    user_handle: Base64Url | None = None


class NewCredential(Part):
    """RegistrationResponseJSON (W3C WebAuthn 3, 5.1): what `navigator.credentials.create` gives."""

    id: CredentialId
    raw_id: CredentialId
    type: Literal["public-key"]
    response: Attested


class KnownCredential(Part):
    """AuthenticationResponseJSON (W3C WebAuthn 3, 5.1): what `navigator.credentials.get` gives."""

    id: CredentialId
    raw_id: CredentialId
    type: Literal["public-key"]
    response: Asserted


class NewPasskey(Proof):
    """The passkey that the browser made, and what to call it."""

    credential: NewCredential
    name: Given[PasskeyName] = None


class RenamePasskey(Proof):
    """Another name for a passkey."""

    name: PasskeyName


class AskToSignIn(Body):
    """Nothing for who signs in by a passkey alone, or proves again who they are; `mfa_token` for a second factor."""

    mfa_token: Given[Token] = None


class SignInByPasskey(AskToSignIn):
    """The passkey that the browser showed."""

    credential: KnownCredential
    cookies: Given[Cookies] = None


class Options(Out):
    """What goes, as it is, to a function of the browser's."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, serialize_by_alias=True)


class CreationOptions(Options):
    """PublicKeyCredentialCreationOptionsJSON (W3C WebAuthn 3, 5.1.8), for `PublicKeyCredential.parseCreationOptionsFromJSON`."""

    rp: dict[str, str]
    user: dict[str, str]
    challenge: str
    pub_key_cred_params: list[dict[str, str | int]]
    timeout: int
    exclude_credentials: list[dict[str, Any]]
    authenticator_selection: dict[str, str | bool]
    attestation: str


class RequestOptions(Options):
    """PublicKeyCredentialRequestOptionsJSON (W3C WebAuthn 3, 5.1.9), for `PublicKeyCredential.parseRequestOptionsFromJSON`."""

    challenge: str
    timeout: int
    rp_id: str
    allow_credentials: list[dict[str, Any]]
    user_verification: str


class PasskeyOut(Out):
    """A passkey. `aaguid` tells the make of its authenticator; `backed_up` whether it is synchronised to other devices."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    aaguid: str
    transports: list[str]
    backed_up: bool

    @classmethod
    def of(cls, row: Passkey) -> Self:
        """This passkey."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class MadePasskey(PasskeyOut):
    """The passkey is a way in now."""

    http_status: ClassVar[int] = 201


class PasskeysOut(Out):
    """The passkeys, the oldest first."""

    passkeys: list[PasskeyOut]


class PasskeyChanged(Done):
    """The passkeys are as was asked."""

    status: Literal["renamed", "removed"]


class PasskeyOptions(Resource):
    """What a browser needs to make a passkey."""

    def post(self, body: Proof, caller: Caller) -> CreationOptions:
        """Options for `navigator.credentials.create`, good for ten minutes and once."""
        return CreationOptions.model_validate(passkeys.options(caller))


class Passkeys(Resource):
    """The caller's passkeys."""

    def get(self, caller: Caller) -> PasskeysOut:
        """List them."""
        return PasskeysOut(passkeys=[PasskeyOut.of(one) for one in passkeys.every(caller.user_id)])

    def post(self, body: NewPasskey, caller: Caller) -> MadePasskey:
        """Keep a new one."""
        made = passkeys.register(caller, body.credential.model_dump(by_alias=True, exclude_none=True), body.name)
        return MadePasskey.of(made)


class OnePasskey(Resource):
    """One passkey."""

    def find(self, caller: Caller | None, **parts: str) -> None:
        """It has to be one of the caller's."""
        assert caller is not None
        passkeys.find(caller, parts["id"])

    def patch(self, body: RenamePasskey, caller: Caller, id: str) -> PasskeyChanged:  # noqa: A002 - As the path names it.
        """Name it."""
        passkeys.rename(caller, id, body.name)
        return PasskeyChanged(status="renamed")

    def delete(self, body: Proof, caller: Caller, id: str) -> PasskeyChanged:  # noqa: A002 - As the path names it.
        """Remove it."""
        passkeys.remove(caller, id)
        return PasskeyChanged(status="removed")


class PasskeySignInOptions(Resource):
    """What a browser needs to show a passkey."""

    def post(self, body: AskToSignIn, caller: Caller | None) -> RequestOptions:
        """Options for `navigator.credentials.get`, good for ten minutes and once."""
        if body.mfa_token is not None:
            return RequestOptions.model_validate(passkey_sign_in.options_for_ticket(body.mfa_token))
        return RequestOptions.model_validate(passkey_sign_in.options_for_step_up(caller) if caller else passkey_sign_in.options())


class PasskeySignIn(Resource):
    """Sign in by a passkey, alone or as the second factor, or prove again that it is you."""

    def post(self, body: SignInByPasskey, caller: Caller | None, client: Client) -> Tokens | Waiting:
        """Trade it for tokens."""
        credential = body.credential.model_dump(by_alias=True, exclude_none=True)
        if body.mfa_token is not None:
            return sign_in.tokens_of(passkey_sign_in.finish(body.mfa_token, credential, client), cookies=body.cookies)
        if caller is not None:
            return sign_in.tokens_of(passkey_sign_in.step_up(caller, credential), cookies=body.cookies)
        return sign_in.answer(passkey_sign_in.sign_in(credential, client), cookies=body.cookies)
