"""Threat 41: one event is one line, whatever it holds, and after a user's whole life no secret stands in a log, a table or Redis."""

import base64
import hashlib
import re
import secrets
from urllib.parse import quote, urlsplit

import pyotp
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import model
from domain import activity, clock, expired, passwords
from domain.database import connection, transaction
from model import User
from tests.attacks.acts import account, raw
from tests.visitor import code_of

SETTINGS = {"LOG_LEVEL": "DEBUG", "MAIL_LIMIT": "1000 per hour"}
CONTROLS = (
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x0b",
    "\x0c",
    "\x7f",
    "\x85",
    "\x9b2J",
    "\u2028",
    "\u2029",
    "\u202e",
    "\ufeff",
)


def log_of(server):
    """What the server has logged so far."""
    return (server.settings["INSTANCE_DIR"] / "app.log").read_bytes().decode()


class Diary:
    """A user, and every secret that they ever said or were told."""

    def __init__(self, server, email):
        self.server = server
        self.email = email
        self.long: dict[str, str] = {}
        self.short: dict[str, str] = {}
        self.password = self.keep("the first password", "tall Amber giraffes 11")

    def keep(self, name, value):
        """Write a secret down; those of a few digits apart."""
        (self.short if value.isdigit() and len(value) < 12 else self.long)[f"{name} ({len(self.long) + len(self.short)})"] = value
        return value

    def keep_all(self, tokens):
        """Write down whatever an answer told, and the cookies that it set."""
        for name in ("access_token", "refresh_token", "device_token", "csrf_access_token", "csrf_refresh_token", "mfa_token", "otp_token"):
            if tokens.get(name):
                self.keep(name, tokens[name])
        return tokens

    def letter(self):
        """The newest mail, with its link and its code written down."""
        letter = self.server.mailbox.last(self.email)
        if "/confirm/" in letter.text or "/reset-password/" in letter.text:
            self.keep("a link", letter.path.split("/")[-1])
        if re.search(r"^ +(\d{6})$", letter.text, re.MULTILINE):
            self.keep("a mailed code", letter.code)
        return letter

    def post(self, path, body=None, **more):
        return self.keep_all(self.server.post(path, body, **more).json)

    def login(self, password, **more):
        return self.post("/login", {"email": self.email, "password": password, **more})


def live(server, email):
    """Everything that a user can do, and do wrong."""
    user = Diary(server, email)
    join(user)
    sign_in_with_factors(user)
    change_passwords(user)
    stray(user)
    return user


def join(user):
    user.post("/signup", {"email": user.email, "password": user.password, "name": "Ann"})
    user.letter()
    user.post("/confirm", {"email": user.email, "code": user.keep("a wrong code", "918273")})
    user.post("/resend-confirmation", {"email": user.email})
    letter = user.letter()
    user.login(user.keep("a wrong password", "small Violet otters 22"))
    user.server.get(letter.path, headers={"Accept": "text/html"})
    assert user.post(letter.path)["status"] == "confirmed"
    user.post(letter.path)


def sign_in_with_factors(user):
    tokens = user.login(user.password)
    tokens = user.post("/refresh", token=tokens["refresh_token"])
    bearer = {"token": tokens["access_token"]}
    setup = user.post("/mfa", {}, **bearer)
    app = app_of(user, setup)
    enabled = user.post("/mfa", {"code": user.keep("a TOTP code", code_of(app, -1))}, **bearer)
    codes = [user.keep("a recovery code", code) for code in enabled["recovery_codes"]]
    user.post("/mfa", {"method": "email"}, **bearer)
    assert user.post("/mfa", {"method": "email", "code": user.letter().code}, **bearer)["status"] == "enabled"
    renewed = user.post("/mfa/recovery-codes", {"code": codes[0], "method": "recovery_code"}, **bearer)
    codes = [user.keep("a recovery code", code) for code in renewed["recovery_codes"]]
    user.post("/logout", **bearer)
    ticket = user.login(user.password)["mfa_token"]
    user.post("/verify-otp", {"mfa_token": ticket, "method": "totp", "code": "000000"})
    code = user.keep("a TOTP code", code_of(app))
    again = user.post("/verify-otp", {"mfa_token": ticket, "method": "totp", "code": code, "trust_device": True, "cookies": True})
    assert again["status"] == "signed_in"
    ticket = user.login(user.password)["mfa_token"]
    user.post("/send-otp", {"mfa_token": ticket, "method": "email"})
    tokens = user.post("/verify-otp", {"mfa_token": ticket, "method": "email", "code": user.letter().code})
    user.post("/reauthenticate", {"method": "recovery_code", "code": codes[1]}, token=tokens["access_token"])
    waiting = user.post("/send-otp", {"email": user.email})
    ticket = user.post("/verify-otp", {"otp_token": waiting["otp_token"], "code": user.letter().code})["mfa_token"]
    user.post("/verify-otp", {"mfa_token": ticket, "method": "recovery_code", "code": codes[2]})


