"""What Gatehouse says goes to the console (stderr) and to LOG_FILE, one line an event, as text or JSON."""

import json
import logging
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any

import orjson

import config


class _Line(logging.Formatter):
    """An event is one line, whatever it holds: control characters are written as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, made once for all handlers."""
        line: str | None = record.__dict__.get("line")
        if line is None:
            line = record.__dict__["line"] = self._line(record)
        return line

    def _line(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts = getattr(record, "facts", {})
        message = record.getMessage() + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")
        if config.settings.LOG_FORMAT == "json":
            return _json({"at": at, "level": record.levelname, "logger": record.name, "message": message, **facts})
        words = " ".join(f"{name}={str(value).replace(' ', '%20')}" for name, value in facts.items() if value is not None)
        return f"{at} {record.levelname} {record.name}: {_one_line(message)} {_one_line(words)}".rstrip()


def set_up() -> None:
    """Say everything from now on as the settings want it; again is fine."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, _Line)]:
        root.removeHandler(handler)
        handler.close()
    assert config.settings.LOG_FILE is not None
    for handler in (logging.StreamHandler(), WatchedFileHandler(config.settings.LOG_FILE, delay=True)):
        handler.setFormatter(_Line())
        root.addHandler(handler)
    root.setLevel(config.settings.LOG_LEVEL)
    logging.logThreads = logging.logMultiprocessing = False  # No line shows them; gunicorn's own lines do show the process.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # Its own request lines show paths with tokens.
    logging.getLogger("gunicorn.error").addFilter(_without_the_request)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # It has a line for every run, and for every run left out.


def _json(event: dict[str, Any]) -> str:
    """An event in printable characters: orjson, which is faster, lets U+2028 stand and refuses half of a surrogate pair."""
    try:
        line = orjson.dumps(event).decode()
    except TypeError:
        line = "\0"
    return line if line.isprintable() else json.dumps(event)


def _without_the_request(record: logging.LogRecord) -> bool:
    """Gunicorn quotes a request that it can't read, with the token in its path; from whom it came is enough."""
    if str(record.msg).startswith("Invalid request from ip="):
        record.msg = str(record.msg).split(": ", 1)[0]
    return True


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
