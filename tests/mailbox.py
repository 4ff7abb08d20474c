"""The mailboxes of everybody: what the outbox has delivered as .eml files, read as a person would.

A delivered file never changes and its name is used once, so each is read once, however often somebody looks.
"""

import email
import email.policy
import re
from email.parser import BytesHeaderParser
from functools import cache
from typing import NamedTuple

import config
from domain import outbox


class Letter(NamedTuple):
    """A delivered mail."""

    subject: str
    to: str
    text: str
    html: str

    @property
    def link(self) -> str:
        """The address of ours that the mail holds."""
        found = re.search(r"https?://\S+/(?:confirm|reset-password|undo|not-me|restore)/\S+", self.text)
        assert found, self.text
        return found[0]

    @property
    def path(self) -> str:
        """The link without its host."""
        return "/" + self.link.split("/", 3)[3]

    @property
    def code(self) -> str:
        """The six digits that the mail holds."""
        found = re.search(r"^ +(\d{6})$", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]


class Mailbox:
    """Letters by address, delivered when somebody looks."""

    def of(self, address: str) -> list[Letter]:
        """All letters to an address, the oldest first."""
        outbox.deliver(now=True)
        folder = config.settings.INSTANCE_DIR / "outbox"
        mine = [path for path in folder.glob("*.eml") if _addressee(path) == address]
        return [_read(path) for path in sorted(mine)]

    def subjects(self, address: str) -> list[str]:
        """What all letters to an address are about, the oldest first."""
        return [one.subject for one in self.of(address)]

    def last(self, address: str) -> Letter:
        """The newest letter to an address."""
        letters = self.of(address)
        assert letters, f"no mail to {address}"
        return letters[-1]


class Telephones:
    """Text messages by number, delivered when somebody looks."""

    def of(self, number: str) -> list[str]:
        """All messages to a number, the oldest first."""
        outbox.deliver(outbox.SMS, now=True)
        folder = config.settings.INSTANCE_DIR / "outbox"
        read = [_text(path) for path in sorted(folder.glob("*.txt"))]
        return [one.partition("\n\n")[2] for one in read if one.startswith(f"To: {number}\n")]

    def code(self, number: str) -> str:
        """The code of the newest message to a number."""
        texts = self.of(number)
        assert texts, f"no message to {number}"
        found = re.match(r"\d{6}\b", texts[-1])
        assert found, texts[-1]
        return found[0]


@cache
def _addressee(path) -> str:
    with path.open("rb") as file:
        return BytesHeaderParser(policy=email.policy.default).parse(file)["To"]


@cache
def _read(path) -> Letter:
    return read(path.read_bytes())


def read(content: bytes) -> Letter:
    """A letter as it went over the wire."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    body, page = text.get_content(), html.get_content()
    return Letter(message["Subject"], message["To"], body.replace("\r\n", "\n"), page)


@cache
def _text(path) -> str:
    return path.read_text()
