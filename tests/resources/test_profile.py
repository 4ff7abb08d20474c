"""The profile: what its owner sees and may change, all of it or nothing, and the picture."""

import json
from itertools import product

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

import config
from domain import accounts, database, pictures, profiles
from domain.database import reading, transaction
from model import User
from tests.pictures import BLUE, GREEN, RED, form, near, opened, photo, plain, stored

CHANGEABLE = {"name", "username", "phone", "bio", "locale", "timezone", "metadata"}
GOOD = {
    "name": "Robin Doe",
    "username": "robin",
    "phone": "+43 1 234567",
    "bio": "Walks.\nReads. 🦊",
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "metadata": {"theme": "dark", "sizes": [1, 2.5, None, True], "deep": {"ä": "🦊"}},
}
BAD = {
    "name": ["", "   ", "x" * 201, 1, ["x"]],
    "username": ["ab", "x" * 33, "robin@example.com", "röbin", ""],
    "phone": [
        "call me",
        "1234",
        "+43 1 234567 ext 8",
        "+1234567890123456",
        "\uff11\uff12\uff13\uff14\uff15\uff16\uff17",
        "+43 1 234567\n",
        431234567,
    ],
    "bio": ["x" * 2001, "a\0b", "a\ud800b"],
    "locale": ["german!", "d", "de_AT", "de-" + "abcdefgh-" * 4],
    "timezone": ["Mars/Olympus", "europe/vienna", "../../etc/passwd", "Europe", "localtime", ""],
    "metadata": [
        [],
        "{}",
        {"a": "x" * 17_000},
        {"a": "b\0"},
        {"a\0": 1},
        {"a": [{"b": "\udfff"}]},
        {"1": {"2": {"3": {"4": {"5": {"6": {"7": {"8": {}}}}}}}}},
        {"a": [[[[[[[[]]]]]]]]},
    ],
}
KEPT = [
    ("name", "  Robin  ", "Robin"),
    ("name", "x" * 200, "x" * 200),
    ("name", "🦊" * 200, "🦊" * 200),
    ("username", "Robin.Doe-9", "robin.doe-9"),
    ("phone", "0123456789", "0123456789"),
    ("phone", "+1 2 3 4 5 6 7 8 9 0 1 2 3 4 5", "+1 2 3 4 5 6 7 8 9 0 1 2 3 4 5"),
    ("bio", "", ""),
    ("bio", "🦊" * 2000, "🦊" * 2000),
    ("locale", "zh-Hant-TW", "zh-Hant-TW"),
    ("timezone", "UTC", "UTC"),
    ("timezone", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ("timezone", "Etc/GMT+12", "Etc/GMT+12"),
    ("metadata", {}, {}),
    ("metadata", {"a": "x" * 16_000}, {"a": "x" * 16_000}),
    ("metadata", {"n": 2**63, "m": -(10**30), "f": 1e300}, {"n": 2**63, "m": -(10**30), "f": 1e300}),
    ("metadata", {"1": {"2": {"3": {"4": {"5": {"6": {"7": [0]}}}}}}}, {"1": {"2": {"3": {"4": {"5": {"6": {"7": [0]}}}}}}}),
]


@pytest.fixture
def member(house, email):
    return house.member(email)


@pytest.fixture
def token(member):
    return member["access_token"]


def columns_of(email):
    with reading() as db:
        return db.execute(select(User.__table__).where(User.email == email)).one()


def path_of(answer):
    return answer.json["picture_url"].removeprefix(config.settings.BASE_URL)


def test_a_new_profile_is_the_user_and_empty(house, member, token):
    answer = house.get("/profile", token=token)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    empty = dict.fromkeys(("phone", "bio", "locale", "timezone", "metadata"))
    assert answer.json == member["user"] | empty
    assert house.get("/api/auth/me", token=token).json == answer.json


@pytest.mark.parametrize("path", ["/profile", "/api/auth/me"])
def test_head_is_get_without_its_body(house, token, path):
    got, head = house.get(path, token=token), house.request("HEAD", path, token=token)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_is_sent_changes_and_the_rest_stays(house, token, method):
    assert house.request(method, "/profile", GOOD, token=token).json.items() >= GOOD.items()
    answer = house.request(method, "/profile", {"bio": "Sleeps."}, token=token)
    assert answer.status == 200
    assert answer.json.items() >= (GOOD | {"bio": "Sleeps."}).items()
    assert house.get("/profile", token=token).json == answer.json


@pytest.mark.parametrize("field", sorted(CHANGEABLE))
def test_null_clears_a_field_and_only_that(house, email, token, field):
    house.put("/profile", GOOD, token=token)
    answer = house.patch("/profile", {field: None}, token=token)
    assert answer.json.items() >= (GOOD | {field: None}).items()
    with reading() as db:
        column = User.__table__.c[field]
        assert db.scalar(select(column.is_(None)).where(User.email == email))


@pytest.mark.parametrize("body", [None, {}])
def test_nothing_to_change_is_fine(house, token, body):
    before = house.put("/profile", GOOD, token=token).json
    answer = house.put("/profile", body, token=token)
    assert (answer.status, answer.json) == (200, before)


@pytest.mark.parametrize("field", sorted(CHANGEABLE))
def test_a_field_is_kept_as_it_should_be(house, token, field):
    for sent, kept in ((sent, kept) for name, sent, kept in KEPT if name == field):
        answer = house.patch("/profile", {field: sent}, token=token)
        assert (answer.status, answer.json.get(field)) == (200, kept)
        assert house.get("/profile", token=token).json[field] == kept


@pytest.mark.parametrize("field", BAD)
def test_a_bad_value_is_refused_with_its_field_and_nothing_changes(house, token, field):
    before = house.put("/profile", GOOD, token=token).json
    for value in BAD[field]:
        answer = house.put("/profile", {"bio": "Changed.", "name": "Changed", field: value}, token=token)
        assert (answer.status, answer.code) == (400, "validation_failed"), value
        assert {fault["field"].split(".")[0] for fault in answer.json["errors"]} == {field}
    assert house.get("/profile", token=token).json == before


def test_a_number_beyond_json_is_refused(house, token):
    for number in ("1e999", "-1e999", "NaN", "Infinity", "9" * 5000):
        text, headers = f'{{"a": [{number}]}}', {"Content-Type": "application/json"}
        answer = house.put("/profile", data=f'{{"metadata": {text}}}', headers=headers, token=token)
        assert answer.code in ("validation_failed", "malformed_json")
        assert house.put("/profile", **form(metadata=text), token=token).code == "validation_failed"
    assert house.get("/profile", token=token).json["metadata"] is None


def test_metadata_of_any_depth_gets_a_clear_answer(house, token):
    for depth in (8, 150, *range(300, 1000, 50), 5000, 30_000):
        text, headers = '{"a": ' + "[" * depth + "]" * depth + "}", {"Content-Type": "application/json"}
        answer = house.put("/profile", data=f'{{"metadata": {text}}}', headers=headers, token=token)
        assert answer.code in ("validation_failed", "malformed_json")
        assert house.put("/profile", **form(metadata=text), token=token).code == "validation_failed"


def test_no_other_column_can_be_changed(house, email, token):
    before = columns_of(email)
    for column in sorted({column.name for column in User.__table__.columns} - CHANGEABLE):
        for method, value, more in product(("PUT", "PATCH"), (True, "x", None), ({}, {"name": "Robin"})):
            answer = house.request(method, "/profile", {column: value, **more}, token=token)
            assert answer.code == "validation_failed"
            assert [fault["field"] for fault in answer.json["errors"]] == [column]
        if column != "picture":
            assert house.put("/profile", **form(**{column: "x", "name": "Robin"}), token=token).code == "validation_failed"
    assert columns_of(email) == before


def test_nor_anything_else(house, token):
    for field in ("extra", "picture_url", "email_confirmed", "is_admin", "roles", "permissions", "__class__", "model_config", "changes"):
        assert house.put("/profile", {field: "x"}, token=token).code == "validation_failed"


def test_a_username_that_somebody_has_is_refused_and_nothing_changes(house, token):
    house.member("other@example.com", username="robin")
    answer = house.put("/profile", {"name": "Changed", "username": "ROBIN"}, token=token)
    assert (answer.status, answer.code) == (400, "username_taken")
    assert house.get("/profile", token=token).json["name"] is None
    assert house.put("/profile", {"username": "robin2"}, token=token).status == 200
    assert house.put("/profile", {"username": "Robin2"}, token=token).status == 200


def test_a_new_username_signs_in_and_the_old_one_is_free(house, email, token):
    house.put("/profile", {"username": "first"}, token=token)
    house.put("/profile", {"username": "second"}, token=token)
    password = {"password": "correct horse battery staple"}
    assert house.post("/login", {"username": "second", **password}).status == 200
    assert house.post("/login", {"username": "first", **password}).code == "invalid_credentials"
    assert house.member("other@example.com", username="first")["user"]["username"] == "first"


def test_only_who_is_signed_in_has_a_profile(house):
    for method, path in (("GET", "/profile"), ("PUT", "/profile"), ("PATCH", "/profile"), ("GET", "/api/auth/me")):
        assert house.request(method, path).code == "token_missing"
    assert house.delete("/profile/picture").code == "token_missing"
    assert house.put("/api/auth/me", {}).code == "method_not_allowed"


def test_a_form_that_nobody_may_send_is_not_read(house):
    assert house.put("/profile", **form(b"x" * 20_000_000)).code == "token_missing"


def test_a_form_changes_fields_too(house, token):
    fields = GOOD | {"metadata": json.dumps(GOOD["metadata"])}
    answer = house.put("/profile", **form(**fields), token=token)
    assert answer.status == 200
    assert answer.json.items() >= GOOD.items()


def test_an_empty_field_of_a_form_clears(house, token):
    house.put("/profile", GOOD, token=token)
    answer = house.put("/profile", **form(**dict.fromkeys(sorted(CHANGEABLE - {"name"}), "")), token=token)
    assert answer.json.items() >= (dict.fromkeys(GOOD) | {"name": GOOD["name"]}).items()


@pytest.mark.parametrize("field", sorted(CHANGEABLE - {"metadata"}))
def test_a_bad_value_in_a_form_is_refused_too(house, token, field):
    for value in BAD[field]:
        if isinstance(value, str) and value and value.isprintable():
            answer = house.put("/profile", **form(plain(), **{field: value}), token=token)
            assert (answer.status, answer.code) == (400, "validation_failed"), value
            assert {fault["field"] for fault in answer.json["errors"]} == {field}
    assert stored() == []


def test_metadata_in_a_form_is_an_object_in_json(house, token):
    house.put("/profile", GOOD, token=token)
    for text in ("{", "[]", '"{}"', '{"a":1,"a":2}', '{"a":"\\u0000"}', '{"a":"\\ud800"}', "nope"):
        answer = house.put("/profile", **form(metadata=text), token=token)
        assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", "metadata"), text
    assert house.get("/profile", token=token).json["metadata"] == GOOD["metadata"]
    assert house.put("/profile", **form(metadata="null"), token=token).json["metadata"] is None


def test_a_file_is_no_text(house, token):
    for field in CHANGEABLE:
        sent = form(b"robin")
        sent["data"] = sent["data"].replace(b'name="picture"', f'name="{field}"'.encode())
        answer = house.put("/profile", **sent, token=token)
        assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", field)


def test_a_picture_is_a_file(house, token):
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]
    texts = [form(field=value) for value in ("", "text")]
    for text in texts:
        text["data"] = text["data"].replace(b'name="field"', b'name="picture"')
    for sent in (*texts, *({"json": {"picture": value}} for value in ("", "text", None, 1, {"data": "x"}))):
        answer = house.put("/profile", **sent, token=token)
        assert (answer.code, answer.json["errors"][0]["field"]) == ("validation_failed", "picture")
    assert house.get("/profile", token=token).json["picture_url"] == url


