"""What is drawn from an upload, what is refused, and which files stay."""

import io
import os
import threading
import time

import pytest
from PIL import Image

import config
from domain import accounts, clock, database, expired, pictures
from domain.database import new_id, transaction
from domain.errors import InvalidPicture, NotFound, Unavailable
from model import Base, User
from tests import databases
from tests.pictures import BLUE, GREEN, RED, bomb, encoded, film, near, opened, photo, plain, slow_jpeg, slow_png, stored

CENTRE = (pictures.SIDE // 2, pictures.SIDE // 2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1, 1), (2000, 3), (3, 2000), (256, 256), (1500, 1500)])
def test_whatever_its_size_it_becomes_a_square_webp(kind, size):
    made = Image.open(io.BytesIO(pictures.thumbnail(plain(kind, size))))
    assert (made.format, made.size) == ("WEBP", (pictures.SIDE, pictures.SIDE))
    assert near(made.convert("RGB").getpixel(CENTRE), RED)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "seen"),
    [
        ("L", 200, "PNG", (200, 200, 200)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("I;16", 0xC800, "PNG", (200, 200, 200)),
        ("L", 200, "JPEG", (200, 200, 200)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
    ],
)
def test_every_kind_of_colour_is_understood(mode, colour, kind, seen):
    assert near(opened(pictures.thumbnail(plain(kind, colour=colour, mode=mode))).getpixel(CENTRE), seen, 20)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "GIF")])
def test_what_is_transparent_stays_transparent(mode, kind):
    made = Image.open(io.BytesIO(pictures.thumbnail(encoded(Image.new(mode, (50, 50)), kind))))
    assert made.mode == "RGBA"
    assert made.getpixel(CENTRE)[3] == 0


def test_the_centre_is_shown():
    image = Image.new("RGB", (900, 300), BLUE)
    image.paste(RED, (300, 0, 600, 300))
    made = opened(pictures.thumbnail(encoded(image)))
    assert all(near(made.getpixel(place), RED) for place in ((8, 8), (247, 8), (8, 247), (247, 247)))


@pytest.mark.parametrize(("orientation", "red"), [(1, (128, 60)), (3, (128, 200)), (6, (200, 128)), (8, (60, 128))])
def test_it_stands_upright(orientation, red):
    made = opened(pictures.thumbnail(photo(orientation)))
    assert near(made.getpixel(red), RED)
    assert near(made.getpixel((255 - red[0], 255 - red[1])), BLUE)


def test_nothing_but_pixels_is_kept():
    data = photo()
    assert b"Secret Artist" in data
    made = pictures.thumbnail(data)
    image = Image.open(io.BytesIO(made))
    assert not image.getexif()
    assert not set(image.info) & {"exif", "icc_profile", "xmp", "comment"}
    assert not [word for word in (b"ecret", b"EXIF", b"Exif", b"ICCP", b"XMP") if word in made]


def test_of_a_film_the_first_frame_is_shown():
    made = Image.open(io.BytesIO(pictures.thumbnail(film())))
    assert getattr(made, "n_frames", 1) == 1
    assert near(made.convert("RGB").getpixel(CENTRE), RED)


def test_a_large_photo_becomes_small():
    noise = Image.effect_noise((3000, 3000), 80).convert("RGB")
    assert len(pictures.thumbnail(encoded(noise, "JPEG", quality=95))) < 40_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_half_a_picture_is_refused(kind):
    data = encoded(Image.effect_noise((300, 300), 80), kind)
    with pytest.raises(InvalidPicture):
        pictures.thumbnail(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "ICO", "PPM", "PDF", "EPS"])
