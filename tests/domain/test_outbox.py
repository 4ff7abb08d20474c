"""Delivery: at least once, never twice at a time, ever more slowly, and no letter in another's way. The server is a real one."""

import asyncio
import email
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select, text, update

import config
import model
from domain import clock, database, mail, outbox
from domain.database import reading, transaction
from tests.serving import PATIENCE, free_port

HERE = Path(__file__).resolve().parents[2]
TOKEN = "tOkEn-9f8e7d6c5b4a-secret"
VALUES = {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"}


class Server(Controller):
    """A real server on a port that the system chooses; it keeps what it gets and answers an address as it is told."""

    def __init__(self, port=0):
        self.got, self.ids, self.answers = [], [], {}
        self.reached, self.go_on = threading.Event(), threading.Event()
        super().__init__(self, hostname="127.0.0.1", port=port)

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        (to,) = envelope.rcpt_tos
        self.ids.append(email.message_from_bytes(envelope.content)["Message-ID"])
        answer = self.answers.get(to, "250 OK")
        if answer == "wait":
            self.reached.set()
            await asyncio.to_thread(self.go_on.wait)
        elif answer == "hang up":
            server.transport.abort()
        elif answer == "250 OK":
            self.got.append(to)
        return answer


@pytest.fixture
def server():
    server = Server()
    server.start()
    yield server
    server.stop()


class Gateway(ThreadingHTTPServer):
    """A gateway for text messages; it keeps to whom they went and answers with `status`."""

    def __init__(self):
        self.got, self.status = [], 201
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                gateway.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["to"])
                self.send_response(gateway.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def gateway():
    gateway = Gateway()
    thread = threading.Thread(target=gateway.serve_forever, args=(0.05,))
    thread.start()
    yield gateway
    gateway.shutdown()
    thread.join()
    gateway.server_close()


def by_sms(port):
    return {"SMS_PROVIDER": "http", "SMS_URL": f"http://127.0.0.1:{port}/", "SMS_TIMEOUT": 2}


def queue_texts(*numbers):
    for number in numbers:
        with transaction() as db:
            mail.send(db, "code_sms", number, {"code": "042137", "minutes": "10", "purpose": "enrol_sms"}, channel=mail.SMS)


@pytest.fixture
def house(tmp_path, server):
    """A database of its own, and settings that lead to the server; loaded anew by `house(...)`."""

    def settings(**given):
        given = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": server.port, "MAIL_USE_TLS": False, "MAIL_TIMEOUT": 5} | given
        return config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, **given)

    database.connect(settings())
    model.Base.metadata.drop_all(database.engine)
    model.Base.metadata.create_all(database.engine)
    yield settings
    model.Base.metadata.drop_all(database.engine)
    database.disconnect()


def queue(*addresses, **terms):
    for address in addresses:
        with transaction() as db:
            mail.send(db, "reset", address, VALUES, **terms)


def rows():
    with reading() as db:
        return db.scalars(select(model.Mail).order_by(model.Mail.created_at)).all()


def change(**values):
    with transaction() as db:
        db.execute(update(model.Mail).values(**values))


def waits():
    """In how many seconds each letter is tried again."""
    return [round((row.next_try_at - clock.now()).total_seconds()) for row in rows()]


def test_letters_leave_in_their_order_and_what_they_said_is_wiped(house, server):
    queue("a@example.com", "b@example.com", "c@example.com")
    assert outbox.deliver() == 3
    assert server.got == ["a@example.com", "b@example.com", "c@example.com"]
    assert mail.waiting() == 0
    for row in rows():
        assert (row.state, row.values_encrypted, row.claimed_until, row.last_error) == ("sent", None, None, None)
        assert row.sent_at
    assert outbox.deliver() == 0
    assert len(server.got) == 3


def test_more_letters_than_one_batch_leave_in_one_run(house, server, monkeypatch):
    monkeypatch.setattr(outbox, "BATCH", 3)
    queue(*(f"{number}@example.com" for number in range(8)))
    assert outbox.deliver() == 8
    assert len(server.got) == 8


def test_withheld_and_waiting_letters_do_not_leave(house, server, still_clock):
    still_clock()
    queue("a@example.com", withheld=True)
    queue("b@example.com", not_before_seconds=5)
    assert outbox.deliver() == 0
    assert outbox.deliver(now=True) == 1
    assert server.got == ["b@example.com"]