def test_a_broken_form_is_no_empty_form(house, token):
    whole = form(plain(), name="Robin")
    half = {"data": whole["data"][:-40], "headers": whole["headers"]}
    unbounded = {"data": whole["data"], "headers": {"Content-Type": "multipart/form-data"}}
    twice = form(name="Robin")
    twice["data"] = twice["data"].replace(b"--\r\n", b"\r\n") + twice["data"]
    for sent in (half, unbounded, twice):
        answer = house.put("/profile", **sent, token=token)
        assert (answer.status, answer.code) == (400, "malformed_request")
    assert house.get("/profile", token=token).json["name"] is None
    assert stored() == []


def test_a_form_in_the_other_encoding_is_refused(house, token):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert house.put("/profile", data="name=Robin", headers=headers, token=token).code == "unsupported_media_type"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_picture_is_stored_and_served(house, token, method, kind):
    answer = house.request(method, "/profile", **form(plain(kind), name="Robin"), token=token)
    assert (answer.status, answer.json["name"]) == (200, "Robin")
    assert answer.json["picture_url"].startswith(f"{config.settings.BASE_URL}/uploads/profile_pictures/")
    got = house.get(path_of(answer))
    assert (got.status, got.headers["Content-Type"]) == (200, "image/webp")
    assert near(opened(got.body).getpixel((128, 128)), RED)
    assert house.get("/profile", token=token).json == answer.json


