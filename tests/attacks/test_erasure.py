"""Threats 4, 20 and 41 at the end of an account: nobody comes in any more, and nothing of its owner is found anywhere.

A person does all that a person can do, from an address and with a user agent of their own; then every column, file and entry of
Redis is searched.
"""

from datetime import timedelta
from urllib.parse import quote

import pytest
import redis
from sqlalchemy import text, update

from domain import alerts, clock, erasure, pictures, roles, seals, secrets
from domain.database import connection, transaction
from domain.lifetimes import EVER
from model import AuditEvent, Base, User
from tests.attacks.acts import OTHER, an_admin, count, statuses, user_of
from tests.attacks.test_logs import log_of
from tests.credentials import make_app_token, make_service
from tests.pictures import form, plain, stored
from tests.provider import Provider, sign_in
from tests.serving import at_once
from tests.visitor import PASSWORD, Visitor, code_of

SETTINGS: dict[str, object] = {
    "TRUSTED_PROXIES": 1,
    "LOG_LEVEL": "DEBUG",
    "SMS_PROVIDER": "console",
    "SMS_COUNTRIES": "AT",
    "ADMIN_EMAIL": "boss@example.com",
    "FAILED_ATTEMPTS_LIMIT": 100,
}
IP, AGENT, TELEPHONE = "203.0.113.197", "Zebra/77.1 (marked)", "+436641239876"
MARKS = {
    "the address": "zebulon@example.com",
    "the first address": "quagga@example.net",
    "the address at a provider": "zeb@provider.example",
    "the address that was asked for": "okapi@example.org",
    "the username": "zebulon.q",
    "the name": "Zebulon Quagga",
    "the telephone": TELEPHONE,
    "the phone": "+43 1 7654321",
    "the bio": "striped all over",
    "the metadata": "stripes-42",
    "what administrators noted": "gold-zebra",
    "the IP address": IP,
    "the user agent": "Zebra/77.1",
    "the provider's name for them": "sub-zebra-0815",
}
IN_LOGS = {"the IP address", "the id"}  # What a line a request says by design.
EMAIL = MARKS["the address"]


@pytest.fixture(scope="module", autouse=True)
def provider():
    """Google, for the server of this module, which is started after it."""
    with Provider() as running:
        SETTINGS.update(running.settings)
        yield running


@pytest.fixture(scope="module")
def admin(server, provider):
    return an_admin(server)


@pytest.fixture(scope="module")
def person(server, provider, admin):
    """Everything that somebody can leave behind; the id, the tokens, and the picture's bytes."""
    me = Visitor(
        lambda method, path, *, headers, **more: server._send(
            method, path, headers={"X-Forwarded-For": IP, "User-Agent": AGENT} | headers, **more
        ),
        server.mailbox,
    )
    me.login(EMAIL)  # Before there is an account.
    tokens = me.member(MARKS["the first address"], username=MARKS["the username"], name=MARKS["the name"])
    seals.seal()
    token, user_id = tokens["access_token"], tokens["user"]["id"]
    at = f"/api/admin/users/{user_id}"
    assert server.patch(at, {"app_metadata": {"tier": "gold-zebra"}}, token=admin["access_token"]).status == 200
    fields = {"phone": MARKS["the phone"], "bio": MARKS["the bio"], "metadata": '{"a": "stripes-42"}'}
    assert me.patch("/profile", **form(plain(), **fields), token=token).status == 200
    assert me.post("/profile/email", {"email": EMAIL}, token=token).status == 202
    assert me.post(me.mailbox.last(EMAIL).path).status == 200
    provider.known_as("sub-zebra-0815", MARKS["the address at a provider"])
    _link(me, provider, token)
    me.post("/keys/create", {"name": "Stripes"}, token=token)
    with transaction() as db:
        roles.make_admin(db, user_of(EMAIL))
    make_app_token(server, me.login(EMAIL).json, make_service("zoo"))
    for old, new in ((PASSWORD, OTHER), (OTHER, PASSWORD), (PASSWORD, OTHER)):
        assert me.post("/change-password", {"current_password": old, "new_password": new}, token=token).status == 200
    app, _ = me.turn_on_totp(token)
    me.turn_on_sms(token, TELEPHONE)
    _stray(me)
    assert alerts.watch() == 1
    assert me.post("/reauthenticate", {"method": "totp", "code": code_of(app)}, token=token).status == 200
    fresh = me.post("/verify-otp", {"mfa_token": me.login(EMAIL, OTHER).json["mfa_token"], "method": "totp", "code": code_of(app, 1)})
    token = fresh.json["access_token"]
    me.post("/profile/email", {"email": MARKS["the address that was asked for"]}, token=token)
    me.mailbox.of(MARKS["the address that was asked for"])
    picture = pictures.read(stored(user_id)[0])
    assert me.delete("/profile", token=token).status == 202
    _stray(me)
    return me, user_id, picture


