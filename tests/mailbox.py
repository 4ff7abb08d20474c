"""The mailboxes of everybody: what the outbox has delivered as .eml files, read as a person would."""

import email
import email.policy
import re
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
        found = re.search(r"https?://\S+/(?:confirm|reset-password)/\S+", self.text)
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
        letters = [_read(path) for path in sorted(folder.glob("*.eml"), key=lambda one: one.stat().st_mtime_ns)]
        return [one for one in letters if one.to == address]

    def last(self, address: str) -> Letter:
        """The newest letter to an address."""
        letters = self.of(address)
        assert letters, f"no mail to {address}"
        return letters[-1]


def _read(path) -> Letter:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    body, page = text.get_content(), html.get_content()
    return Letter(message["Subject"], message["To"], body.replace("\r\n", "\n"), page)
