"""Profile pictures: drawn anew from what was sent, small and square, and kept as files that never change.

A stranger chose every byte of an upload (threats: scripts in a picture, positions in its metadata, files that are small and
take minutes or gigabytes to decode). Nothing of it is kept but the pixels of the thumbnail.
"""

import io
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image, ImageOps
from sqlalchemy import select

import config
from domain import clock, limits
from domain.database import new_id, reading
from domain.errors import InvalidPicture, NotFound, Unavailable
from model import User

SIDE = 256  # Pixels of the square thumbnail.
FORMATS = ("PNG", "JPEG", "GIF")
BLOCK_BYTES = 1024  # What a decoder gets at a time, so that the clock is asked often enough.
DAY_SECONDS = 86400
BATCH = 500  # Files in one question to the database.
NAME = re.compile(r"([0-9a-f]{32})-[0-9a-f]{32}\.webp")  # The account's id, and 122 random bits: never used again.

logger = logging.getLogger(__name__)
_drawing = threading.Lock()  # One at a time in each process: 25 megapixels take 200 MB while they are drawn.


def thumbnail(data: bytes) -> bytes:
    """The centre of a PNG, JPEG or GIF (its first frame) as a WebP of SIDE x SIDE pixels: upright, and without metadata.

    Slow: never call it inside a transaction. `InvalidPicture`; `Unavailable` when others are waiting to be drawn.
    """
    with _turn():
        try:
            return _encoded(_square(_decoded(data)))
        except InvalidPicture:
            raise
        except Exception:  # A decoder can fall over a file that was made for it in any way there is.
            raise InvalidPicture from None


def keep(user_id: str, picture: bytes) -> str:
    """Write a thumbnail to disk, under a new name that nobody knows before the account's row has it; `Unavailable`."""
    name = f"{user_id}-{new_id()}.webp"
    path = _folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(picture)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        logger.exception("A picture can't be written")
        discard(name)
        raise Unavailable(retry_after=60) from error
    return name


def read(name: str) -> bytes:
    """A thumbnail; `NotFound`."""
    if not NAME.fullmatch(name):
        raise NotFound
    try:
        return (_folder() / name).read_bytes()
    except FileNotFoundError:
        raise NotFound from None


def discard(name: str) -> None:
    """Delete a file; one that can't be deleted now is left to `sweep`."""
    with suppress(OSError):
        (_folder() / name).unlink()


def discard_all(user_id: str) -> None:
    """Delete every file of an account, also one that a crash has left; `OSError` for one that can't be."""
    for path in _folder().glob(f"{user_id}-*"):
        path.unlink(missing_ok=True)


def sweep(*, dry_run: bool = False) -> int:
    """Delete what a crash left between a file and its row: files older than a day that their accounts don't name; how many.

    A file of an account that this database doesn't know is left alone, for the folder may serve another database too.
    """
    old, found = list(_older_than(clock.epoch() - DAY_SECONDS)), 0
    for start in range(0, len(old), BATCH):
        unused = _unused(old[start : start + BATCH])
        found += len(unused)
        for name in () if dry_run else unused:
            discard(name)
    return found


class _Upload(io.BytesIO):
    """The bytes that were sent. They stop coming once decoding them has had its share of the processor."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.until = time.thread_time() + limits.PICTURE_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; `InvalidPicture`."""
        if time.thread_time() > self.until:
            raise InvalidPicture("It takes too long to decode.")
        return super().read(size)


@contextmanager
def _turn() -> Iterator[None]:
    if not _drawing.acquire(timeout=limits.PICTURE_SECONDS):
        raise Unavailable(retry_after=5)
    try:
        yield
    finally:
        _drawing.release()


def _decoded(data: bytes) -> Image.Image:
    """The picture as it lies in the file. Its size is known, and judged, before anything is decoded."""
    image = Image.open(_Upload(data), formats=FORMATS)
    if image.width * image.height > limits.PICTURE_PIXELS:
        raise InvalidPicture(f"It has more than {limits.PICTURE_PIXELS:,} pixels.")
    image.draft(None, (2 * SIDE, 2 * SIDE))  # Of a large JPEG, only as much as is needed.
    image.decodermaxblock = BLOCK_BYTES
    image.load()
    return image


def _square(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # 16 bits of grey would be cut off at 255 instead of scaled.
        image = image.point(lambda value: value / 256)
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    edge = min(plain.size)
    left, top = (plain.width - edge) / 2, (plain.height - edge) / 2
    centre = (left, top, left + edge, top + edge)
    small = plain.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=centre, reducing_gap=2)
    return ImageOps.exif_transpose(small)


def _encoded(image: Image.Image) -> bytes:
    made = io.BytesIO()
    image.save(made, "WEBP", quality=80, exif=b"", xmp=b"", icc_profile=b"")
    return made.getvalue()


def _folder() -> Path:
    return config.settings.UPLOADS_DIR / "profile_pictures"


def _older_than(epoch: int) -> Iterator[str]:
    for path in _folder().glob("*.webp"):
        with suppress(FileNotFoundError):  # Replaced a moment ago.
            if NAME.fullmatch(path.name) and path.stat().st_mtime < epoch:
                yield path.name


def _unused(names: list[str]) -> list[str]:
    owners = {name: name.partition("-")[0] for name in names}
    with reading() as db:
        rows = db.execute(select(User.id, User.picture).where(User.id.in_(set(owners.values()))))
        named = {row.id: row.picture for row in rows}
    return [name for name, owner in owners.items() if owner in named and named[owner] != name]
