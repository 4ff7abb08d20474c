"""Threats 6 and 38 against the real server: what a hostile upload can't do, and which files are left."""

import http.client
import io
import os
import signal
import time

import pytest
import requests
from PIL import Image

import config
from domain import limits, pictures
from model import User
from tests.attacks.acts import statuses, user_of
from tests.pictures import BLUE, RED, bomb, film, form, near, opened, photo, plain, slow_jpeg, slow_png, stored
from tests.serving import PATIENCE, at_once

SETTINGS: dict[str, str] = {}  # It is killed in the end.
SCRIPT = b"<script>alert('here')</script>"


@pytest.fixture
def token(server, email):
    return server.member(email)["access_token"]


def upload(server, token, data, **more):
    return server.put("/profile", **form(data, **more), token=token)


def served(server, answer):
    """The bytes behind the picture's address."""
    return server.get(answer.json["picture_url"].removeprefix(server.base)).body


def files_of(email):
    return stored(user_of(email).id)


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b"<!doctype html>" + SCRIPT,
        b"GIF89a/*" + SCRIPT,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file",
        plain("TIFF"),
        plain("BMP"),
        plain("WEBP"),
    ],
    ids=["svg", "entity", "html", "polyglot", "postscript", "tiff", "bmp", "webp"],
)
def test_what_is_no_picture_is_not_stored_whatever_it_calls_itself(server, email, token, data):
    for filename in ("me.png", "me.svg", "me.html"):
        answer = upload(server, token, data, filename=filename)
        assert (answer.status, answer.code) == (400, "invalid_picture")
    assert files_of(email) == []


@pytest.mark.parametrize("data", [film(), plain("PNG"), plain("JPEG")], ids=["gif", "png", "jpeg"])
def test_a_script_behind_a_picture_is_not_stored(server, email, token, data):
    answer = upload(server, token, data + SCRIPT, filename="me.html")
    assert answer.status == 200
    (name,) = files_of(email)
    kept = (config.settings.UPLOADS_DIR / "profile_pictures" / name).read_bytes()
    assert b"script" not in kept
    assert kept == served(server, answer)
    assert Image.open(io.BytesIO(kept)).format == "WEBP"
    assert name.endswith(".webp")


def test_a_picture_is_never_served_as_a_page(server, token):
    answer = upload(server, token, plain() + SCRIPT, filename="me.html")
    got = server.get(answer.json["picture_url"].removeprefix(server.base), headers={"Accept": "text/html"})
    assert got.headers["Content-Type"] == "image/webp"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"


def test_where_and_by_whom_a_photo_was_taken_is_gone(server, token):
    data = photo(6)
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(0x8825)
    kept = served(server, upload(server, token, data))
    assert not Image.open(io.BytesIO(kept)).getexif()
    assert not [word for word in (b"ecret", b"EXIF", b"Exif", b"XMP", b"ICCP") if word in kept]
    assert near(opened(kept).getpixel((200, 128)), RED)


@pytest.mark.parametrize("size", [(5001, 5000), (9400, 9400), (20_000, 20_000)])
def test_a_small_file_with_very_many_pixels_is_refused_at_once(server, email, token, size):
    data = bomb(*size)
    assert len(data) < 60_000
    before = server.cpu_seconds()
    assert upload(server, token, data).code == "invalid_picture"
    assert server.cpu_seconds() - before < 3
    assert files_of(email) == []


@pytest.mark.parametrize("make", [slow_jpeg, slow_png])
def test_a_file_that_is_slow_to_decode_is_given_up(server, email, token, make):
    data = make()
    assert len(data) < limits.PICTURE_BYTES
    answer = upload(server, token, data)
    assert (answer.status, answer.code) == (400, "invalid_picture")
    assert files_of(email) == []


@pytest.mark.parametrize(
    "filename",
    ["../../../../tmp/evil.png", "..\\..\\evil.png", "/etc/cron.d/evil", "evil\0.png", "%2e%2e%2fevil.png", ".htaccess", "x" * 5000],
)
def test_the_name_of_a_file_means_nothing(server, email, token, filename):
    before = outside()
    sent = form(plain(), filename="NAME")
    sent["data"] = sent["data"].replace(b"NAME", filename.encode())
    answer = server.put("/profile", **sent, token=token)
    assert answer.status == 200
    (name,) = files_of(email)
    assert pictures.NAME.fullmatch(name)
    assert answer.json["picture_url"].endswith(f"/uploads/profile_pictures/{name}")
    assert outside() == before


def outside():
    """Every file of the server's folders that is no picture in its place."""
    roots = (config.settings.UPLOADS_DIR, config.settings.INSTANCE_DIR / "..", "/tmp")
    return {os.path.join(root, name) for root in roots for name in os.listdir(root) if "evil" in name or "htaccess" in name}


@pytest.mark.parametrize("up", ["../../", "..%2f..%2f", "%2e%2e/%2e%2e/"])
def test_no_other_file_is_served(server, token, up):
    upload(server, token, plain())
    assert (config.settings.UPLOADS_DIR / "profile_pictures" / "../../instance/server.out").exists()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for name in ("instance/server.out", "instance/secrets.json", "instance/server.out%00.webp"):
        connection.request("GET", f"/uploads/profile_pictures/{up}{name}")
        answer = connection.getresponse()
        assert (answer.status, b"not_found" in answer.read()) == (404, True)
    connection.close()


