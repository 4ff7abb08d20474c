"""Letters and messages as files in INSTANCE_DIR/outbox, where nothing is set up that would take them further."""

import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

import config
from outbound.failures import Down


def store(content: bytes, ending: str, *, keep: bool = True) -> Path:
    """A new file that only the owner may read, whole or not at all; its name begins with the time, so that names sort as
    letters do. `Down` if the folder can't be written; without `keep` that is all that is tried.
    """
    try:
        return _store(content, ending, keep=keep)
    except OSError:
        raise Down("INSTANCE_DIR/outbox can't be written") from None


def forget(recipients: Collection[str], letters: Collection[str]) -> int:
    """Delete what was written to one of these addresses or numbers, and the letters with these numbers of their own; how many."""
    gone = 0
    for path in (config.settings.INSTANCE_DIR / "outbox").glob("*"):
        with suppress(FileNotFoundError):
            head = BytesHeaderParser().parsebytes(path.read_bytes())  # A message begins with its "To:" line as a letter does.
            to, number = ("".join(str(head[name] or "").split()) for name in ("To", "Message-ID"))
            if parseaddr(to)[1].lower() in recipients or number.strip("<>").partition("@")[0] in letters:
                path.unlink()
                gone += 1
    return gone


def _store(content: bytes, ending: str, *, keep: bool) -> Path:
    folder = config.settings.INSTANCE_DIR / "outbox"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}{ending}"
    draft = path.with_suffix(".draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep:
            draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
