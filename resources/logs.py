"""One line per request: id, caller, status, duration. It holds no secret: paths are shown by their rule, without query."""

import json
import logging
import re
import time
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

from flask import Flask, Response, g, request

import config

LONG = re.compile(r"[^/]{17,}")  # In an unknown path whatever is long enough to be a token is masked.
logger = logging.getLogger("gatehouse.requests")


class _Line(logging.Formatter):
    """An event is one line, whatever it holds: control characters are written as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts = getattr(record, "facts", {})
        message = record.getMessage() + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")
        if config.settings.LOG_FORMAT == "json":
            return json.dumps({"at": at, "level": record.levelname, "logger": record.name, "message": message, **facts})
        words = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        return f"{at} {record.levelname} {record.name}: {_one_line(message)} {_one_line(words)}".rstrip()


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def register(app: Flask) -> None:
    """Log every request of this app, to the console and to LOG_FILE."""
    set_up()
    app.before_request(_begin)
    app.after_request(_finish)


def set_up() -> None:
    """Send what Gatehouse says to the console and to LOG_FILE."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, _Line)]:
        root.removeHandler(handler)
        handler.close()
    assert config.settings.LOG_FILE is not None
    for handler in (logging.StreamHandler(), WatchedFileHandler(config.settings.LOG_FILE, delay=True)):
        handler.setFormatter(_Line())
        root.addHandler(handler)
    root.setLevel(config.settings.LOG_LEVEL)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # Its own request lines show paths with tokens.
    logging.getLogger("alembic").setLevel(logging.WARNING)


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
        "caller": caller.user_id if caller else None,
    }
    logger.info("request", extra={"facts": facts})
    return response
