"""A user's whole life, and every secret that they said or were told in it; and how such a secret might be found again."""

import base64
import hashlib
import re
from urllib.parse import quote, quote_plus

import pyotp

import config
from tests.attacks.acts import raw
from tests.credentials import make_key
from tests.provider import CLIENT_SECRET, come_back, exchange, sign_in
from tests.services import service
from tests.visitor import code_of, phone

KINDS = ("md5", "sha1", "sha256", "sha512")


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

    def letter(self, email=None):
        """The newest mail, with its links and its code written down."""
        letter = self.server.mailbox.last(email or self.email)
        for token in re.findall(r"https?://\S+/([\w-]{43})\b", letter.text):
            self.keep("a link", token)
        for code in re.findall(r"^ +(\d{6})$", letter.text, re.MULTILINE):
            self.keep("a mailed code", code)
        return letter

    def post(self, path, body=None, **more):
        return self.keep_all(self.server.post(path, body, **more).json)

    def login(self, password, **more):
        return self.post("/login", {"email": self.email, "password": password, **more})


def live(server, email, google):
    """Everything that a user can do, and do wrong."""
    user = Diary(server, email)
    for name in ("SECRET_KEY", "JWT_SECRET_KEY", "FERNET_KEY", "PASSWORD_PEPPER"):
        user.keep(f"the {name}", getattr(config.settings, name))
    join(user)
    sign_in_with_factors(user)
    change_passwords(user)
    be_served(user)
    come_by_a_provider(user, google)
    move(user)
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


def signed_in(user):
    """The tokens of a sign-in, which was a moment ago."""
    ticket = user.login(user.password)["mfa_token"]
    user.post("/send-otp", {"mfa_token": ticket, "method": "email"})
    return user.post("/verify-otp", {"mfa_token": ticket, "method": "email", "code": user.letter().code})


def be_served(user):
    """Texted codes, an API key in every place where it may stand, and a service that asks about the user."""
    server, number = user.server, phone()
    tokens = signed_in(user)
    server.post("/mfa", {"method": "sms", "phone": number}, token=tokens["access_token"])
    proof = {"method": "sms", "code": user.keep("a texted code", server.telephones.code(number))}
    assert user.post("/mfa", proof, token=tokens["access_token"])["status"] == "enabled"
    key = user.keep("an API key", make_key(server, tokens)["api_key"])
    assert server.get("/profile", headers={"X-API-Key": key}).status == 200
    assert server.get("/profile", token=key).status == 200
    assert server.get(f"/keys/status/{key}", token=tokens["access_token"]).status == 200
    asking = service(server)
    user.keep("an application token", asking.token)
    for token in (key, tokens["access_token"], user.keep("a service's token", asking.own_token())):
        assert asking.introspect(token)["active"]
    server.post(f"/keys/revoke/{key}", token=tokens["access_token"])
    assert server.get("/profile", headers={"X-API-Key": key}).status == 401


def come_by_a_provider(user, google):
    """Somebody signs in by a provider, with and without a front end."""
    user.keep("the secret of the client", CLIENT_SECRET)
    google.known_as("42", f"robin-{user.email}")
    user.keep_all(sign_in(user.server, google).json)
    query, verifier = come_back(user.server, google)
    user.keep("a verifier of PKCE", verifier)
    user.keep_all(exchange(user.server, user.keep("a code to exchange", query["code"]), verifier).json)
    for _, form, _ in google.asked:
        for name in {"code", "code_verifier"} & {*form}:
            user.keep(f"the provider's {name}", form[name])


def move(user):
    """Another address, and back; and at last it was somebody else."""
    server, new = user.server, f"new-{user.email}"
    tokens = signed_in(user)
    assert server.post("/profile/email", {"email": new}, token=tokens["access_token"]).status == 202
    assert server.post(path_in(user.letter(new), "/profile/email/confirm/")).status == 200
    assert server.post(path_in(user.letter(), "/profile/email/undo/")).status == 200
    link = path_in(user.letter(), "/reset-password/")
    user.password = user.keep("the fourth password", "eager Crimson lynxes 55")
    assert user.post(link, {"password": user.password})["status"] == "password_reset"
    assert server.post(path_in(user.letter(), "/not-me/")).status == 200
    user.password = user.keep("the fifth password", "solemn Indigo herons 66")
    assert user.post(path_in(user.letter(), "/reset-password/"), {"password": user.password})["status"] == "password_reset"


def path_in(letter, page):
    """The link in a letter that leads to this page, without its host."""
    return re.search(rf"https?://[^/\s]+({page}\S+)", letter.text)[1]


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


def written(secret):
    """How a secret might stand somewhere: as it is, quoted, encoded, or in parts."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    if secret.count(".") == 2:
        forms.add(secret.rsplit(".", 1)[1])  # The signature of a token is all that it takes.
    if "-" in secret and len(secret) == 29:
        forms.add(secret.replace("-", ""))  # A recovery code.
    yield from (form.encode() for form in forms)
    yield from encoded(secret.encode())
    if re.fullmatch("[A-Z2-7]{32}", secret):
        yield base64.b32decode(secret)  # A TOTP secret.
        yield from encoded(base64.b32decode(secret))


def encoded(plain):
    """Bytes in hex, and as they come out in base 64 wherever in a longer text they stand."""
    yield from (plain.hex().encode(), plain.hex().upper().encode())
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(shift) + plain)[(0, 2, 3)[shift] : (shift + len(plain)) * 8 // 6]


def found_in(user, place):
    """The secrets of a user that stand in a text, or in bytes, or whose hash does, where anybody can turn it back."""
    place = place.encode("utf-8", "surrogatepass") if isinstance(place, str) else place
    long = [name for name, secret in user.long.items() if any(one in place for one in written(secret))]
    # Six digits are in every time and every id: what counts is six digits on their own.
    short = [name for name, code in user.short.items() if re.search(rb"(?<![\w.:-])%b(?![\w.:-])" % code.encode(), place)]
    return long + short + [name for name, hashes in weak_hashes(user).items() if any(one in place for one in hashes)]


def weak_hashes(user):
    """Hashes of codes and passwords that a stolen table would give away: all codes can be tried in a second, passwords in a day."""
    guessable = {**user.short, **{name: secret for name, secret in user.long.items() if "password" in name}}
    digests = {name: [hashlib.new(kind, said.encode()).digest() for kind in KINDS] for name, said in guessable.items()}
    return {name: [form for digest in some for form in (digest, *encoded(digest))] for name, some in digests.items()}
