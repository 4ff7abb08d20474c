"""What a client of Gatehouse can do, in words; over HTTP, to an app in this process or to a real server."""

import json as jsons
import secrets
import time
from typing import Any, NamedTuple

import jwt
import pyotp
import requests
from sqlalchemy import update

from domain import clock
from domain.database import transaction
from model import Factor
from tests.mailbox import Mailbox, Telephones

PASSWORD = "correct horse battery staple"


class Answer(NamedTuple):
    """An answer as a client sees it. `headers` is case-insensitive; `cookies` are those that this answer set."""

    status: int
    headers: Any
    body: bytes
    cookies: dict[str, str]

    @property
    def json(self) -> Any:
        return jsons.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> str | None:
        """The problem's code, or the error as RFC 6749 has it; None if it is neither."""
        if "problem+json" in self.headers.get("Content-Type", ""):
            return self.json.get("code")
        found = self.json if self.status >= 400 and "application/json" in self.headers.get("Content-Type", "") else {}
        return found.get("error")


def phone() -> str:
    """An Austrian mobile number that no other test uses."""
    return f"+43664{secrets.randbelow(10**7):07d}"


class Visitor:
    """A client: `visitor.post("/login", {...})`. A token in `token` goes as a bearer."""

    def __init__(self, send, mailbox: Mailbox) -> None:
        self._send = send
        self.mailbox = mailbox
        self.telephones = Telephones()

    def request(self, method: str, path: str, json: Any = None, token: str | None = None, **more: Any) -> Answer:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if json is not None:
            headers.setdefault("Content-Type", "application/json")
            more["data"] = jsons.dumps(json)
        return self._send(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("POST", path, json, **more)

    def put(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("PUT", path, json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("PATCH", path, json, **more)

    def delete(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.request("DELETE", path, json, **more)

    def sign_up(self, email: str, password: str = PASSWORD, **more: Any) -> Answer:
        return self.post("/signup", {"email": email, "password": password, **more})

    def login(self, email: str, password: str = PASSWORD, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        return self.post("/login", {"email": email, "password": password, **more}, headers=headers or {})

    def join(self, email: str, password: str = PASSWORD, **more: Any) -> None:
        """Sign up and confirm."""
        assert self.sign_up(email, password, **more).status == 201
        answer = self.post(self.mailbox.last(email).path)
        assert answer.status == 200, answer.body

    def member(self, email: str | None = None, password: str = PASSWORD, **more: Any) -> Any:
        """A new account, signed in: the JSON of its tokens."""
        address = email or f"member-{secrets.token_hex(6)}@example.com"
        self.join(address, password, **more)
        answer = self.login(address, password)
        assert answer.status == 200, answer.body
        return answer.json

    def turn_on_totp(self, token: str) -> tuple[pyotp.TOTP, list[str]]:
        """Turn TOTP on for who has this token: the app's side of it, and the recovery codes. The present step is not spent."""
        setup = self.post("/mfa", {}, token=token).json
        app = pyotp.TOTP(setup["secret"])
        answer = self.post("/mfa", {"code": code_of(app)}, token=token)
        assert answer.status == 200, answer.body
        with transaction() as db:  # As if it had been a while ago: nobody has to wait for the next step.
            whose = Factor.user_id == jwt.decode(token, options={"verify_signature": False})["sub"]
            db.execute(update(Factor).where(whose, Factor.type == "totp").values(last_step=Factor.last_step - 1))
        return app, answer.json["recovery_codes"]

    def turn_on_sms(self, token: str, phone: str) -> list[str]:
        """Turn texted codes on for who has this token: the recovery codes."""
        assert self.post("/mfa", {"method": "sms", "phone": phone}, token=token).json == {"status": "code_sent"}
        answer = self.post("/mfa", {"method": "sms", "code": self.telephones.code(phone)}, token=token)
        assert answer.status == 200, answer.body
        return answer.json["recovery_codes"]


def code_of(app: pyotp.TOTP, step: int = 0) -> str:
    """The code of the present step, or of one next to it. One of before is soon over: near the end of a step it waits for the next."""
    if step < 0 and clock.epoch() % 30 >= 20:
        time.sleep(30 - clock.epoch() % 30)
    return app.generate_otp(clock.epoch() // 30 + step)


def in_process(app: Any) -> Any:
    """How to send a request to an app in this process, without its cookies being kept."""

    def send(method: str, path: str, *, headers: dict[str, str], cookies: dict[str, str] | None = None, **more: Any) -> Answer:
        client = app.test_client(use_cookies=False)
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        response = client.open(path, method=method, headers=headers, **more)
        set_cookies = dict(one.split(";")[0].split("=", 1) for one in response.headers.getlist("Set-Cookie"))
        answer = Answer(response.status_code, response.headers, response.get_data(), set_cookies)
        response.close()
        return answer

    return send


def over_http(base: str) -> Any:
    """How to send a request to a real server, on a connection of its own."""

    def send(method: str, path: str, *, headers: dict[str, str], **more: Any) -> Answer:
        more.setdefault("timeout", 60)
        with requests.Session() as session:
            response = session.request(method, base + path, headers=headers, allow_redirects=False, **more)
            set_cookies = {one.name: one.value or "" for one in response.cookies}
            return Answer(response.status_code, response.headers, response.content, set_cookies)

    return send
