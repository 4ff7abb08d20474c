"""A line of the log is one line in either format, whatever the event holds."""

import json
import logging
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from urllib.parse import quote

import pytest

ODD = ("\r\n", "\x00", "\x1b[2J", "\x7f", "\x85", "\x9b2J", "\u2028", "\u202e", '"}', "\\n")


@pytest.fixture
def lines(house, settings):
    """What was logged since the test began."""
    logging.getLogger("gatehouse").warning("The test begins")
    log = settings["INSTANCE_DIR"] / "app.log"
    return lambda: log.read_text().removesuffix("\n").split("\n")


@pytest.mark.parametrize("form", [pytest.param(name, marks=pytest.mark.settings(LOG_FORMAT=name)) for name in ("text", "json")])
def test_an_event_is_one_line_that_steers_nothing(house, lines, form):
    before = len(lines())
    for odd in ODD:
        house.get(f"/{quote(odd, errors='surrogatepass')}/x")
        logging.getLogger("gatehouse").warning("what %s somebody said", odd)
    written = lines()[before:]
    assert len(written) == 2 * len(ODD)
    assert [line for line in written if not line.isprintable()] == []


@pytest.mark.parametrize("form", [pytest.param(name, marks=pytest.mark.settings(LOG_FORMAT=name)) for name in ("text", "json")])
def test_half_a_character_is_written_as_an_escape(house, form):
    formatter = next(one.formatter for one in logging.getLogger().handlers if isinstance(one, WatchedFileHandler))
    line = formatter.format(logging.makeLogRecord({"msg": "what \udc80 somebody said", "levelname": "INFO"}))
    assert line.isprintable()
    assert "\\udc80" in line


@pytest.mark.settings(LOG_FORMAT="json")
def test_a_line_of_json_says_what_happened(house, lines):
    answer = house.get("/nowhere?password=secret")
    said = json.loads(lines()[-1])
    assert datetime.fromisoformat(said["at"]).tzinfo == UTC
    assert said["request_id"] == answer.headers["X-Request-ID"]
    assert (said["method"], said["path"], said["status"], said["caller"]) == ("GET", "/nowhere", 404, None)


def test_a_failure_with_its_traceback_is_one_line(house, lines):
    before = len(lines())
    logging.getLogger("gatehouse").error("it failed", exc_info=ValueError("first\nsecond"))
    (line,) = lines()[before:]
    assert "it failed" in line
    assert "second" in line


def test_the_servers_own_complaint_does_not_quote_the_request(house, lines):
    logging.getLogger("gunicorn.error").warning("Invalid request from ip=1.2.3.4: Invalid HTTP request line: 'GET /confirm/secret'")
    assert lines()[-1].endswith("Invalid request from ip=1.2.3.4")
