"""Letters and messages as files in INSTANCE_DIR/outbox, where nothing is set up that would take them further."""

import os
import quopri
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
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


def forget(words: Iterable[str]) -> int:
    """Delete the letters and messages that hold one of these words; how many."""
    wanted, gone = [word.lower().encode() for word in words], 0
    for path in (config.settings.INSTANCE_DIR / "outbox").glob("*"):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            said = (content + quopri.decodestring(content)).lower()
            if any(word in said for word in wanted):
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
