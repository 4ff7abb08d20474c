"""One line per request: id, caller, status, duration. It holds no secret: paths are shown by their rule, without query."""

import logging
import re
import time

from flask import Flask, Response, g, request

from domain import logs

LONG = re.compile(r"[^/]{17,}")  # In an unknown path whatever is long enough to be a token is masked.
logger = logging.getLogger("gatehouse.requests")


def register(app: Flask) -> None:
    """Log every request of this app, to the console and to LOG_FILE."""
    logs.set_up()
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    g.began = time.perf_counter()


def _finish(response: Response) -> Response:
    caller = g.get("caller")
    facts = {
        "request_id": g.get("request_id"),
        "method": request.method,
        "path": request.url_rule.rule if request.url_rule else LONG.sub("…", request.path)[:200],
        "status": response.status_code,
        "ms": round((time.perf_counter() - g.get("began", time.perf_counter())) * 1000, 1),
        "ip": request.remote_addr,
        "caller": caller.actor if caller else None,
        "credential": caller.credential_id if caller else None,
        "code": g.get("code"),
    }
    logger.info("request", extra={"facts": facts})
    return response
