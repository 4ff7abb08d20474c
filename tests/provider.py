"""An OpenID provider on loopback that does as it should, and lies and fails in every way it is told to.

`Provider.visit(url)` is a browser at the provider whose user agrees. Tests change what it `says` (claims), how it `signs`,
and what its addresses answer.
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
from typing import Any
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
CLIENT_ID, CLIENT_SECRET = "gatehouse-client", "s3cret: of+the/client"

Reply = tuple[int, Any]


class Provider:
    """One provider with one user, until the block ends."""

    def __init__(self) -> None:
        self.keys = [new_key()]
        self.published: list[dict[str, Any]] | None = None  # Instead of the public side of `keys`.
        self.says: dict[str, Any] = {}
        self.signs: Callable[[dict[str, Any]], str] = self.sign
        self.described: dict[str, Any] = {}
        self.replies: dict[str, Callable[[], Reply]] = {}  # By the address's last word: what it answers instead.
        self.asked: list[tuple[str, dict[str, str], str]] = []  # Path, form or query, Authorization.
        self.is_forgetful = False  # Trades a code more than once.
        self._codes: dict[str, dict[str, str]] = {}

    def __enter__(self) -> "Provider":
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

            def _answer(self, sent: str) -> None:
                form = {name: values[0] for name, values in parse_qs(sent).items()}
                status, body = provider.answer(urlsplit(self.path).path, form, self.headers.get("Authorization", ""))
                written = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if status in (302, 307):
                    self.send_header("Location", written.decode())
                    written = b""
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # A client that has gone away is no failure.
        # A path of its own, so that nothing is remembered of an earlier provider at the same port.
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/{secrets.token_hex(4)}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which Gatehouse uses it as Google."""
        return {
            "GOOGLE_CLIENT_ID": CLIENT_ID,
            "GOOGLE_CLIENT_SECRET": CLIENT_SECRET,
            "GOOGLE_DISCOVERY_URL": f"{self.issuer}/.well-known/openid-configuration",
        }

    def visit(self, url: str) -> str:
        """The user agrees: the address at Gatehouse that the browser is sent back to, as path and query."""
        answer = requests.get(url, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["Location"])
        return f"{back.path}?{back.query}"

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """An honest signature, but for what stands in `header`."""
        key = self.keys[0]
        return jws.serialize_compact({"alg": "RS256", "kid": key.kid, **header}, json.dumps(claims), key)

    def answer(self, path: str, sent: dict[str, str], authorization: str) -> Reply:
        """What one of its addresses answers."""
        word = path.rsplit("/", 1)[-1]
        self.asked.append((word, sent, authorization))
        if word in self.replies:
            return self.replies[word]()
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

    def times(self, word: str) -> int:
        """How often one of its addresses was asked."""
        return sum(one == word for one, _, _ in self.asked)

    def _description(self) -> dict[str, Any]:
        own = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        }
        return {name: value for name, value in {**own, **self.described}.items() if value is not MISSING}

    def _authorize(self, sent: dict[str, str]) -> Reply:
        right = sent["client_id"] == CLIENT_ID and sent["response_type"] == "code" and "openid" in sent["scope"].split()
        if not right or sent["code_challenge_method"] != "S256" or not sent["nonce"]:
            return 400, {"error": "invalid_request"}
        code = secrets.token_urlsafe(16)
        self._codes[code] = sent
        return 302, f"{sent['redirect_uri']}?{urlencode({'code': code, 'state': sent['state'], 'iss': self.issuer})}".encode()

    def _token(self, sent: dict[str, str], authorization: str) -> Reply:
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != basic and (sent.get("client_id"), sent.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        begun = self._codes.get(sent["code"]) if self.is_forgetful else self._codes.pop(sent["code"], None)
        if begun is None or begun["redirect_uri"] != sent["redirect_uri"] or begun["code_challenge"] != s256(sent["code_verifier"]):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": begun["nonce"]}
        claims = {**honest, "sub": "1234567890", "email": "robin@example.com", "email_verified": True, "name": "Robin", **self.says}
        told = {name: value for name, value in claims.items() if value is not MISSING}
        return 200, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": self.signs(told)}


def new_key() -> RSAKey:
    """A key of the size that providers use."""
    return RSAKey.generate_key(2048, {"use": "sig", "kid": secrets.token_hex(4)})


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def sign_in(visitor: Visitor, provider: Provider, start: str = "/auth/google") -> Answer:
    """The whole way of a browser without a front end: the callback's answer."""
    begun = visitor.get(start)
    assert begun.status == 302, begun.body
    return visitor.get(provider.visit(begun.headers["Location"]), cookies=begun.cookies)


def come_back(visitor: Visitor, provider: Provider, redirect_to: str = FRONT_END) -> tuple[dict[str, str], str]:
    """The whole way of a front end: what its address got in the query, and the verifier that it kept."""
    verifier = secrets.token_urlsafe(32)
    query = urlencode({"redirect_to": redirect_to, "code_challenge": s256(verifier)})
    begun = visitor.get(f"/auth/google/auth-url?{query}")
    assert begun.status == 200, begun.body
    answer = visitor.get(provider.visit(begun.json["auth_url"]))
    assert answer.status == 302, answer.body
    return query_of(answer), verifier


def exchange(visitor: Visitor, code: str, verifier: str, **more: Any) -> Answer:
    """A front end trades its code."""
    return visitor.post("/auth/exchange", {"code": code, "code_verifier": verifier, **more})


def query_of(answer: Answer) -> dict[str, str]:
    """What a redirect's address has in its query."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


@contextmanager
def away(provider: Provider, word: str, status: int = 500, body: Any = b"") -> Iterator[None]:
    """One of the provider's addresses answers like this while the block runs."""
    provider.replies[word] = lambda: (status, body)
    try:
        yield
    finally:
        del provider.replies[word]