def test_every_other_format_is_refused(kind):
    with pytest.raises(InvalidPicture):
        pictures.thumbnail(plain(kind, (64, 64)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"GIF89a",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<!doctype html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        plain()[:60],
        bomb(0, 5),
        bomb(5, 0),
        bomb(100_000, 100_000),
    ],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(InvalidPicture):
        pictures.thumbnail(data)


@pytest.mark.parametrize("size", [(5001, 5000), (25_000_001, 1), (9000, 9000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    data = bomb(*size)
    began = time.thread_time()
    with pytest.raises(InvalidPicture, match=r"pixels|not a picture"):
        pictures.thumbnail(data)
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize("make", [slow_jpeg, slow_png])
def test_a_file_that_takes_too_long_is_given_up(make, monkeypatch):
    monkeypatch.setattr("domain.limits.PICTURE_SECONDS", 0.5)
    data = make()
    assert len(data) < 16 * 1024 * 1024
    began = time.thread_time()
    with pytest.raises(InvalidPicture, match="too long"):
        pictures.thumbnail(data)
    assert time.thread_time() - began < 3


def test_the_largest_picture_is_drawn_in_time():
    assert pictures.thumbnail(bomb(5000, 5000))
    data = encoded(Image.linear_gradient("L").resize((5000, 5000)), "JPEG", progressive=True)
    assert near(opened(pictures.thumbnail(data)).getpixel(CENTRE), (128, 128, 128))


def test_who_waits_too_long_for_a_turn_is_asked_to_come_again(monkeypatch):
    monkeypatch.setattr("domain.limits.PICTURE_SECONDS", 0.05)
    with pictures._drawing, pytest.raises(Unavailable):
        pictures.thumbnail(plain())
    assert pictures.thumbnail(plain())


def test_a_refused_picture_frees_its_turn():
    for _ in range(3):
        with pytest.raises(InvalidPicture):
            pictures.thumbnail(b"nothing")
    assert not pictures._drawing.locked()


@pytest.fixture
def user_id(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        with transaction() as db:
            made = accounts.add(db, "jo@example.com", None).id
        yield made


def name_it(user_id, name):
    with transaction() as db:
        db.get(User, user_id).picture = name


def age(name, days):
    then = clock.epoch() - int(days * 86400)
    os.utime(config.settings.UPLOADS_DIR / "profile_pictures" / name, (then, then))


def test_a_kept_picture_can_be_read_and_discarded(user_id):
    name = pictures.keep(user_id, b"pixels")
    assert pictures.read(name) == b"pixels"
    assert len(name) <= User.__table__.c.picture.type.length
    pictures.discard(name)
    pictures.discard(name)
    with pytest.raises(NotFound):
        pictures.read(name)
    assert stored() == []


def test_no_name_comes_twice(user_id):
    assert len({pictures.keep(user_id, b"pixels") for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["", ".", "..", "../secrets.json", "secrets.json", "a.webp", "x\0.webp", "é.webp", "/etc/passwd"])
def test_only_pictures_are_read(user_id, name):
    pictures.keep(user_id, b"pixels")
    with pytest.raises(NotFound):
        pictures.read(name)


def test_where_nothing_can_be_written_nothing_is_left(user_id):
    config.settings.UPLOADS_DIR.parent.mkdir(exist_ok=True)
    config.settings.UPLOADS_DIR.write_text("a file where the folder should be")
    with pytest.raises(Unavailable):
        pictures.keep(user_id, b"pixels")


def test_the_sweep_takes_old_files_that_no_row_names(user_id):
    named, lost, fresh = (pictures.keep(user_id, b"pixels") for _ in range(3))
    name_it(user_id, named)
    for name in (named, lost):
        age(name, 1.1)
    age(fresh, 0.9)
    assert pictures.sweep(dry_run=True) == 1
    assert stored() == sorted([named, lost, fresh])
    assert pictures.sweep() == 1
    assert stored() == sorted([named, fresh])
    assert pictures.sweep() == 0


def test_the_sweep_takes_the_files_of_an_account_without_a_picture(user_id):
    age(pictures.keep(user_id, b"pixels"), 2)
    assert pictures.sweep() == 1
    assert stored() == []


def test_the_sweep_leaves_what_this_database_does_not_know(user_id):
    theirs = pictures.keep(new_id(), b"pixels")
    age(theirs, 30)
    (config.settings.UPLOADS_DIR / "profile_pictures" / ".gitkeep").touch()
    age(".gitkeep", 30)
    assert pictures.sweep() == 0
    assert stored() == sorted([theirs, ".gitkeep"])


def test_the_sweep_takes_more_than_one_batch(user_id, monkeypatch):
    monkeypatch.setattr(pictures, "BATCH", 2)
    for _ in range(5):
        age(pictures.keep(user_id, b"pixels"), 2)
    assert pictures.sweep(dry_run=True) == 5
    assert pictures.sweep() == 5


def test_the_hourly_purge_sweeps_too(user_id):
    age(pictures.keep(user_id, b"pixels"), 2)
    assert expired.purge(dry_run=True) == 1
    assert expired.purge() == 1
    assert stored() == []


def test_without_a_folder_there_is_nothing_to_sweep(user_id):
    assert pictures.sweep() == 0


def test_pictures_are_drawn_one_at_a_time():
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.append(pictures.thumbnail(plain(colour=GREEN)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 1
    assert len(drawn) == 4
