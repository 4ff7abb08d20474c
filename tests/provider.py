"""An OpenID provider on loopback that does as it should, and lies and fails in every way it is told to.

`Provider.visit(url)` is a browser at the provider whose user agrees. Tests change what it `says` (claims), how it `signs`,
and what its addresses answer. Those that are odd are in `tests/providers.py`.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey

from tests.visitor import Answer, Visitor


class Missing:
    """Stands for a claim or a field that is left out."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()
FRONT_END = "https://app.example.com/signed-in"
FORM = "application/x-www-form-urlencoded"
CLIENT_ID, CLIENT_SECRET = "gatehouse-client", "s3cret: of+the/client"

Reply = tuple[int, Any]


class Standin:
    """A web server on loopback that answers as `answer` says, until the block ends."""

    name = "google"
    token_word = "token"  # The last word of the address that trades codes.
    can_vouch = True
    pretends: str | None = None  # To be somebody else.

    def __init__(self) -> None:
        self.replies: dict[str, Callable[[], Reply]] = {}  # By the address's last word: what it answers instead.
        self.asked: list[tuple[str, dict[str, str], str]] = []  # Path, form or query, Authorization.
        self.is_forgetful = False  # Trades a code more than once.
        self._codes: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

            def _answer(self, sent: str) -> None:
                form = {name: values[0] for name, values in parse_qs(sent).items()}
                path = urlsplit(self.path).path
                provider.asked.append((path.rsplit("/", 1)[-1], form, self.headers.get("Authorization", "")))
                status, body = provider.answer(path, form, self.headers.get("Authorization", ""))
                written = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if status in (302, 307):
                    self.send_header("Location", written.decode())
                    written = b""
                self.send_header("Content-Type", "text/html" if written.startswith(b"<!doctype") else "application/json")
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # A client that has gone away is no failure.
        # A path of its own, so that nothing is remembered of an earlier provider at the same port.
        self.base = f"http://127.0.0.1:{self._server.server_port}/{secrets.token_hex(4)}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def issuer(self) -> str:
        """Who it says it is."""
        return self.pretends or self.base

    def setting(self, what: str) -> str:
        """The name of one of its settings."""
        return f"{self.name.upper().replace('-', '_')}_{what}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which Gatehouse uses it."""
        return {self.setting("CLIENT_ID"): CLIENT_ID, self.setting("CLIENT_SECRET"): CLIENT_SECRET}

    def answer(self, path: str, sent: dict[str, str], authorization: str) -> Reply:
        """What one of its addresses answers."""
        word = path.rsplit("/", 1)[-1]
        return self.replies[word]() if word in self.replies else self.reply(word, sent, authorization)

    def reply(self, word: str, sent: dict[str, str], authorization: str) -> Reply:
        """The same when nothing is wrong, by the last word of the address."""
        raise NotImplementedError

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        """Its user from now on, honest again."""
        raise NotImplementedError

    def visit(self, url: str) -> "str | Posted":
        """The user agrees: the address at Gatehouse that the browser is sent back to, as path and query; or what it posts there."""
        answer = requests.get(url, allow_redirects=False, timeout=60)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["Location"])
        return f"{back.path}?{back.query}"

    def times(self, word: str) -> int:
        """How often one of its addresses was asked."""
        return sum(one == word for one, _, _ in self.asked)

    def _begin(self, sent: dict[str, str]) -> str:
        """A code for what an authorization asked."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = sent
        return code

    def _traded(self, sent: dict[str, str]) -> dict[str, str] | None:
        """What was asked for the code that is brought, if it is brought as it should be."""
        begun = self._codes.get(sent["code"]) if self.is_forgetful else self._codes.pop(sent["code"], None)
        if begun is None or begun["redirect_uri"] != sent["redirect_uri"] or begun["code_challenge"] != s256(sent["code_verifier"]):
            return None
        return begun


class Posted(NamedTuple):
    """What a provider's page has the browser post, and where."""

    path: str
    form: dict[str, str]


