"""A range service of breached passwords on loopback: what it was asked, and what it answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OTHERS = "0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n00D4F6E8FA6EECAD2A3AA415EEC418D38EC:2\r\n"


class Service:
    """What the service was asked, and what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.status, self.body, self.pause = 200, OTHERS, 0.0


@contextmanager
def serving() -> Iterator[Service]:
    """The service, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.requestline, dict(self.headers)))
            self.send_response(told.status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            try:
                for start in range(0, len(told.body), 20_000):
                    time.sleep(told.pause)
                    self.wfile.write(told.body[start : start + 20_000].encode())
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = Service(f"http://127.0.0.1:{server.server_port}/range/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield told
        server.shutdown()
        thread.join()
