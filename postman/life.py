"""The folder "A life": from sign-up to logout, each step with what must come of it."""

import json
from typing import Any

from postman import scripts

Item = dict[str, Any]
DESCRIPTION = "Sign-up, confirmation, sign-in, profile, refresh, a second factor and how it is asked, step-up, logout. Run it in order."
CREDENTIALS = {"email": "{{email}}", "password": "{{password}}"}


def items() -> list[Item]:
    """The steps, in their order."""
    signed_in = "answer.status === 'signed_in'"
    return [
        _step("Sign up", "POST", "/signup", CREDENTIALS, 201, "answer.status === 'confirmation_sent'", before=scripts.NEW_ADDRESS),
        _step("Sign in too early", "POST", "/login", CREDENTIALS, 401, "answer.code === 'invalid_credentials'"),
        _step(
            "Confirm by the code in the mail",
            "POST",
            "/confirm",
            {"email": "{{email}}", "code": "{{confirmation_code}}"},
            200,
            "answer.status === 'confirmed'",
            before=scripts.READ_MAIL,
        ),
        sign_in(),
        _step("Who is signed in", "GET", "/auth/status", None, 200, "answer.authenticated", bearer="access_token"),
        _step("See the profile", "GET", "/profile", None, 200, "answer.email === pm.environment.get('email')", bearer="access_token"),
        _step("Change it", "PATCH", "/profile", {"name": "Ann"}, 200, "answer.name === 'Ann'", bearer="access_token"),
        _step("Refresh", "POST", "/refresh", None, 200, signed_in, bearer="refresh_token"),
        _step("Begin with an authenticator app", "POST", "/mfa", {}, 200, "answer.status === 'setup'", bearer="access_token"),
        _step(
            "Prove it by a code",
            "POST",
            "/mfa",
            {"code": "{{code}}"},
            200,
            "answer.status === 'enabled'",
            "answer.recovery_codes.length === 10",
            bearer="access_token",
            before=scripts.TOTP,
        ),
        _step("See the factors", "GET", "/mfa", None, 200, "answer.enabled", bearer="access_token"),
        _step(
            "Prove again that it is you",
            "POST",
            "/reauthenticate",
            {"method": "totp", "code": "{{code}}"},
            200,
            signed_in,
            bearer="access_token",
            before=scripts.TOTP,
        ),
        _step("Sign out", "POST", "/logout", None, 200, "answer.status === 'signed_out'", bearer="access_token"),
        _step("Be out", "GET", "/profile", None, 401, "answer.code === 'token_revoked'", bearer="access_token"),
        _step("Sign in: the first factor", "POST", "/login", CREDENTIALS, 200, "answer.status === 'mfa_required'"),
        _step(
            "Sign in: the second",
            "POST",
            "/verify-otp",
            {"mfa_token": "{{mfa_token}}", "method": "totp", "code": "{{code}}"},
            200,
            signed_in,
            before=scripts.TOTP,
        ),
        _step(
            "Turn the factor off by a recovery code",
            "DELETE",
            "/mfa",
            {"method": "recovery_code", "code": "{{recovery_code}}"},
            200,
            "answer.status === 'disabled'",
            bearer="access_token",
        ),
        _step("Sign out for good", "POST", "/logout", None, 200, "answer.status === 'signed_out'", bearer="access_token"),
    ]


def sign_in() -> Item:
    """A sign-in; its tokens go with what comes after it."""
    return _step("Sign in", "POST", "/login", CREDENTIALS, 200, "answer.status === 'signed_in'", "answer.token_type === 'Bearer'")


def _step(
    name: str, method: str, path: str, body: Any, status: int, *checks: str, bearer: str | None = None, before: str | None = None
) -> Item:
    auth = {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{bearer}}}}}", "type": "string"}]}
    request: Item = {
        "method": method,
        "header": [{"key": "Content-Type", "value": "application/json"}] if body is not None else [],
        "url": {"raw": "{{base_url}}" + path, "host": ["{{base_url}}"], "path": path.strip("/").split("/")},
        "auth": auth if bearer else {"type": "noauth"},
    }
    if body is not None:
        request["body"] = {"mode": "raw", "raw": json.dumps(body, indent=2), "options": {"raw": {"language": "json"}}}
    first = [scripts.event("prerequest", before)] if before else []
    return {"name": name, "request": request, "event": [*first, scripts.event("test", scripts.expected(status, *checks))]}
