"""Visitors who show that they are people: a solver of puzzles, and a verifier of others' CAPTCHAs on loopback."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import altcha

from domain.puzzles import Puzzle
from tests.visitor import Answer, Visitor

# What may ask for a CAPTCHA, and what it is sent.
ASKED: dict[str, dict[str, str]] = {
    "/signup": {"email": "eve@example.com", "password": "a long enough password"},
    "/login": {"email": "eve@example.com", "password": "a wrong password"},
    "/auth/login": {"username": "eve", "password": "a wrong password"},
    "/forgot-password": {"email": "eve@example.com"},
    "/resend-confirmation": {"email": "eve@example.com"},
    "/send-otp": {"email": "eve@example.com"},
}


def solve(puzzle: dict[str, Any] | Puzzle) -> str:
    """The answer to a puzzle, as a browser sends it."""
    given = puzzle._asdict() if isinstance(puzzle, Puzzle) else puzzle
    challenge = altcha.Challenge.from_dict(given)
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    return altcha.Payload(challenge, solution).to_base64()


def solved(visitor: Visitor, **more: Any) -> str:
    """A puzzle of this server's, solved."""
    answer = visitor.get("/captcha", **more)
    assert answer.status == 200, answer.body
    return solve(answer.json)


def person(visitor: Visitor) -> Visitor:
    """The same visitor, who answers wherever they may be asked."""

    def send(method: str, path: str, **more: Any) -> Answer:
        return visitor._send(method, path, **more)

    made = Visitor(send, visitor.mailbox)
    plain = made.request

    def request(method: str, path: str, json: Any = None, *given: Any, **more: Any) -> Answer:
        asked = method == "POST" and path in ASKED and isinstance(json, dict) and ("email" in json or "username" in json)
        return plain(method, path, json | {"captcha": solved(visitor)} if asked else json, *given, **more)

    made.request = request  # type: ignore[method-assign]
    return made


class Verifier:
    """A verifier of siteverify's shape. It says what it is told to say: a status, a body, and headers besides."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.says: tuple[int, bytes, dict[str, str]] = (200, b'{"success": true}', {})
        self.url = ""
        self.hangs = threading.Event()  # Clear: it answers at once.
        self.rests = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Note what was asked, and say it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        self.asked.append({name: values[0] for name, values in parse_qs(body).items()})
        if self.hangs.is_set():
            self.rests.wait(60)
            return
        status, text, headers = self.says
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)


@contextmanager
def verifier(context: ssl.SSLContext | None = None) -> Iterator[Verifier]:
    """One that runs as long as the block does, by https where there is a context."""
    made = Verifier()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(OSError):  # The other side has heard enough.
                made.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        made.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/siteverify"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        made.rests.set()
        server.shutdown()
