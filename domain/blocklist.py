"""The common and breached passwords that are refused, shipped with the server: `leaked/common.bin`, made by `make words`.

The file is a sorted run of six-byte hashes, so that one look-up takes microseconds, and a password that is not on the list
is taken for one on it with a chance of 2 in a thousand million.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

SIZE = 6  # Bytes of each hash.
SHORTEST = 8  # No shorter password is accepted by any setting.
FILE = Path(__file__).with_name("leaked") / "common.bin"


def holds(password: str) -> bool:
    """Whether a password is on the list, in whatever capitals."""
    listed, sought = _listed(), _hashed(password)
    place = bisect_left(range(len(listed) // SIZE), sought, key=lambda number: listed[number * SIZE : (number + 1) * SIZE])
    return listed[place * SIZE : (place + 1) * SIZE] == sought


def write(passwords: Iterable[str], file: Path = FILE) -> None:
    """Make the file of a list of passwords, one a line; those that are too short anyway are left out."""
    lines = (line.rstrip("\r\n") for line in passwords)
    file.write_bytes(b"".join(sorted({_hashed(line) for line in lines if len(line) >= SHORTEST})))


@lru_cache(maxsize=1)
def _listed() -> bytes:
    return FILE.read_bytes()


def _hashed(password: str) -> bytes:
    return hashlib.blake2b(password.lower().encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()