@pytest.mark.parametrize("answer", ["550 no such user a@example.com", "451 later a@example.com", "hang up"])
def test_one_bad_letter_does_not_block_the_others(house, server, still_clock, answer):
    server.answers["a@example.com"] = answer
    queue("a@example.com", "b@example.com", "c@example.com")
    still_clock()
    assert outbox.deliver() == 2
    bad, *others = rows()
    assert [row.state for row in others] == ["sent", "sent"]
    assert (bad.state, bad.tries, bad.claimed_until) == ("queued", 1, None)
    assert bad.last_error
    assert "example.com" not in bad.last_error
    assert waits()[0] in (9, 10)


def test_a_letter_that_can_not_be_read_does_not_block_the_others(house, server):
    queue("a@example.com")
    change(values_encrypted=b"broken")
    queue("b@example.com")
    change_template = update(model.Mail).where(model.Mail.to == "b@example.com").values(template="no-such-template")
    with transaction() as db:
        db.execute(change_template)
    queue("c@example.com")
    assert outbox.deliver() == 1
    assert [row.last_error for row in rows()] == ["it can't be rendered (InvalidToken)", "it can't be rendered (TemplateNotFound)", None]


def test_a_refused_letter_is_tried_ever_more_slowly_and_given_up_after_three_days(house, server, still_clock):
    server.answers["a@example.com"] = "550 no"
    queue("a@example.com")
    still_clock()
    change(expires_at=None)  # As a notice, which is of use whenever it comes.
    seen = []
    for _ in range(14):
        outbox.deliver()
        seen += waits()
        change(next_try_at=clock.now())
    assert seen[:5] == pytest.approx([10, 30, 60, 120, 240], abs=1)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(4 * 3600, abs=1)
    change(created_at=clock.now() - timedelta(days=3) + timedelta(minutes=30))
    outbox.deliver()
    assert waits() == pytest.approx([1800], abs=1), "the last try is at the end of the three days"
    change(created_at=clock.now() - timedelta(days=3), next_try_at=clock.now())
    outbox.deliver()
    (row,) = rows()
    assert (row.state, row.tries, row.values_encrypted, row.last_error) == ("dead", 16, None, "refused (550)")
    assert outbox.deliver(now=True) == 0
    assert len(server.ids) == 16
    assert len(set(server.ids)) == 1, "one letter keeps its Message-ID"


def test_by_hand_the_waiting_ones_are_tried_at_once_and_once_each(house, server, monkeypatch):
    monkeypatch.setattr(outbox, "BATCH", 2)
    addresses = [f"{number}@example.com" for number in range(5)]
    server.answers = dict.fromkeys(addresses, "451 later")
    queue(*addresses)
    assert outbox.deliver() == 0
    assert outbox.deliver() == 0
    assert len(server.ids) == 5
    assert outbox.deliver(now=True) == 0
    assert len(server.ids) == 10
    server.answers = {}
    assert outbox.deliver(now=True) == 5


def test_a_server_that_is_down_loses_nothing_and_is_asked_once_a_run(house, server, still_clock):
    queue("a@example.com", "b@example.com", "c@example.com")
    still_clock()
    house(MAIL_PORT=free_port())
    assert outbox.deliver() == 0
    assert [row.tries for row in rows()] == [1, 0, 0]
    assert [row.last_error for row in rows()] == ["connection refused", None, None]
    assert [row.claimed_until for row in rows()] == [None] * 3
    assert waits() == pytest.approx([10, 10, 10], abs=1)
    assert outbox.deliver() == 0, "nobody is due"
    assert outbox.deliver(now=True) == 0
    assert [row.tries for row in rows()] == [2, 0, 0]
    change(next_try_at=clock.now() - timedelta(seconds=1))
    house()
    assert outbox.deliver() == 3
    assert mail.waiting() == 0


def test_while_the_server_is_down_every_letter_probes_in_its_turn(house):
    queue("a@example.com", "b@example.com")
    house(MAIL_PORT=free_port())
    outbox.deliver()
    with transaction() as db:  # Ten seconds later; the first, once it has failed twice, waits thirty.
        db.execute(update(model.Mail).where(model.Mail.to == "b@example.com").values(next_try_at=clock.now()))
    outbox.deliver()
    assert [row.tries for row in rows()] == [1, 1]


