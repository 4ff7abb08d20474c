"""Threat 8 while no mail leaves, with the jobs in the same processes: answers are as ever, and as soon (CVE-2024-45231)."""

import socket
from contextlib import contextmanager

import pytest
from sqlalchemy import or_

from model import Mail
from tests.attacks.acts import count
from tests.attacks.strangers import FLOWS, everybody, told
from tests.conftest import serving
from tests.serving import eventually, free_port
from tests.visitor import Visitor

ANSWERED = 30  # Seconds that an answer may take; the mail server is waited for longer.


@contextmanager
def refusing():
    """A port that nobody listens on."""
    yield free_port()


@contextmanager
def silent():
    """A mail server that lets everybody in and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module", params=[refusing, silent], ids=["refusing", "silent"])
def server(request, tmp_path_factory):
    """A server whose mail server is of no use."""
    with request.param() as port:
        settings = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port, "MAIL_USE_TLS": False, "MAIL_TIMEOUT": ANSWERED * 2}
        with serving(tmp_path_factory.mktemp("server"), settings, jobs=True) as running:
            yield Visitor(lambda *what, **more: running._send(*what, timeout=ANSWERED, **more), running.mailbox)


def test_no_flow_tells_anything_while_no_mail_leaves(server, email):
    whos = everybody(server, email)
    for name, flow in FLOWS.items():
        assert told(whos, lambda who: flow.act(server, who)) == (flow.status, flow.code), name  # noqa: B023
    eventually(lambda: count(Mail, or_(Mail.tries > 0, Mail.claimed_until.is_not(None))))  # The server's jobs have tried to send some.
    assert count(Mail, Mail.state == "sent") == 0
    told(whos, lambda who: server.post("/forgot-password", {"email": who.email}))
