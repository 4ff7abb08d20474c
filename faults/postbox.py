"""An SMTP server that can be away, silent, or in the way after DATA; and the letters that it has taken."""

import asyncio
import email
import email.policy
import re
import socket
import threading
import time
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller

from tests.serving import free_port

UP, REFUSES, PUTS_OFF, HANGS_UP, FORGETS_TO_ANSWER = "up", "554 refused", "451 later", "hangs up", "takes it, then hangs up"


class Letter(NamedTuple):
    """A letter that was taken."""

    number: str  # Its Message-ID.
    to: str
    subject: str
    text: str
    at: float  # When it was taken, by time.monotonic().

    def path(self, page: str) -> str | None:
        """The path of the link to such a page, if the letter has one."""
        found = re.search(rf"https?://[^/\s]+(/{page}/\S+)", self.text)
        return found[1] if found else None

    @property
    def digits(self) -> str | None:
        """The code that it holds."""
        found = re.search(r"^ +(\d{6})$", self.text, re.MULTILINE)
        return found[1] if found else None


class Postbox:
    """One address on loopback; `mode` says how it treats the next letters."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = UP
        self.taken: list[Letter] = []
        self.lost_answers = 0  # Letters that were taken though the sender can't know it.
        self._lock = threading.Lock()
        self._running: Controller | None = None
        self.open()

    def open(self) -> None:
        """It is there."""
        self._running = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=20)
        self._running.start()

    def close(self) -> None:
        """It is away: connections are refused."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def silence(self) -> socket.socket:
        """It is there and says nothing, until what is returned is closed."""
        self.close()
        return socket.create_server(("127.0.0.1", self.port), backlog=50)

    def to(self, address: str) -> list[Letter]:
        """The letters to an address, each once, in the order in which they came."""
        with self._lock:
            return list({one.number: one for one in self.taken if one.to == address}.values())

    def doubles(self) -> list[str]:
        """The letters that came again, each with how many seconds later."""
        first: dict[str, Letter] = {}
        with self._lock:
            found = [(one, first.setdefault(one.number, one)) for one in self.taken]
        return [f"{one.subject!r} after {one.at - before.at:.1f} s" for one, before in found if one is not before]

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """A letter comes."""
        mode = self.mode
        if mode in (REFUSES, PUTS_OFF):
            return mode
        if mode == HANGS_UP:
            server.transport.abort()
            return "451"
        await asyncio.sleep(0)
        self._keep(envelope.content)
        if mode == FORGETS_TO_ANSWER:
            self.lost_answers += 1
            server.transport.abort()
        return "250 OK"

    def _keep(self, content: bytes) -> None:
        message = email.message_from_bytes(content, policy=email.policy.default)
        body = message.get_body(("plain",))
        text = body.get_content().replace("\r\n", "\n") if body else ""
        with self._lock:
            self.taken.append(Letter(str(message["Message-ID"]), str(message["To"]), str(message["Subject"]), text, time.monotonic()))