def test_a_silent_server_holds_up_one_letter_and_ends_the_run(house):
    queue("a@example.com", "b@example.com")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        house(MAIL_PORT=silent.getsockname()[1], MAIL_TIMEOUT=1)
        assert outbox.deliver() == 0
    assert [row.last_error for row in rows()] == ["no answer in time", None]


def test_letters_that_kill_the_connection_do_not_starve_the_others(house, server):
    bad = [f"{number}@bad.example" for number in range(4)]
    server.answers = dict.fromkeys(bad, "hang up")
    queue(*bad, "good@example.com")
    for _ in range(2):
        outbox.deliver()
        with transaction() as db:
            db.execute(update(model.Mail).where(model.Mail.tries == 0).values(next_try_at=clock.now()))
    assert server.got == ["good@example.com"]
    assert [row.tries for row in rows()] == [1, 1, 1, 1, 0]


def test_two_deliverers_at_once_send_each_letter_once(house, server, monkeypatch):
    monkeypatch.setattr(outbox, "BATCH", 4)
    addresses = [f"{number}@example.com" for number in range(20)]
    queue(*addresses)
    together, sent = threading.Barrier(3), []

    def deliverer():
        together.wait()
        sent.append(outbox.deliver())

    threads = [threading.Thread(target=deliverer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 3
    assert sum(sent) == 20
    assert sorted(server.got) == sorted(addresses)


def test_a_claimed_letter_is_left_alone_until_the_claim_runs_out(house, server, still_clock):
    queue("a@example.com")
    still_clock()
    change(claimed_until=clock.now() + timedelta(seconds=1))
    assert outbox.deliver(now=True) == 0
    change(claimed_until=clock.now() - timedelta(microseconds=1))
    assert outbox.deliver() == 1


def test_a_withdrawn_letter_does_not_leave(house, server):
    queue("a@example.com", about="attempt")
    with transaction() as db:
        mail.withdraw(db, "attempt")
    assert outbox.deliver(now=True) == 0
    assert server.ids == []


DELIVERER = """
import os, pathlib, config
from domain import database, outbox
config.load(APP_ENV="testing", INSTANCE_DIR=pathlib.Path(os.environ["HOUSE"]))
database.connect(config.settings)
outbox.deliver()
"""


def test_a_letter_whose_deliverer_was_killed_goes_again(house, server, tmp_path):
    queue("a@example.com")
    server.answers["a@example.com"] = "wait"
    settings = {"HOUSE": str(tmp_path), "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.port), "MAIL_USE_TLS": "false"}
    with subprocess.Popen([sys.executable, "-c", DELIVERER], env=os.environ | settings, cwd=HERE) as deliverer:
        assert server.reached.wait(PATIENCE)
        deliverer.send_signal(signal.SIGKILL)
    server.go_on.set()
    server.answers = {}
    assert outbox.deliver(now=True) == 0, "its claim outlives it"
    (row,) = rows()
    assert timedelta() < row.claimed_until - clock.now() <= timedelta(seconds=80)
    change(claimed_until=clock.now() - timedelta(seconds=1))
    assert outbox.deliver() == 1
    assert server.got == ["a@example.com"]
    assert server.ids[0] == server.ids[1], "so that a mailbox that got both can tell"


def test_without_a_server_letters_become_files(house, tmp_path, caplog):
    caplog.set_level("INFO")
    house(MAIL_SERVER="")
    queue("a@example.com", "b@example.com")
    assert outbox.deliver() == 2
    files = sorted((tmp_path / "outbox").iterdir())
    assert [email.message_from_bytes(file.read_bytes())["To"] for file in files] == ["a@example.com", "b@example.com"]
    assert VALUES["link"] in files[0].read_text()
    assert files[0].name in caplog.text
    assert TOKEN not in caplog.text


def test_a_folder_that_can_not_be_written_loses_nothing(house, tmp_path):
    house(MAIL_SERVER="")
    (tmp_path / "outbox").write_text("in the way")
    queue("a@example.com", "b@example.com")
    assert outbox.deliver() == 0
    assert [row.state for row in rows()] == ["queued", "queued"]
    (tmp_path / "outbox").unlink()
    assert outbox.deliver(now=True) == 2


def test_no_secret_and_no_address_is_logged_or_left_in_the_table(house, server, caplog):
    caplog.set_level("DEBUG", "domain.outbox")
    server.answers["a@example.com"] = f"550 never {TOKEN} a@example.com"
    queue("a@example.com", "b@example.com")
    outbox.deliver()
    change(created_at=clock.now() - timedelta(days=4), next_try_at=clock.now())
    outbox.deliver()
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("domain", "outbound")))
    assert "did not leave" in ours
    assert "is given up" in ours
    assert "example.com" not in ours
    with database.engine.connect() as db:
        raw = repr(db.execute(text("SELECT * FROM mails")).mappings().all())
    for logged in (raw, ours):
        assert TOKEN not in logged


# Text messages, and what is of no use after its end.


def test_each_channel_takes_its_own(house, server, gateway):
    house(**by_sms(gateway.server_port))
    queue("a@example.com")
    queue_texts("+436641234567")
    assert (mail.waiting(), mail.waiting(mail.SMS)) == (1, 1)
    assert outbox.deliver(outbox.SMS) == 1
    assert (gateway.got, server.got) == (["+436641234567"], [])
    assert outbox.deliver() == 1
    assert (gateway.got, server.got) == (["+436641234567"], ["a@example.com"])
    assert {(row.state, row.values_encrypted) for row in rows()} == {("sent", None)}


def test_a_channel_that_is_down_holds_up_no_other(house, server, gateway):
    house(**by_sms(free_port()))
    queue_texts("+436641234567", "+436641234568")
    queue("a@example.com")
    assert outbox.deliver(outbox.SMS) == 0
    assert [row.tries for row in rows()] == [1, 0, 0]
    assert outbox.deliver() == 1
    house(**by_sms(gateway.server_port), MAIL_PORT=free_port())
    queue("b@example.com")
    assert outbox.deliver() == 0
    assert outbox.deliver(outbox.SMS, now=True) == 2


def test_a_refused_message_is_given_up_at_once(house, gateway):
    house(**by_sms(gateway.server_port))
    gateway.status = 400
    queue_texts("+436641234567", "+436641234568")
    assert outbox.deliver(outbox.SMS) == 0
    assert [(row.state, row.tries, row.values_encrypted, row.last_error) for row in rows()] == [("dead", 1, None, "refused (400)")] * 2
    assert outbox.deliver(outbox.SMS, now=True) == 0
    assert len(gateway.got) == 2


def test_a_message_that_is_put_off_is_tried_again_within_its_life(house, gateway, still_clock):
    house(**by_sms(gateway.server_port))
    gateway.status = 503
    queue_texts("+436641234567")
    still_clock()
    assert outbox.deliver(outbox.SMS) == 0
    assert waits() == pytest.approx([10], abs=1)
    change(expires_at=clock.now() + timedelta(seconds=20), tries=5)
    outbox.deliver(outbox.SMS, now=True)
    assert waits() == pytest.approx([20], abs=1), "the wait would be longer, but then it is over"
    gateway.status = 201
    change(expires_at=clock.now(), next_try_at=clock.now())
    assert outbox.deliver(outbox.SMS) == 0
    (row,) = rows()
    assert (row.state, row.values_encrypted, row.last_error) == ("dead", None, "it would come too late")
    assert len(gateway.got) == 2


@pytest.mark.parametrize(("template", "setting"), mail.LASTING.items())
def test_what_is_of_no_use_after_its_end_does_not_leave(house, server, moved_clock, template, setting):
    with transaction() as db:
        mail.send(db, template, "a@example.com", VALUES | {"code": "042137", "purpose": "sign_in", "hours": "24"})
    (row,) = rows()
    assert row.expires_at - row.created_at == timedelta(seconds=getattr(config.settings, setting))
    moved_clock(getattr(config.settings, setting) + 1)
    assert outbox.deliver() == 0
    assert (rows()[0].state, server.ids) == ("dead", [])


def test_a_notice_is_of_use_whenever_it_comes(house, server, moved_clock):
    with transaction() as db:
        mail.send(db, "password_changed", "a@example.com", {"not_me": "https://auth.example/not-me/x"})
    assert rows()[0].expires_at is None
    moved_clock(2 * 86400)
    assert outbox.deliver() == 1


def test_two_deliverers_at_once_send_each_message_once(house, gateway):
    house(**by_sms(gateway.server_port))
    numbers = [f"+4366412345{number}" for number in range(10, 30)]
    queue_texts(*numbers)
    threads = [threading.Thread(target=outbox.deliver, args=(outbox.SMS,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(gateway.got) == numbers