def _link(me, provider, token):
    """Link the identity at the provider, by a code that is brought; the browser's visit stays in the table for a while."""
    began = me.post(f"/profile/identities/{provider.name}", {}, token=token)
    back = me.get(provider.visit(began.json["auth_url"]))
    assert me.post(f"/profile/identities/{provider.name}", {"code": back.json["code"]}, token=token).status == 201


def _stray(me):
    """What is tried and fails, is asked for and never used."""
    me.login(EMAIL.upper(), "a wrong password")
    me.post("/login", {"username": MARKS["the username"], "password": "a wrong password"})
    me.sign_up(EMAIL, OTHER, username=MARKS["the username"], name=MARKS["the name"])
    me.post("/forgot-password", {"email": EMAIL})
    me.post("/send-otp", {"email": EMAIL})
    me.post("/resend-confirmation", {"email": EMAIL})
    me.post("/confirm", {"email": EMAIL, "code": "123456"})
    me.get(f"/nowhere/{quote(EMAIL)}?email={quote(EMAIL)}")


def in_tables(words):
    """Where the words stand: the table's name, or of the trail table and column."""
    found = {}
    with connection() as db:
        for table in Base.metadata.tables:
            rows = db.execute(text(f"SELECT * FROM {table}")).mappings().all()
            for column, value in ((column, _plain(value)) for row in rows for column, value in row.items()):
                for name, word in words.items():
                    if word in value.lower():
                        found.setdefault(name, set()).add(f"{table}.{column}" if table == "audit_events" else table)
    return found


def _plain(value):
    if isinstance(value, bytes):
        return secrets.decrypt(value) if value.startswith(b"gAAAA") else value.decode("latin-1")
    return str(value)


def in_redis(server, words):
    if not server.settings["REDIS_URL"]:
        return {}
    with redis.Redis.from_url(server.settings["REDIS_URL"]) as client:
        said = [
            key + b" " + ((client.get(key) if client.type(key) == b"string" else client.dump(key)) or b"") for key in client.scan_iter()
        ]
    return {name: {one.split(b":")[1] for one in said if word.encode() in one.lower()} for name, word in words.items()}


def in_files(server, words, *, logs):
    folders = (server.settings["INSTANCE_DIR"], server.settings["UPLOADS_DIR"])
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts = {path: (str(path) + path.read_bytes().decode("latin-1").replace("=\n", "")).lower() for path in paths}
    is_log = {path: path.name in ("app.log", "server.out") for path in paths}
    return {name: {path.name for path, said in texts.items() if word in said and is_log[path] is logs} for name, word in words.items()}


def where(server, words):
    """By word, everything that holds it."""
    places = (in_tables(words), in_redis(server, words), in_files(server, words, logs=False))
    return {name: found for name in words if (found := set().union(*(place.get(name, set()) for place in places)))}


