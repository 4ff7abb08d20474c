"""Pictures for tests, honest and hostile, and the forms that carry them."""

import io
import struct
import zlib
from typing import Any

from PIL import ExifTags, Image
from urllib3.filepost import encode_multipart_formdata

import config

RED, GREEN, BLUE = (220, 20, 20), (20, 160, 20), (20, 20, 220)


def form(picture: bytes | None = None, filename: str = "me.png", **fields: str) -> dict[str, Any]:
    """What a visitor sends to put these fields, and a file `picture`, into a form."""
    parts: list[Any] = list(fields.items())
    if picture is not None:
        parts.append(("picture", (filename, picture, "image/png")))
    data, content_type = encode_multipart_formdata(parts)
    return {"data": data, "headers": {"Content-Type": content_type}}


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    """The file of an image."""
    made = io.BytesIO()
    image.save(made, kind, **more)
    return made.getvalue()


def plain(kind: str = "PNG", size: tuple[int, int] = (300, 200), colour: Any = RED, mode: str = "RGB", **more: Any) -> bytes:
    """A picture of one colour."""
    return encoded(Image.new(mode, size, colour), kind, **more)


def photo(orientation: int = 1, size: tuple[int, int] = (400, 400)) -> bytes:
    """A JPEG as a phone makes it: upper half red, lower half blue as it lies, with where it was taken and by whom."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0], size[1] // 2))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Secret Artist"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (16.0, 22.0, 23.0)})
    return encoded(image, "JPEG", exif=exif, comment=b"secret comment", icc_profile=b"secret profile")


def film() -> bytes:
    """An animated GIF: red, then green."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def bomb(width: int, height: int) -> bytes:
    """A small PNG of very many black pixels, one bit each; beyond 1,000 megapixels it only says so."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = bytes((1 + (width + 7) // 8) * height) if width * height < 10**9 else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def slow_jpeg(scans: int = 100_000) -> bytes:
    """A JPEG with one scan over 25 megapixels after the other, 42 bytes each."""
    whole = encoded(Image.new("L", (5000, 5000), 128), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + b"\xff\xd9"


def slow_png(chunks: int = 8_000) -> bytes:
    """A PNG with a long colour profile, again and again."""
    whole = plain(size=(1, 1))
    profile = _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    return whole[:33] + profile * chunks + whole[33:]


def opened(data: bytes) -> Image.Image:
    """A picture as a client would see it."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def near(found: Any, colour: tuple[int, int, int], within: int = 12) -> bool:
    """Whether a pixel has this colour, as well as lossy formats keep one."""
    return all(abs(one - other) <= within for one, other in zip(found, colour, strict=True))


def stored(owner: str = "") -> list[str]:
    """The names of the files that lie where pictures do, of everybody or of one account."""
    folder = config.settings.UPLOADS_DIR / "profile_pictures"
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(owner)) if folder.exists() else []


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