def test_a_picture_is_served_safely_and_may_be_kept(house, token):
    path = path_of(house.put("/profile", **form(plain()), token=token))
    got = house.get(path)
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"
    assert got.headers["Content-Disposition"] == f"inline; filename={path.rpartition('/')[2]}"
    assert "immutable" in got.headers["Cache-Control"]
    assert house.get(path, headers={"If-None-Match": got.headers["ETag"]}).status == 304
    head = house.request("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(got.body)))


def test_there_is_nothing_else_at_the_address_of_pictures(house, token):
    house.put("/profile", **form(plain()), token=token)
    for name in ("x.webp", "..%2f..%2fsecrets.json", "%00.webp", "a%00b.webp", "%2e%2e", "a.webp%0d%0aX: y", "\xe9.webp", ".", "a" * 5000):
        assert house.get(f"/uploads/profile_pictures/{name}").code == "not_found", name


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="5 per hour")
def test_looking_at_pictures_is_not_counted(house):
    assert {house.get("/uploads/profile_pictures/x.webp").status for _ in range(10)} == {404}


def test_a_new_picture_replaces_the_old_one_under_another_name(house, token):
    first = path_of(house.put("/profile", **form(plain(colour=RED)), token=token))
    second = path_of(house.put("/profile", **form(plain(colour=BLUE)), token=token))
    assert first != second
    assert house.get(first).status == 404
    assert near(opened(house.get(second).body).getpixel((128, 128)), BLUE)
    assert stored() == [second.rpartition("/")[2]]


