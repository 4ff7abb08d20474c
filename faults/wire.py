"""One request over HTTP on a connection of its own, and what came back; also where nothing did."""

import base64
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

bound = 30.0  # Seconds within which every answer has to come, and after a fault the service to be back.
LOST = 0  # The status of an answer that never came.


class Reply(NamedTuple):
    """An answer, or (status LOST) the loss of one: then nobody knows whether anything was done."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        """The body as JSON; an empty dict where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def code(self) -> str:
        """The problem's code; empty where there is none."""
        found = self.json if self.status >= 400 else {}
        return str(found.get("code", "")) if isinstance(found, dict) else ""


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, media_type: str = "application/json"
) -> Reply:
    """Send a request to a server on this machine. JSON is made of whatever is not bytes."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {**(headers or {}), **({"Content-Type": media_type} if content is not None else {}), "Connection": "close"}
    began = time.monotonic()
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=bound * 1.5)
    try:
        wire.request(method, path, content, sent)
        answer = wire.getresponse()
        return Reply(answer.status, answer.read(), answer.headers["Retry-After"], time.monotonic() - began)
    except (OSError, http.client.HTTPException):
        return Reply(LOST, seconds=time.monotonic() - began)
    finally:
        wire.close()


def bearer(token: str) -> dict[str, str]:
    """The header with which a token comes."""
    return {"Authorization": f"Bearer {token}"}


def form_with(name: str, file: bytes) -> tuple[bytes, str]:
    """A multipart form with one file, and its media type."""
    edge = "a-line-that-no-picture-holds"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.png"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + file + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def claims(token: str) -> dict[str, Any]:
    """What a JWT says."""
    part = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return said
