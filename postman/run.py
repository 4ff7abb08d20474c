"""`python -m postman.run`: every request of the collection, by newman, against a real server of its own; its exit status."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from postman.collection import COLLECTION, ENVIRONMENT, HERE
from tests.serving import Server

NEWMAN = "newman@6.2.2"
BINARY = HERE / "node_modules" / "newman" / "bin" / "newman.js"
METRICS_TOKEN = "a-token-for-prometheus"  # noqa: S105 - Of a server that lives for a minute.


def main() -> int:
    """Run it all; 0 if every request was answered, and as it should be."""
    if not BINARY.exists():
        subprocess.run(["npm", "install", "--no-save", "--no-package-lock", "--silent", "--prefix", HERE, NEWMAN], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _server(folder) as server, _mailbox(server) as mailbox:
            return _newman(server, mailbox, folder / "report.json")


def _server(folder: Path) -> Server:
    uri = f"sqlite:///{folder / 'gatehouse.db'}"
    places = {"INSTANCE_DIR": folder / "instance", "UPLOADS_DIR": folder / "uploads", "SQLALCHEMY_DATABASE_URI": uri}
    return Server({**places, "APP_ENV": "testing", "RATE_LIMIT_ENABLED": False, "METRICS_TOKEN": METRICS_TOKEN})


def _newman(server: Server, mailbox: str, report: Path) -> int:
    given = {"base_url": server.base, "mailbox_url": mailbox, "metrics_token": METRICS_TOKEN}
    variables = [word for name, value in given.items() for word in ("--env-var", f"{name}={value}")]
    reporters = ["--color", "off", "--reporters", "cli,json", "--reporter-cli-no-success-assertions", "--reporter-json-export"]
    places = map(str, (BINARY, "run", COLLECTION, "--environment", ENVIRONMENT, "--working-dir", HERE))
    command = ["node", *places, *variables, *reporters, str(report)]
    status = subprocess.run(command, check=False).returncode
    sent = json.loads(report.read_text())["run"]["executions"]
    unanswered = [one["item"]["name"] for one in sent if "response" not in one]
    if unanswered:
        print("not answered:", *unanswered, sep="\n  ", file=sys.stderr)
    return status or bool(unanswered)


@contextmanager
def _mailbox(server: Server) -> Iterator[str]:
    """An address on loopback that tells the code in the last mail to `?to=`."""

    class Reader(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            to = parse_qs(urlsplit(self.path).query)["to"][0]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"code": server.mailbox.last(to).code}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - As http.server has it.
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Reader) as reader:
        threading.Thread(target=reader.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{reader.server_port}/"
        reader.shutdown()


if __name__ == "__main__":
    sys.exit(main())
