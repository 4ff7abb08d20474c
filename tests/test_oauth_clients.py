"""Clients that others wrote: openid-client finds everything by RFC 8414, and jose checks tokens by the JWKS through a rotation."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from sqlalchemy import update

from domain import clock, signing
from domain.database import transaction
from model import SigningKey
from tests.conftest import serving
from tests.services import give, service
from tests.serving import at_once

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and (HERE / "node_modules" / "openid-client").exists()),
    reason="needs Node, and `npm install --no-package-lock` in tests/",
)


@pytest.fixture(scope="module", params=["ES256", "EdDSA"])
def server(request, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), {"JWT_ALGORITHM": request.param}) as running:
        signing.forget()
        yield running
        signing.forget()


@pytest.mark.parametrize("auth", ["basic", "post"])
def test_a_client_that_knows_the_address_alone_gets_along(server, auth):
    notes = service(server, "notes:read", "notes:write")
    tokens = server.member()
    give(tokens["user"]["id"], notes.id, "editor", "notes:read")
    command = ["node", "oauth_client.mjs", server.base, notes.id, notes.token, auth, tokens["access_token"]]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    found = json.loads(ran.stdout)
    assert {name: found["grant"][name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "bearer",
        "expires_in": 600,
        "scope": "notes:read",
    }
    assert (found["own"]["active"], found["own"]["sub"], found["own"]["scope"]) == (True, notes.id, "notes:read")
    assert (found["before"]["active"], found["before"]["permissions"]) == (True, ["notes:read"])
    assert found["after"] == {"active": False}
    assert found["refused"] == {"error": "invalid_scope", "status": 400}
    assert server.get("/mfa", token=tokens["access_token"]).code == "token_revoked"


@contextmanager
def jose(server):
    """What jose says of a token, in one process that keeps the keys it was told."""
    with subprocess.Popen(
        ["node", "jwks_client.mjs", server.base], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def verdict(token):
            process.stdin.write(f"{token}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield verdict
        process.stdin.close()


def await_(what):
    """The first answer that is one, within a minute."""
    for _ in range(120):
        if answer := what():
            return answer
        time.sleep(0.5)
    raise AssertionError("It did not come to it.")


def kid_of(tokens):
    return jwt.get_unverified_header(tokens["access_token"])["kid"]


def test_jose_checks_tokens_before_and_after_a_rotation(server):
    before = server.member()
    with jose(server) as verdict:
        assert verdict(before["access_token"]) == {"sub": before["user"]["id"], "kid": kid_of(before)}
        new = signing.rotate()
        await_(lambda: all(new in str(one.json) for one in at_once(12, lambda _: server.get("/.well-known/jwks.json"))))
        with transaction() as db:  # As if it had been told long enough.
            db.execute(update(SigningKey).where(SigningKey.kid == new).values(created_at=clock.now() - timedelta(minutes=1)))
        email = f"{new[:8].lower().strip('-_')}@example.com"
        server.join(email)
        after = await_(lambda: next((one for one in (server.login(email).json,) if kid_of(one) == new), None))
        assert verdict(after["access_token"]) == {"sub": after["user"]["id"], "kid": new}
        assert verdict(before["access_token"])["sub"] == before["user"]["id"]
        header, payload, signature = after["access_token"].split(".")
        assert verdict(f"{header}.{payload}.{signature[:-4]}AAAA") == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
        assert verdict(f"{before['access_token'].split('.')[0]}.{payload}.{signature}")["error"]