@pytest.mark.parametrize("kind", ["field", "file"])
def test_a_hundred_thousand_parts_are_refused(server, email, token, kind):
    head = 'Content-Disposition: form-data; name="f{}"' + ('; filename="x"' if kind == "file" else "")
    data = "".join(f"--b\r\n{head.format(number)}\r\n\r\nx\r\n" for number in range(100_000)) + "--b--\r\n"
    before = server.cpu_seconds()
    answer = server.put("/profile", data=data, headers={"Content-Type": "multipart/form-data; boundary=b"}, token=token)
    assert (answer.status, answer.code) == (413, "too_large")
    assert server.cpu_seconds() - before < 5
    assert server.get("/profile", token=token).json["picture_url"] is None


@pytest.mark.parametrize("size", [limits.PICTURE_BYTES + 1, 17_000_000, 40_000_000])
def test_more_than_16_mb_is_refused(server, email, token, size):
    whole = plain()
    answer = upload(server, token, whole + bytes(size - len(whole)))
    assert (answer.status, answer.code) == (413, "too_large")
    assert files_of(email) == []


def test_16_mb_are_taken(server, token):
    whole = plain()
    assert upload(server, token, whole + bytes(limits.PICTURE_BYTES - len(whole))).status == 200


def test_more_than_16_mb_without_a_length_is_refused(server, token):
    sent = form(bytes(17_000_000))
    blocks = (sent["data"][start : start + 65536] for start in range(0, len(sent["data"]), 65536))
    answer = server.put("/profile", data=blocks, headers=sent["headers"], token=token)
    assert (answer.status, answer.code) == (413, "too_large")


def test_a_form_that_is_larger_than_it_says_is_refused(server, email, token):
    sent = form(plain())
    sent["data"] = sent["data"][:-20]
    answer = server.put("/profile", **sent, token=token)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert files_of(email) == []


def test_only_a_form_may_be_that_large(server, token):
    data = b'{"bio": "' + b"x" * 1_000_000 + b'"}'
    answer = server.put("/profile", data=data, headers={"Content-Type": "application/json"}, token=token)
    assert (answer.status, answer.code) == (413, "too_large")
    assert server.put("/profile", **form(bio="x" * 1_000_000), token=token).status in (400, 413)
    assert server.post("/mfa", **form(plain()), token=token).status == 415


def test_a_hundred_uploads_leave_one_file(server, email, token):
    answers = [upload(server, token, plain(size=(20, 20), colour=(number, 0, 0))) for number in range(100)]
    assert statuses(answers) == {200: 100}
    assert len({answer.json["picture_url"] for answer in answers}) == 100
    assert files_of(email) == [user_of(email).picture]
    assert served(server, answers[-1])


def test_uploads_at_once_leave_one_file(server, email, token):
    data = plain(size=(20, 20))
    answers = at_once(30, lambda _: upload(server, token, data))
    assert statuses(answers) == {200: 30}
    assert files_of(email) == [user_of(email).picture]


def test_uploads_and_removals_at_once_leave_at_most_one_file(server, email, token):
    data = plain(size=(20, 20))
    answers = at_once(30, lambda number: upload(server, token, data) if number % 2 else server.delete("/profile/picture", token=token))
    assert set(statuses(answers)) == {200, 204}
    assert files_of(email) == ([user_of(email).picture] if user_of(email).picture else [])


def test_many_who_want_one_username_leave_the_pictures_of_those_who_got_it(server):
    emails = [f"rival-{number}-{time.time_ns()}@example.com" for number in range(20)]
    tokens = [server.member(email)["access_token"] for email in emails]
    data, username = plain(size=(20, 20), colour=BLUE), f"u{time.time_ns() % 10**12}"
    answers = at_once(20, lambda number: upload(server, tokens[number], data, username=username))
    assert statuses(answers) == {200: 1, 400: 19}
    assert {answer.code for answer in answers} == {None, "username_taken"}
    assert sum(len(files_of(email)) for email in emails) == 1
    assert [user_of(email).picture for email in emails if user_of(email).username] == [name for email in emails for name in files_of(email)]


def test_what_a_killed_server_leaves_is_swept_a_day_later(server, email, token):
    data = plain(size=(20, 20))
    assert upload(server, token, data).status == 200

    def hammer(number):
        if number == 0:
            time.sleep(0.4)
            return server.stop(signal.SIGKILL)
        try:
            while True:
                upload(server, token, data)
        except requests.RequestException:
            return None

    at_once(8, hammer)
    server.start()
    user = user_of(email)
    then = time.time() - 90_000
    for name in files_of(email):
        os.utime(config.settings.UPLOADS_DIR / "profile_pictures" / name, (then, then))
    assert pictures.read(user.picture)
    left = len(files_of(email)) - 1
    assert pictures.sweep(dry_run=True) == left
    assert pictures.sweep() == left
    assert files_of(email) == [user.picture]
    assert upload(server, token, data).status == 200


def test_no_column_of_an_account_can_be_changed_by_its_profile(server, email, token):
    free = {"name", "username", "phone", "bio", "locale", "timezone", "metadata"}
    before = {column.key: getattr(user_of(email), column.key) for column in User.__mapper__.column_attrs}
    for name in {column.name for column in User.__table__.columns} | {column.key for column in User.__mapper__.column_attrs}:
        if name in free:
            continue
        for value in (None, True, 1, "active", {"a": 1}):
            for method in ("PUT", "PATCH"):
                answer = server.request(method, "/profile", {"name": "Robin", name: value}, token=token)
                assert (answer.status, answer.json["errors"][0]["field"]) == (400, name)
    assert {key: getattr(user_of(email), key) for key in before} == before
