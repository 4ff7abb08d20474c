"""Notes, a service that asks Gatehouse about every request (RFC 7662): a right that is taken away is gone at once."""

import os
from typing import Any

import requests
from flask import Flask, abort, request

GATEHOUSE = os.environ["GATEHOUSE_URL"]
CLIENT = (os.environ["SERVICE_ID"], os.environ["APP_TOKEN"])

app = Flask(__name__)


def require(permission: str) -> dict[str, Any]:
    """Who calls, if they have this permission of ours."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        abort(401)
    answer = requests.post(f"{GATEHOUSE}/oauth/introspect", data={"token": token}, auth=CLIENT, timeout=5)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    if not found["active"]:
        abort(401)
    if permission not in found["permissions"]:
        abort(403)
    return found


@app.get("/notes")
def notes() -> dict[str, Any]:
    """The notes of who calls."""
    caller = require("notes:read")
    return {"notes_of": caller["sub"], "notes": []}