def test_other_changes_leave_the_picture(house, token):
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]
    assert house.put("/profile", GOOD, token=token).json["picture_url"] == url
    assert house.put("/profile", **form(name="Robin"), token=token).json["picture_url"] == url
    assert len(stored()) == 1


def test_a_form_where_no_file_was_chosen_leaves_the_picture(house, token):
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]
    answer = house.put("/profile", **form(b"", filename="", name="Robin"), token=token)
    assert (answer.status, answer.json["name"], answer.json["picture_url"]) == (200, "Robin", url)


def test_a_picture_can_be_taken_away(house, token):
    path = path_of(house.put("/profile", **form(plain()), token=token))
    assert [house.delete("/profile/picture", token=token).status for _ in range(2)] == [204, 204]
    assert house.get("/profile", token=token).json["picture_url"] is None
    assert house.get(path).status == 404
    assert stored() == []


def test_what_is_no_picture_changes_nothing(house, token):
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]
    for data in (b"", b"<svg/>", b"nothing", plain("BMP"), photo()[:500]):
        answer = house.put("/profile", **form(data, name="Changed"), token=token)
        assert (answer.status, answer.code) == (400, "invalid_picture")
    profile = house.get("/profile", token=token).json
    assert (profile["name"], profile["picture_url"]) == (None, url)
    assert len(stored()) == 1


def test_a_picture_with_a_taken_username_changes_nothing(house, token):
    house.member("other@example.com", username="robin")
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]
    assert house.put("/profile", **form(plain(colour=GREEN), username="robin"), token=token).code == "username_taken"
    assert house.get("/profile", token=token).json["picture_url"] == url
    assert len(stored()) == 1


def test_a_commit_that_fails_leaves_no_file(house, token):
    url = house.put("/profile", **form(plain()), token=token).json["picture_url"]

    def fail(_connection):
        raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    event.listen(database.engine, "commit", fail)
    answer = house.put("/profile", **form(plain(colour=GREEN), name="Changed"), token=token)
    event.remove(database.engine, "commit", fail)
    assert (answer.status, answer.code) == (503, "unavailable")
    profile = house.get("/profile", token=token).json
    assert (profile["name"], profile["picture_url"]) == (None, url)
    assert len(stored()) == 1


def test_a_commit_whose_answer_was_lost_keeps_the_file(house, email, token):
    user = accounts.look_up(email)
    name = pictures.keep(user.id, pictures.thumbnail(plain()))
    with transaction() as db:
        db.get(User, user.id).picture = name
    profiles._take_back(user.id, name)
    assert stored() == [name]
    lost = pictures.keep(user.id, b"pixels")
    profiles._take_back(user.id, lost)
    assert stored() == [name]


def test_a_zone_is_judged_by_its_form_where_there_is_no_list(house, token, monkeypatch):
    monkeypatch.setattr(profiles.zoneinfo, "available_timezones", set)
    profiles._zones.cache_clear()
    try:
        assert house.put("/profile", {"timezone": "Europe/Vienna"}, token=token).status == 200
        assert house.put("/profile", {"timezone": "../etc"}, token=token).code == "validation_failed"
    finally:
        profiles._zones.cache_clear()