def test_nothing_of_a_person_is_found_anywhere_and_the_trail_is_whole(server, provider, admin, person):
    me, user_id, picture = person
    words = {name: word.lower() for name, word in MARKS.items()} | {"the id": user_id}
    assert set(where(server, words)) == set(words), "or the search would miss it"
    assert stored(user_id)
    answer = sign_in(me, provider)
    assert (answer.status, answer.code) == (403, "account_disabled")
    seals.seal()
    with transaction() as db:
        db.execute(update(User).where(User.id == user_id).values(erase_at=clock.now()))
    fresh = server.login(admin["user"]["email"]).json["access_token"]
    run = server.post("/api/admin/jobs/erase-accounts/run", {}, token=fresh)
    assert run.json == {"job": "erase-accounts", "dry_run": False, "affected": 1}
    kept = {"the id": {"audit_events.user_id", "audit_events.actor"}}  # The pseudonym under which the trail goes on.
    if server.settings["REDIS_URL"]:
        kept["the id"].add(b"card-state")  # For minutes: that the card is no longer true.
    assert where(server, words) == kept
    uploads = server.settings["UPLOADS_DIR"].rglob("*")
    assert [path for path in uploads if path.is_file() and path.read_bytes() == picture] == []
    assert {name for name, found in in_files(server, words, logs=True).items() if found} <= IN_LOGS
    assert "INFO" in log_of(server)
    seals.seal()
    verdict = seals.verify()
    assert (verdict.broken, verdict.unsealed) == (None, 0)
    assert count(AuditEvent, AuditEvent.user_id == user_id, AuditEvent.action == "account.erased") == 1


def test_the_address_is_free_and_who_takes_it_gets_nothing_of_before(server, provider, admin, email):
    tokens = server.member(email, username="heir", name="Ann")
    server.delete("/profile", token=tokens["access_token"])
    with transaction() as db:
        db.execute(update(User).where(User.email == email).values(erase_at=EVER))
    assert erasure.erase(tokens["user"]["id"])
    heir = server.member(email, OTHER, username="heir")
    told = server.get("/profile/export", token=heir["access_token"])
    assert heir["user"]["id"] != tokens["user"]["id"]
    assert tokens["user"]["id"] not in told.text
    assert "Ann" not in told.text
    assert server.get("/profile", token=tokens["access_token"]).code == "token_revoked"
    assert erasure.run() == 0
    assert server.get("/profile", token=heir["access_token"]).status == 200


def test_of_many_deletions_at_once_one_happens(server, email):
    token = server.member(email)["access_token"]
    answers = at_once(20, lambda _: server.delete("/profile", token=token))
    assert statuses(answers) == {202: 1, 401: 19}
    assert [one.subject for one in server.mailbox.of(email)].count("Your account will be deleted") == 1


def test_no_link_of_another_purpose_restores_and_this_one_does_nothing_else(server, email):
    tokens = server.member(email)
    server.post("/keys/create", {}, token=tokens["access_token"])
    notice = server.mailbox.last(email).path.rsplit("/", 1)[1]
    server.post("/forgot-password", {"email": email})
    reset = server.mailbox.last(email).path.rsplit("/", 1)[1]
    server.delete("/profile", token=tokens["access_token"])
    restore = server.mailbox.last(email).path.rsplit("/", 1)[1]
    for token in (notice, reset, "x" * 43):
        assert server.post(f"/profile/restore/{token}").code == "link_invalid"
    for path in ("/not-me", "/confirm", "/profile/email/undo", "/profile/email/confirm"):
        assert server.post(f"{path}/{restore}").code == "link_invalid"
    assert server.post(f"/reset-password/{restore}", {"password": OTHER}).code == "link_invalid"
    assert server.login(email).code == "account_disabled"


def test_a_restore_and_the_job_at_once_leave_all_or_nothing(server, email, moved_clock):
    """Their hosts' clocks differ: where somebody restores there is time left, and for the job, which runs in this process, none."""
    links = {}
    for number in range(6):
        tokens = server.member(f"{number}.{email}")
        server.patch("/profile", **form(plain()), token=tokens["access_token"])
        server.delete("/profile", token=tokens["access_token"])
        links[tokens["user"]["id"]] = server.mailbox.last(f"{number}.{email}").path
    with transaction() as db:
        db.execute(update(User).where(User.id.in_(links)).values(erase_at=clock.now() + timedelta(minutes=5)))
    moved_clock(600)
    at_once(7, lambda number: server.post(list(links.values())[-number]) if number else erasure.run())
    erasure.run()
    for user_id, link in links.items():
        restored = count(AuditEvent, AuditEvent.user_id == user_id, AuditEvent.action == "account.restored") == 1
        erased = count(AuditEvent, AuditEvent.user_id == user_id, AuditEvent.action == "account.erased") == 1
        assert restored is not erased
        assert (count(User, User.id == user_id), len(stored(user_id))) == ((1, 1) if restored else (0, 0))
        assert server.post(link).code == ("token_used" if restored else "link_invalid")
