"""Stand-ins on loopback for every row of the table of providers, each with its quirks, as strict as the real ones.

`everybody()` starts one for each row. A new row of OpenID Connect has one at once; of plain OAuth it needs a class here.
"""

import hashlib
import hmac
import html
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from domain.provider_table import TABLE, OpenId
from tests.provider import CLIENT_ID, CLIENT_SECRET, MISSING, Posted, Provider, Reply, Standin

NAMES = [row.name for row in TABLE]
SPEAK_OPENID = [row.name for row in TABLE if isinstance(row.speaks, OpenId)]
OWN = "acme"  # One that is there by configuration alone.
TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
TEAM_ID, KEY_ID = "TEAM567890", "KEY4567890"


class Microsoft(Provider):
    """Serves many tenants by one description, whose issuer has a gap; says of no address whether it was verified."""

    can_vouch = False

    def __init__(self) -> None:
        super().__init__("microsoft")

    @property
    def issuer(self) -> str:
        return self.of_tenant(TENANT)

    def of_tenant(self, tenant: str) -> str:
        """The issuer of one tenant."""
        return f"{self.base}/{tenant}/v2.0"

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        super().known_as(sub, email)
        self.says["email_verified"] = MISSING

    def _own_description(self) -> dict[str, Any]:
        return {**super()._own_description(), "issuer": self.of_tenant("{tenantid}")}

    def _claims(self, nonce: str) -> dict[str, Any]:
        return {**super()._claims(nonce), "tid": TENANT} | self.says

    def _send_back(self, sent: dict[str, str], answer: dict[str, str]) -> Reply:
        return super()._send_back(sent, {name: value for name, value in answer.items() if name != "iss"})


class Apple(Provider):
    """Takes a signed client secret only, posts its answer from its own page, and tells a name at the first visit, unsigned."""

    def __init__(self) -> None:
        super().__init__("apple")
        self.client_key = ECKey.generate_key("P-256")

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        super().known_as(sub, email, vouched=vouched)
        self.posts: dict[str, str] = {"user": json.dumps({"name": {"firstName": "Robin", "lastName": "Hood"}, "email": "x@example.com"})}

    @property
    def settings(self) -> dict[str, str]:
        pem = self.client_key.as_pem(private=True).decode().strip().replace("\n", "\\n")
        own = {"APPLE_TEAM_ID": TEAM_ID, "APPLE_KEY_ID": KEY_ID, "APPLE_PRIVATE_KEY": pem}
        return {name: value for name, value in super().settings.items() if name != "APPLE_CLIENT_SECRET"} | own

    def visit(self, url: str) -> Posted:
        page = requests.get(url, allow_redirects=False, timeout=10)
        assert page.status_code == 200, page.text
        fields = re.findall('name="([^"]+)" value="([^"]*)"', page.text)
        return Posted(urlsplit(re.search('action="([^"]+)"', page.text)[1]).path, {name: html.unescape(value) for name, value in fields})

    def _own_description(self) -> dict[str, Any]:
        own = {"token_endpoint_auth_methods_supported": ["client_secret_post"], "response_modes_supported": ["form_post"]}
        return super()._own_description() | own

    def _claims(self, nonce: str) -> dict[str, Any]:
        return {name: value for name, value in super()._claims(nonce).items() if name != "name"}

    def _authorize(self, sent: dict[str, str]) -> Reply:
        return super()._authorize(sent) if sent.get("response_mode") == "form_post" else (400, {"error": "invalid_request"})

    def _send_back(self, sent: dict[str, str], answer: dict[str, str]) -> Reply:
        fields = {name: value for name, value in {**answer, **self.posts}.items() if name != "iss"}
        inputs = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
        form = f'<form method="post" action="{html.escape(sent["redirect_uri"])}">{inputs}</form>'
        return 200, f"<!doctype html>{form}<script>document.forms[0].submit()</script>".encode()

    def _is_client(self, sent: dict[str, str], authorization: str) -> bool:
        try:
            signed = jwt.decode(sent["client_secret"], self.client_key, algorithms=["ES256"])
        except (JoseError, KeyError, ValueError):
            return False
        claims, now = signed.claims, time.time()
        right = {"iss": TEAM_ID, "sub": CLIENT_ID, "aud": self.issuer}.items() <= claims.items() and signed.header["kid"] == KEY_ID
        return right and sent["client_id"] == CLIENT_ID and now - 60 < claims["iat"] <= now < claims["exp"] < now + 3600


