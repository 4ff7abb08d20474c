"""Writing into the outbox: in the act's transaction, encrypted, capped, and withdrawable."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text, update

import config
import model
from domain import clock, database, mail, secrets
from domain.database import reading, transaction

TO = "jo@example.com"
TOKEN = "tOkEn-9f8e7d6c5b4a-secret"
ORIGIN = {"at": "2026-11-03T14:05:11+00:00", "ip": "203.0.113.7", "user_agent": "Firefox/130.0"}
CONFIRMATION = {"link": f"https://auth.example/confirm/{TOKEN}", "code": "042137", "minutes": "10", "hours": "24"}
RESET = {"link": f"https://auth.example/reset-password/{TOKEN}", "minutes": "60"}


@pytest.fixture
def house(tmp_path, still_clock):
    """A database of its own; the settings are loaded anew by `settings(...)`. No window of a cap ends meanwhile."""
    still_clock()

    def settings(**given):
        return config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, **given)

    database.connect(settings())
    model.Base.metadata.drop_all(database.engine)
    model.Base.metadata.create_all(database.engine)
    yield settings
    model.Base.metadata.drop_all(database.engine)
    database.disconnect()


def rows():
    with reading() as db:
        return db.scalars(select(model.Mail).order_by(model.Mail.created_at)).all()


def states():
    return sorted(row.state for row in rows())


def send_capped(to=TO, times=1, **terms):
    for _ in range(times):
        with transaction() as db:
            mail.send_capped(db, "reset", to, RESET, **terms)


def test_a_mail_is_there_only_if_the_act_is_committed(house):
    with suppress(RuntimeError), transaction() as db:
        mail.send(db, "reset", TO, RESET)
        raise RuntimeError
    assert rows() == []
    with transaction() as db:
        mail.send(db, "reset", TO, RESET)
    assert states() == ["queued"]
    assert mail.waiting() == 1


def test_no_secret_stands_readable_in_the_table(house):
    with transaction() as db:
        mail.send(db, "confirmation", TO, CONFIRMATION | ORIGIN)
    with database.engine.connect() as db:
        raw = repr(db.execute(text("SELECT * FROM mails")).mappings().all())
    assert TO in raw
    for secret in (TOKEN, "042137", "203.0.113.7"):
        assert secret not in raw
    assert TOKEN in secrets.decrypt(rows()[0].values_encrypted)


def test_a_time_may_be_given_as_a_time(house):
    with transaction() as db:
        mail.send(db, "password_changed", TO, {"at": datetime(2026, 11, 3, 14, 5, tzinfo=UTC)})
    assert "2026-11-03T14:05:00+00:00" in secrets.decrypt(rows()[0].values_encrypted)


def test_a_mail_may_be_told_to_wait(house):
    with transaction() as db:
        mail.send(db, "reset", TO, RESET, not_before_seconds=2)
    assert rows()[0].next_try_at - rows()[0].created_at == timedelta(seconds=2)


def test_a_withheld_mail_is_written_and_never_waits_to_leave(house):
    send_capped(withheld=True)
    assert states() == ["withheld"]
    assert mail.waiting() == 0


def test_over_the_cap_mails_are_silently_withheld(house):
    house(MAIL_LIMIT="3 per day")
    send_capped(times=5)
    assert states() == ["queued"] * 3 + ["withheld"] * 2


def test_the_cap_is_each_addresss_own(house):
    house(MAIL_LIMIT="1 per day")
    send_capped("jo@example.com")
    send_capped("al@example.com")
    assert states() == ["queued", "queued"]


def test_every_window_of_the_cap_counts(house):
    house(MAIL_LIMIT="3 per year; 2 per hour")
    send_capped(times=3)
    assert states() == ["queued", "queued", "withheld"]
    with transaction() as db:  # The hour is over, the year is not.
        db.execute(update(model.MailCount).where(model.MailCount.expires_at <= clock.now() + timedelta(hours=1)).values(key="past"))
    send_capped(times=2)
    assert states() == ["queued"] * 3 + ["withheld"] * 2


def test_a_withheld_mail_takes_nothing_from_the_cap(house):
    house(MAIL_LIMIT="2 per day")
    send_capped(times=5, withheld=True)
    send_capped(times=2)
    assert states() == ["queued"] * 2 + ["withheld"] * 5


def test_notices_to_the_owner_are_not_counted(house):
    house(MAIL_LIMIT="1 per day")
    for _ in range(3):
        with transaction() as db:
            mail.send(db, "password_changed", TO, ORIGIN)
    send_capped()
    assert states() == ["queued"] * 4


def test_queued_withheld_and_capped_mails_cost_the_same_statements(house):
    house(MAIL_LIMIT="2 per hour; 40 per day")
    seen = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))

    def statements(**terms):
        seen.clear()
        send_capped(**terms)
        return list(seen)

    first, second = statements(), statements()
    assert statements(withheld=True) == first
    assert statements(withheld=True) == second
    assert statements() == statements(withheld=True), "over the cap both find the hour full"
    assert states().count("queued") == 2


def test_at_once_no_more_mails_than_the_cap_are_queued(house):
    house(MAIL_LIMIT="5 per day")
    with_each_other = threading.Barrier(12)
    faults = []

    def stranger():
        with_each_other.wait()
        try:
            send_capped()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=stranger) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert states() == ["queued"] * 5 + ["withheld"] * 7


def test_withdrawing_takes_only_what_has_not_left(house):
    for about in ("one", "one", "two"):
        with transaction() as db:
            mail.send(db, "reset", TO, RESET, about=about)
    first = rows()[0]
    with transaction() as db:
        db.execute(update(model.Mail).where(model.Mail.id == first.id).values(claimed_until=clock.now() + timedelta(minutes=1)))
    with transaction() as db:
        assert mail.withdraw(db, "one") == 1
    assert [row.about for row in rows()] == ["one", "two"]
    with transaction() as db:
        assert mail.withdraw(db, "nothing") == 0


def test_a_withdrawn_mail_counts_as_never_sent(house):
    house(MAIL_LIMIT="3 per hour; 4 per day")
    for number in range(20):
        send_capped(about=str(number))
        with transaction() as db:
            mail.give_back(db, TO, mail.withdraw(db, str(number - 1)))
    assert states() == ["queued"]
    send_capped(times=3)
    assert states() == ["queued"] * 3 + ["withheld"]


def test_links_lead_to_the_server_or_to_the_front_end(house):
    house(BASE_URL="https://auth.example/")
    assert mail.link("/confirm/x") == "https://auth.example/confirm/x"
    house(BASE_URL="https://auth.example", FRONTEND_URL="https://app.example", MAIL_LINKS="frontend")
    assert mail.link("/confirm/x") == "https://app.example/confirm/x"


def test_purging_leaves_what_is_young_or_still_to_be_sent(house):
    ages = {"sent": 5, "withheld": 5, "dead": 5, "queued": 5}
    send_capped(times=8)
    for row, (state, days) in zip(rows(), [*ages.items(), *((state, 1) for state in ages)], strict=True):
        with transaction() as db:
            at = clock.now() - timedelta(days=days)
            db.execute(update(model.Mail).where(model.Mail.id == row.id).values(state=state, created_at=at, next_try_at=at))
            db.execute(update(model.MailCount).values(expires_at=at))
    before = clock.now() - timedelta(days=3)
    assert mail.purge(before, dry_run=True) == 5
    assert len(rows()) == 8
    assert mail.purge(before) == 5
    assert states() == ["dead", "queued", "queued", "sent", "withheld"]
    assert mail.purge(before) == 0
