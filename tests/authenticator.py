"""An authenticator in software: it makes passkeys and shows them as a browser would, and lies where a test wants it to."""

import hashlib
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from webauthn import base64url_to_bytes
from webauthn.helpers import bytes_to_base64url

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 1, 4, 8, 16, 64
ES256, EDDSA, RS256 = -7, -8, -257


class Authenticator:
    """One passkey of one user. `counter` is the next that it shows; without `counts` it always shows 0, as synchronised ones do."""

    def __init__(
        self, origin: str, rp_id: str | None = None, *, algorithm: int = ES256, counts: bool = True, eligible: bool = False
    ) -> None:
        self.origin = origin
        self.rp_id = rp_id or urlsplit(origin).hostname
        self.algorithm = algorithm
        self.counts = counts
        self.kept = (ELIGIBLE | BACKED_UP) if eligible else 0
        self.credential_id = secrets.token_bytes(32)
        self.counter = 1
        self.user_handle = b""
        makers = {
            ES256: lambda: ec.generate_private_key(ec.SECP256R1()),
            EDDSA: ed25519.Ed25519PrivateKey.generate,
            RS256: lambda: rsa.generate_private_key(65537, 2048),
        }
        self.key = makers[algorithm]()

    @property
    def id(self) -> str:
        return bytes_to_base64url(self.credential_id)

    def create(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED, **lies: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` would give for these options."""
        self.user_handle = base64url_to_bytes(options["user"]["id"])
        held = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id + cbor2.dumps(self._public())
        data = self._data(flags | ATTESTED, lies) + held
        made = {"fmt": "none", "attStmt": {}, "authData": data}
        said = self._client_data("webauthn.create", options, lies)
        response = {"clientDataJSON": bytes_to_base64url(said), "attestationObject": bytes_to_base64url(cbor2.dumps(made))}
        return self._credential({**response, "transports": ["internal", "hybrid"], "publicKeyAlgorithm": self.algorithm})

    def get(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED, **lies: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` would give for these options."""
        data = self._data(flags, lies)
        said = self._client_data("webauthn.get", options, lies)
        handle = lies.get("user_handle", self.user_handle)
        response = {
            "clientDataJSON": bytes_to_base64url(said),
            "authenticatorData": bytes_to_base64url(data),
            "signature": bytes_to_base64url(self._sign(data + hashlib.sha256(said).digest())),
            **({} if handle is None else {"userHandle": bytes_to_base64url(handle)}),
        }
        return self._credential(response)

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        about = {"type": "public-key", "clientExtensionResults": {}, "authenticatorAttachment": "platform"}
        return {"id": self.id, "rawId": self.id, "response": response, **about}

    def _data(self, flags: int, lies: dict[str, Any]) -> bytes:
        count = lies.get("counter", self.counter if self.counts else 0)
        self.counter += 1
        rp_hash = hashlib.sha256(lies.get("rp_id", self.rp_id).encode()).digest()
        return rp_hash + bytes([flags | lies.get("kept", self.kept)]) + count.to_bytes(4)

    def _client_data(self, kind: str, options: dict[str, Any], lies: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said | {name: lies[name] for name in ("type", "challenge", "origin", "crossOrigin") if name in lies}).encode()

    def _public(self) -> dict[int, Any]:
        """The public key as a COSE_Key (RFC 9053)."""
        public = self.key.public_key()
        if self.algorithm == EDDSA:
            return {1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()}
        numbers = public.public_numbers()
        if self.algorithm == RS256:
            return {1: 3, 3: RS256, -1: numbers.n.to_bytes(256), -2: numbers.e.to_bytes(3)}
        return {1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}

    def _sign(self, message: bytes) -> bytes:
        if self.algorithm == EDDSA:
            return self.key.sign(message)
        if self.algorithm == RS256:
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


def add_passkey(visitor: Any, token: str, key: Authenticator, **more: Any) -> dict[str, Any]:
    """Register the authenticator's passkey for who has this token."""
    options = visitor.post("/passkeys/options", {}, token=token)
    assert options.status == 200, options.body
    answer = visitor.post("/passkeys", {"credential": key.create(options.json), **more}, token=token)
    assert answer.status == 201, answer.body
    return answer.json


def sign_in(visitor: Any, key: Authenticator, *, token: str | None = None, mfa_token: str | None = None, **lies: Any) -> Any:
    """Ask for options and answer them by this passkey: alone, for a ticket, or as step-up in a session."""
    ticket = {"mfa_token": mfa_token} if mfa_token else {}
    options = visitor.post("/passkeys/sign-in/options", ticket, token=token)
    assert options.status == 200, options.body
    return visitor.post("/passkeys/sign-in", {"credential": key.get(options.json, **lies), **ticket}, token=token)
