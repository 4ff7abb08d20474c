"""The scripts of the collection, in the JavaScript of Postman's sandbox."""

from typing import Any

# What an answer hands out and a later request needs.
KEPT = (
    "access_token",
    "refresh_token",
    "device_token",
    "mfa_token",
    "otp_token",
    "session_id",
    "secret",
    "recovery_code",
    "factor_id",
    "key_id",
    "last_step",
)

KEEP = """
pm.test("the server did not fail", () => pm.expect(pm.response.code).to.be.below(500));
let answer = {};
try { answer = pm.response.json() || {}; } catch (nothing) {}
const kept = ["access_token", "refresh_token", "device_token", "mfa_token", "otp_token", "session_id", "secret", "key_id"];
kept.filter((name) => typeof answer[name] === "string").forEach((name) => pm.environment.set(name, answer[name]));
if (answer.secret) pm.environment.set("last_step", "0");
if (Array.isArray(answer.recovery_codes) && answer.recovery_codes.length) pm.environment.set("recovery_code", answer.recovery_codes[0]);
if (Array.isArray(answer.methods) && answer.methods.length && answer.methods[0].id) pm.environment.set("factor_id", answer.methods[0].id);
"""

# RFC 6238 with RFC 4226's truncation. A step works once, so each code is of a later one than the last.
TOTP = """
const cryptojs = require("crypto-js");
const secret = pm.environment.get("secret") || "";
const bits = [...secret].map((one) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(one).toString(2).padStart(5, "0")).join("");
const key = (bits.match(/.{8}/g) || []).map((one) => parseInt(one, 2).toString(16).padStart(2, "0")).join("");
const now = Math.floor(Date.now() / 30000);
const step = Math.max(now - 1, Number(pm.environment.get("last_step") || 0) + 1);
const message = cryptojs.enc.Hex.parse(step.toString(16).padStart(16, "0"));
const mac = cryptojs.HmacSHA1(message, cryptojs.enc.Hex.parse(key)).toString();
const offset = parseInt(mac.slice(-1), 16) * 2;
const code = (parseInt(mac.slice(offset, offset + 8), 16) & 0x7fffffff) % 1000000;
pm.environment.set("last_step", String(step));
pm.environment.set("code", String(code).padStart(6, "0"));
"""

NEW_ADDRESS = """
const made = `ann-${Date.now()}-${Math.floor(Math.random() * 1e6)}@example.com`;
pm.environment.set("email", pm.environment.get("own_email") || made);
"""

READ_MAIL = """
const mailbox = pm.environment.get("mailbox_url");
if (mailbox) {
  pm.sendRequest(`${mailbox}?to=${encodeURIComponent(pm.environment.get("email"))}`, (error, response) => {
    pm.environment.set("confirmation_code", response.json().code);
  });
}
"""


def documented(statuses: list[int]) -> str:
    """The answer has one of these statuses."""
    return f'pm.test("the status is documented", () => pm.expect(pm.response.code).to.be.oneOf({statuses}));'


def expected(status: int, *checks: str) -> str:
    """The answer has this status, and every one of these is true of its JSON, `answer`."""
    lines = [f'pm.test("{status}", () => pm.response.to.have.status({status}));', "const answer = pm.response.json();"]
    return "\n".join([*lines, *(f"pm.test({check!r}, () => pm.expect({check}).to.be.true);" for check in checks)])


def event(listen: str, script: str) -> dict[str, Any]:
    """A script that runs before a request (`prerequest`) or on its answer (`test`)."""
    return {"listen": listen, "script": {"type": "text/javascript", "exec": script.strip().splitlines()}}
