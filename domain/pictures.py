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
from contextlib import contextmanager
from itertools import batched
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
NAME = re.compile(r"([0-9a-f]{32})-[0-9a-f]{32}\.webp")  # The account's id, and 122 random bits: never used again.

logger = logging.getLogger(__name__)
_drawing = threading.Lock()  # One at a time in each process: 25 megapixels take 200 MB while they are drawn.