def app_of(user, setup):
    """The authenticator app that was set up."""
    user.keep("the otpauth URI", setup["otpauth_uri"])
    return pyotp.TOTP(user.keep("the TOTP secret", setup["secret"]))


def change_passwords(user):
    user.post("/forgot-password", {"email": user.email})
    link = user.letter().path
    user.server.post(link, {"password": user.keep("a weak password", "Zq9!weak")})
    second = user.keep("the second password", "noisy Cobalt walruses 33")
    assert user.post(link, {"password": second})["status"] == "password_reset"
    ticket = user.login(second)["mfa_token"]
    user.post("/send-otp", {"mfa_token": ticket, "method": "email"})
    tokens = user.post("/verify-otp", {"mfa_token": ticket, "method": "email", "code": user.letter().code})
    third = user.keep("the third password", "quiet Magenta badgers 44")
    change = {"current_password": second, "new_password": third}
    assert user.post("/change-password", change, token=tokens["access_token"])["status"] == "password_changed"
    user.password = third


def stray(user):
    """Secrets where they do not belong."""
    server = user.server
    token = user.login(user.password)["mfa_token"]
    body = f'{{"email": "{user.email}", "password": "{user.password}"'
    server.post("/login", data=body, headers={"Content-Type": "application/json"})
    server.post("/login", data=body + "}", headers={"Content-Type": "text/plain"})
    server.post("/login", {"email": user.password, "password": [user.password], user.password: {"token": token}})
    server.post("/login", {"username": user.password, "password": user.email})
    for path in (f"/nowhere/{token}", f"/reset-password/{token}/more", f"//confirm/{token}", f"/mfa/{token}", f"/{quote(user.password)}"):
        server.get(path)
        server.get(f"{path}?token={token}&password={quote(user.password)}")
    odd = {"Referer": f"https://x.example/?t={token}", "Cookie": f"a={token}", "User-Agent": f"x {token}"}
    server.get(f"/confirm/{token}?password={quote(user.password)}", headers=odd)
    server.get("/mfa", token=token, headers={"X-CSRF-TOKEN": token, "X-Device-Token": token, "X-API-Key": token})
    server.request("PUT", f"/confirm/{token}", {"password": user.password})
    for line in (f"GET /confirm/{token} HTTP/9.9", f"GET /confirm/{token}", f"G T /confirm/{token}", f"GET /confirm/{token}\x01 HTTP/1.1"):
        raw(server.port, f"{line}\r\nHost: gatehouse\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
    for header in (f"Authorization : Bearer {token}", f"Cookie: a={token}\x00", f"{token}", f"Content-Length: {token}"):
        raw(server.port, f"GET /mfa HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\n{header}\r\n\r\n")


@pytest.fixture(scope="module")
def user(server):
    """A user who has done all that, and the jobs have run."""
    diary = live(server, f"user-{secrets.token_hex(4)}@example.com")
    activity.flush()
    expired.purge()
    return diary


def written(secret):
    """How a secret might stand somewhere: as it is, quoted, encoded, in parts, or under a hash that anybody can turn back."""
    plain = secret.encode()
    yield from (secret, quote(secret), quote(secret, safe=""), secret.replace(" ", "%20"), plain.hex())
    yield base64.b64encode(plain).decode().rstrip("=")
    yield base64.urlsafe_b64encode(plain).decode().rstrip("=")
    if secret.count(".") == 2:
        yield secret.rsplit(".", 1)[1]  # The signature of a token is all that it takes.
    if "-" in secret and len(secret) == 19:
        yield secret.replace("-", "")  # A recovery code.


def found_in(user, place):
    """The secrets of a user that stand in a text."""
    long = [name for name, secret in user.long.items() if any(one in place for one in written(secret))]
    # Six digits are in every time and every id: what counts is six digits on their own.
    short = [name for name, code in user.short.items() if re.search(rf"(?<![\w.:-]){code}(?![\w.:-])", place)]
    return long + short


def weak_hashes(user):
    """Hashes of the short secrets that a stolen table would give away in a second."""
    names = ("md5", "sha1", "sha256", "sha512")
    return [hashlib.new(name, code.encode()).hexdigest() for code in user.short.values() for name in names]


def rows():
    """Every row of every table, as text."""
    with connection() as db:
        return {table: [str(tuple(row)) for row in db.execute(text(f"SELECT * FROM {table}"))] for table in model.Base.metadata.tables}


def test_the_life_was_a_full_one_and_its_secrets_would_be_found(user):
    kinds = {re.sub(r" \(\d+\)$", "", name) for name in (*user.long, *user.short)}
    assert kinds >= {"a link", "a mailed code", "a TOTP code", "a recovery code", "mfa_token", "otp_token", "device_token", "access_token"}
    assert len(user.long) > 50
    for name, secret in (*user.long.items(), *user.short.items()):
        assert name in found_in(user, f'"said": "{secret}"')
    assert "the first password (0)" in found_in(user, base64.b64encode(user.long["the first password (0)"].encode()).decode())


def test_no_secret_is_in_a_log(server, user):
    folder = server.settings["INSTANCE_DIR"]
    places = [path for path in folder.rglob("*") if path.is_file() and "outbox" not in path.parts and path.name != "secrets.json"]
    assert {"app.log", "server.out"} <= {path.name for path in places}
    assert "/verify-otp" in log_of(server)
    found = {path.name: found_in(user, path.read_bytes().decode("utf-8", "replace")) for path in places}
    assert {name: names for name, names in found.items() if names} == {}


def test_no_secret_is_in_a_table(user):
    everything = rows()
    assert any(user.email in row for row in everything["users"])
    found = {table: found_in(user, "\n".join(some)) for table, some in everything.items()}
    assert {table: names for table, names in found.items() if names} == {}
    assert [one for one in weak_hashes(user) if any(one in row for some in everything.values() for row in some)] == []


def test_no_secret_is_in_the_file_of_the_database(server, user):
    """In no page that was freed and in no journal either."""
    path = urlsplit(server.settings["SQLALCHEMY_DATABASE_URI"]).path
    if not server.settings["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("the database is no file")
    for part in ("", "-wal"):
        with open(path[1:] + part, "rb") as file:
            content = file.read().decode("latin-1")
        assert [name for name, secret in user.long.items() if secret in content] == []


def test_no_secret_is_in_redis(server, user):
    if not server.settings["REDIS_URL"]:
        pytest.skip("no Redis")
    with redis.Redis.from_url(server.settings["REDIS_URL"], decode_responses=True, encoding_errors="replace") as client:
        keys = list(client.scan_iter())
        assert keys
        everything = "\n".join(f"{key} {client.get(key) if client.type(key) == 'string' else client.dump(key)}" for key in keys)
    assert found_in(user, everything) == []


def test_every_request_is_one_line_whatever_it_holds(server, email):
    before = log_of(server)
    answers = []
    for control in CONTROLS:
        answers.append(server.get(f"/{quote('a' + control + 'b')}/x"))
        answers.append(server.get(f"/confirm/{quote('a' + control + 'b')}?a={quote(control)}"))
        answers.append(server.post("/signup", {"email": f"{email}{control}", "password": "x", "username": control, control: control}))
        answers.append(server.post("/signup", {"email": email, "password": "a good long password", "name": f"Ann{control}Arbor"}))
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    lines = log_of(server).removeprefix(before).splitlines()
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if sum(f"request_id={one} " in line for line in lines) != 1] == []
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ [\w.]+: ", line)] == []
    assert [line for line in lines if not line.isprintable()] == []


def test_raw_bytes_in_a_request_make_no_line_of_their_own(server):
    before = log_of(server)
    for line in ("GET /a\x1b[2Jb HTTP/1.1", "GET /a\x00b HTTP/1.1", "GET /\xe9\xff HTTP/1.1", "GET /a\rb HTTP/1.1", "G\x1bT / HTTP/1.1"):
        for header in ("User-Agent: a\x1b[2Jb", "X-Request-ID: a\x00b\x07", "Host: a\x1bb", "Accept: \xff"):
            raw(server.port, f"{line}\r\nHost: gatehouse\r\nConnection: close\r\n{header}\r\n\r\n")
            raw(server.port, f"GET /healthz HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\n{header}\r\n\r\n")
    lines = log_of(server).removeprefix(before).splitlines()
    assert [line for line in lines if not line.isprintable() or not line.startswith("20")] == []
    console = server.log.read_bytes().decode().splitlines()
    assert [line for line in console if not line.isprintable() or not re.match(r"\[?20\d\d-", line)] == []


def test_a_path_can_not_claim_what_only_the_server_says(server):
    before = log_of(server)
    server.get(f"/{quote(' status=200 /caller=boss /x')}")
    server.get("/x%20request_id=0%20ip=1.2.3.4/%09status=200")
    lines = log_of(server).removeprefix(before).splitlines()
    assert len(lines) == 2
    for line in lines:
        words = [word.split("=")[0] for word in line.split(" ") if "=" in word]
        assert sorted(words) == sorted(set(words))
        assert "status=404" in line


def test_what_a_statement_was_given_is_not_told_by_its_error(server, email):
    account(email)
    hashed, now = passwords.hash("some password that is long"), clock.now()
    again = User(id="1", email=email, password_hash=hashed, status="active", mfa_enabled=False, created_at=now, email_confirmed_at=now)
    with pytest.raises(IntegrityError) as failure, transaction() as db:
        db.add(again)
    assert "users" in str(failure.value)
    assert hashed not in str(failure.value)