class Provider(Standin):
    """An OpenID provider with one user."""

    def __init__(self, name: str = "google") -> None:
        super().__init__()
        self.name = name
        self.keys = [new_key()]
        self.known_as("1234567890", "robin@example.com")
        self.says = {}

    def known_as(self, sub: str, email: str, *, vouched: bool = True) -> None:
        """Its user from now on, honest again."""
        self.says: dict[str, Any] = {"sub": sub, "email": email, "email_verified": vouched}
        self.signs: Callable[[dict[str, Any]], str] = self.sign
        self.published: list[dict[str, Any]] | None = None  # Instead of the public side of `keys`.
        self.described: dict[str, Any] = {}
        self.is_forgetful = False

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which Gatehouse uses it."""
        return super().settings | {self.setting("DISCOVERY_URL"): f"{self.base}/.well-known/openid-configuration"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """An honest signature, but for what stands in `header`."""
        key = self.keys[0]
        return jws.serialize_compact({"alg": "RS256", "kid": key.kid, **header}, json.dumps(claims), key)

    def reply(self, word: str, sent: dict[str, str], authorization: str) -> Reply:
        """What one of its addresses answers, by its last word."""
        if word == "openid-configuration":
            return 200, self._description()
        if word == "keys":
            own = KeySet(self.keys).as_dict(private=False)["keys"]
            return 200, {"keys": own if self.published is None else self.published}
        if word == "authorize":
            return self._authorize(sent)
        if word == "token":
            return self._token(sent, authorization)
        return 404, {}

    def _description(self) -> dict[str, Any]:
        return {name: value for name, value in {**self._own_description(), **self.described}.items() if value is not MISSING}

    def _own_description(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        }

    def _authorize(self, sent: dict[str, str]) -> Reply:
        right = sent["client_id"] == CLIENT_ID and sent["response_type"] == "code" and "openid" in sent["scope"].split()
        if not right or sent["code_challenge_method"] != "S256" or not sent["nonce"]:
            return 400, {"error": "invalid_request"}
        return self._send_back(sent, {"code": self._begin(sent), "state": sent["state"], "iss": self.issuer})

    def _send_back(self, sent: dict[str, str], answer: dict[str, str]) -> Reply:
        """How the browser brings an answer."""
        return 302, f"{sent['redirect_uri']}?{urlencode(answer)}".encode()

    def _is_client(self, sent: dict[str, str], authorization: str) -> bool:
        """Whether it is Gatehouse who asks."""
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        return authorization == basic or (sent.get("client_id"), sent.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)

    def _token(self, sent: dict[str, str], authorization: str) -> Reply:
        if not self._is_client(sent, authorization):
            return 401, {"error": "invalid_client"}
        begun = self._traded(sent)
        if begun is None:
            return 400, {"error": "invalid_grant"}
        told = {name: value for name, value in self._claims(begun["nonce"]).items() if value is not MISSING}
        return 200, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": self.signs(told)}

    def _claims(self, nonce: str) -> dict[str, Any]:
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": nonce}
        return {**honest, "sub": "1234567890", "email": "robin@example.com", "email_verified": True, "name": "Robin", **self.says}


def new_key() -> RSAKey:
    """A key of the size that providers use."""
    return RSAKey.generate_key(2048, {"use": "sig", "kid": secrets.token_hex(4)})


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def bring(visitor: Visitor, back: str | Posted, cookies: dict[str, str] | None = None) -> Answer:
    """The browser comes back. A form is posted from another site, so without cookies of ours, which then come with the address."""
    if isinstance(back, Posted):
        answer = visitor.post(back.path, data=urlencode(back.form), headers={"Content-Type": FORM})
        if answer.status != 303:
            return answer
        onward = urlsplit(answer.headers["Location"])
        back = f"{onward.path}?{onward.query}"
    return visitor.get(back, cookies=cookies)


def sign_in(visitor: Visitor, provider: Standin, start: str = "") -> Answer:
    """The whole way of a browser without a front end: the callback's answer."""
    begun = visitor.get(start or f"/auth/{provider.name}")
    assert begun.status == 302, begun.body
    return bring(visitor, provider.visit(begun.headers["Location"]), begun.cookies)


def enter(visitor: Visitor, provider: Standin, email: str) -> Any:
    """The same, with the code that was mailed where the provider does not vouch for the address: the tokens."""
    answer = sign_in(visitor, provider)
    if answer.status == 200 and answer.json["status"] == "confirmation_required":
        answer = prove(visitor, answer.json, visitor.mailbox.last(email).code)
    assert answer.status == 200, answer.body
    return answer.json


def prove(visitor: Visitor, waiting: dict[str, Any], code: str, **more: Any) -> Answer:
    """Bring the mailed code of a sign-in whose address nobody vouches for."""
    return visitor.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "email", "code": code, **more})


def come_back(visitor: Visitor, provider: Standin, redirect_to: str = FRONT_END) -> tuple[dict[str, str], str]:
    """The whole way of a front end: what its address got in the query, and the verifier that it kept."""
    verifier = secrets.token_urlsafe(32)
    query = urlencode({"redirect_to": redirect_to, "code_challenge": s256(verifier)})
    begun = visitor.get(f"/auth/{provider.name}/auth-url?{query}")
    assert begun.status == 200, begun.body
    answer = bring(visitor, provider.visit(begun.json["auth_url"]))
    assert answer.status == 302, answer.body
    return query_of(answer), verifier


def exchange(visitor: Visitor, code: str, verifier: str, **more: Any) -> Answer:
    """A front end trades its code."""
    return visitor.post("/auth/exchange", {"code": code, "code_verifier": verifier, **more})


def query_of(answer: Answer) -> dict[str, str]:
    """What a redirect's address has in its query."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


@contextmanager
def away(provider: Standin, word: str, status: int = 500, body: Any = b"") -> Iterator[None]:
    """One of the provider's addresses answers like this while the block runs."""
    provider.replies[word] = lambda: (status, body)
    try:
        yield
    finally:
        del provider.replies[word]