class OAuth(Standin):
    """A provider without ID tokens: a code for an access token, and an API that tells its bearer who it is."""

    authorize_word, token_word, scope = "authorize", "token", ""
    tokens_refusal: tuple[int, str] = (400, "invalid_grant")

    def __init__(self) -> None:
        super().__init__()
        self.user: dict[str, Any] = {}
        self._tokens: set[str] = set()
        self.known_as("1234567890", "robin@example.com")

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {self.setting("URL"): self.base}

    def reply(self, word: str, sent: dict[str, str], authorization: str) -> Reply:
        if word == self.authorize_word and sent.get("response_type") == "code":
            return self._authorize(sent)
        if word == self.token_word and "code" in sent:
            return self._token(sent)
        if authorization.removeprefix("Bearer ") not in self._tokens:
            return 401, {"message": "Bad credentials"}
        return self.tell(word, sent, authorization.removeprefix("Bearer "))

    def tell(self, word: str, sent: dict[str, str], token: str) -> Reply:
        """What the API answers to a good token."""
        return (200, told(self.user)) if word in ("user", "me", "@me") else (404, {})

    def _authorize(self, sent: dict[str, str]) -> Reply:
        if (sent["client_id"], sent["scope"], sent["code_challenge_method"]) != (CLIENT_ID, self.scope, "S256"):
            return 400, {"error": "invalid_request"}
        return 302, f"{sent['redirect_uri']}?{urlencode({'code': self._begin(sent), 'state': sent['state']})}".encode()

    def _token(self, sent: dict[str, str]) -> Reply:
        status, word = self.tokens_refusal
        if (sent.get("client_id"), sent.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET) or self._traded(sent) is None:
            return status, {"error": word, "error_description": "The code passed is incorrect or expired."}
        token = secrets.token_urlsafe(20)
        self._tokens.add(token)
        return 200, {"access_token": token, "token_type": "bearer", "scope": self.scope.replace(" ", ",")}


class GitHub(OAuth):
    """Says who by number; the address of /user need not be proven, and is often hidden. It refuses with 200."""

    name, token_word, scope = "github", "access_token", "read:user user:email"
    tokens_refusal = (200, "bad_verification_code")

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {"GITHUB_API_URL": f"{self.base}/api/v3"}

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        self.user = {"id": int(sub), "login": "robin", "name": "Robin", "email": None}
        self.emails: Any = [
            {"email": f"{sub}+robin@users.noreply.example.com", "primary": False, "verified": True, "visibility": None},
            {"email": email, "primary": True, "verified": vouched, "visibility": "private"},
        ]
        self.is_forgetful = False

    def tell(self, word: str, sent: dict[str, str], token: str) -> Reply:
        return (200, self.emails) if word == "emails" else super().tell(word, sent, token)


class Discord(OAuth):
    """Says who by a number as text, and of the address whether it was proven."""

    name, scope = "discord", "identify email"

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        self.user = {"id": sub, "username": "robin", "global_name": "Robin", "email": email, "verified": vouched}
        self.is_forgetful = False


class Facebook(OAuth):
    """Says nothing of whether an address was proven, may have none, and asks for a proof beside each token."""

    name, authorize_word, token_word, scope, can_vouch = "facebook", "oauth", "access_token", "public_profile email", False

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {"FACEBOOK_API_URL": f"{self.base}/graph"}

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        self.user = {"id": sub, "name": "Robin", "email": email}
        self.is_forgetful = False

    def tell(self, word: str, sent: dict[str, str], token: str) -> Reply:
        proof = hmac.new(CLIENT_SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()
        if sent.get("appsecret_proof") != proof or sent.get("fields") != "id,name,email":
            return 400, {"error": {"message": "Invalid appsecret_proof provided in the API argument", "type": "GraphMethodException"}}
        return super().tell(word, sent, token)


ODD: dict[str, type[Standin]] = {one.__name__.lower(): one for one in (Microsoft, Apple, GitHub, Discord, Facebook)}


def stand_in(name: str) -> Standin:
    """One for this row."""
    if name in ODD:
        return ODD[name]()
    assert name in (*SPEAK_OPENID, OWN), f"{name} needs a stand-in of its own"
    return Provider(name)


@contextmanager
def everybody(*more: str) -> Iterator[dict[str, Standin]]:
    """Every row's stand-in, and those of other OpenID providers of these names."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(stand_in(name) if name in NAMES else Provider(name)) for name in (*NAMES, *more)}


def settings_of(some: dict[str, Standin]) -> dict[str, str]:
    """The settings with which Gatehouse uses all of these."""
    others = ",".join(name for name in some if name not in NAMES)
    return {name: value for one in some.values() for name, value in one.settings.items()} | {"OIDC_PROVIDERS": others}


def new_sub() -> str:
    """A subject that no other test has: a number, as some providers have it."""
    return str(secrets.randbelow(10**18) + 10**18)


def told(user: dict[str, Any]) -> dict[str, Any]:
    """Without what is left out."""
    return {name: value for name, value in user.items() if value is not MISSING}
