"""What looks like an attack is raised once in a window, as an event, a metric and a mail, and ends sessions where it shall."""

from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

import config
from domain import accounts, alerts, audit, database, expired, languages, letters, metrics, sessions
from domain.actions import ACTIONS
from domain.caller import Client
from domain.database import reading, transaction
from model import Alert, AuditEvent, Base, Mail
from model import Session as SignIn
from tests import databases

HOUR = 3600


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        metrics.connect(config.settings)
        yield


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


def failed(user_id, ip, action="sign_in", result="invalid_credentials", name=None):
    audit.note_alone(action, user_id, Client(ip), result=result, name=name)


def signed_in(user_id, country, ago=0):
    """A sign-in from a country, so many seconds ago."""
    with transaction() as db:
        audit.note(db, "sign_in", user_id, Client("203.0.113.7"), actor=user_id)
        newest = db.scalar(select(AuditEvent).where(AuditEvent.action == "sign_in").order_by(AuditEvent.at.desc()).limit(1))
        newest.country, newest.at = country, newest.at - timedelta(seconds=ago)


def raised():
    with reading() as db:
        found = db.scalars(select(AuditEvent).where(AuditEvent.action.like("alert.%")).order_by(AuditEvent.at)).all()
    return [(one.action.removeprefix("alert."), one.user_id, one.ip) for one in found]


def counted(rule):
    lines = [line for line in metrics.text(lambda: 0).splitlines() if line.startswith(f'gatehouse_alerts_total{{rule="{rule}"}}')]
    return float(lines[0].split()[1]) if lines else 0


def test_quiet_days_raise_nothing():
    signed_in("a", "AT")
    failed("a", "203.0.113.7")
    assert alerts.watch() == 0
    assert raised() == []


def test_one_address_that_fails_at_many_accounts():
    for number in range(5):
        failed(f"u{number}", "203.0.113.7")
        failed(None, "203.0.113.7", name=f"nobody{number}@example.com")
        failed(f"v{number}", "203.0.113.8")
    assert alerts.watch(dry_run=True) == 1
    assert raised() == []
    assert alerts.watch() == 1
    assert raised() == [("many_accounts", None, "203.0.113.7")]


def test_one_account_many_times_is_not_many_accounts():
    for _ in range(30):
        failed("u", "203.0.113.7")
    assert alerts.watch() == 0


def test_addresses_of_one_ipv6_network_are_one():
    for number in range(10):
        failed(f"u{number}", f"2001:db8:1:2::{number + 1:x}")
        failed("v", f"2001:db8:1:3::{number + 1:x}")
    assert alerts.watch() == 1
    assert raised() == [("many_accounts", None, "2001:db8:1:2::")]


GUESSES = [("sign_in", "invalid_credentials"), ("sign_in", "mfa_invalid_code"), ("sign_in.second_factor", "mfa_invalid_code")]


@pytest.mark.parametrize(("action", "result"), GUESSES)
def test_many_addresses_that_fail_at_one_account(action, result):
    for number in range(10):
        failed("u", f"203.0.113.{number}", action, result)
    assert alerts.watch() == 1
    assert raised() == [("many_addresses", "u", None)]


def test_what_is_no_guess_is_no_failure():
    for number in range(20):
        failed("u", f"203.0.113.{number}", result="account_disabled")
        audit.note_alone("sign_in", "u", Client(f"198.51.100.{number}"), actor="u")
    assert alerts.watch() == 0


def test_failures_of_before_the_window_count_no_more(moved_clock):
    for number in range(9):
        failed("u", f"203.0.113.{number}")
    moved_clock(HOUR + 1)
    failed("u", "203.0.113.200")
    assert alerts.watch() == 0


def test_a_sign_in_from_a_country_that_is_new_to_the_account():
    signed_in("u", "AT", ago=86400)
    signed_in("u", "AT")
    assert alerts.watch() == 0
    signed_in("u", "DE")
    assert alerts.watch() == 1
    assert raised() == [("new_country", "u", None)]
    signed_in("u", "DE")
    assert alerts.watch() == 0
    signed_in("u", "FR")
    assert alerts.watch() == 1


def test_the_first_country_of_an_account_is_not_new():
    signed_in("u", None, ago=86400)
    signed_in("u", "AT")
    signed_in("v", "DE", ago=86400)
    assert alerts.watch() == 0


def test_a_country_is_not_new_a_second_time(moved_clock):
    signed_in("u", "AT", ago=86400)
    signed_in("u", "DE")
    assert alerts.watch() == 1
    moved_clock(2 * HOUR)
    signed_in("u", "DE")
    assert alerts.watch() == 0


def test_password_changes_in_quick_succession(moved_clock):
    for action in ("password.changed", "password.reset"):
        audit.note_alone(action, "u", actor="u")
    assert alerts.watch() == 0
    moved_clock(1800)
    audit.note_alone("password.changed", "u", actor="u")
    assert alerts.watch() == 1
    assert raised() == [("password_changes", "u", None)]


def test_an_alert_is_raised_once_in_a_window_and_again_when_it_goes_on(moved_clock):
    for minute in range(0, 119, 7):
        moved_clock(minute * 60)
        for number in range(10):
            failed("u", f"203.0.113.{number}")
        alerts.watch()
        alerts.watch()
    assert [rule for rule, *_ in raised()] == ["many_addresses"] * 2
    assert counted("many_addresses") == 2


def test_two_accounts_are_two_alerts():
    for number in range(10):
        failed("u", f"203.0.113.{number}")
        failed("v", f"203.0.113.{number}")
    assert alerts.watch() == 2
    assert {user for _, user, _ in raised()} == {"u", "v"}


def test_the_administrator_is_told_by_mail():
    settings(ADMIN_EMAIL="boss@example.com")
    user = accounts.create("jo@example.com")
    for number in range(10):
        failed(user.id, f"203.0.113.{number}")
        failed(f"u{number}", "198.51.100.1")
    assert alerts.watch() == 2
    assert alerts.watch() == 0
    with reading() as db:
        mails = db.scalars(select(Mail).where(Mail.to == "boss@example.com").order_by(Mail.created_at)).all()
    assert [one.template for one in mails] == ["alert", "alert"]


def test_without_an_address_of_the_administrator_there_is_no_mail():
    for number in range(10):
        failed("u", f"203.0.113.{number}")
    assert alerts.watch() == 1
    with reading() as db:
        assert db.scalar(select(func.count()).select_from(Mail)) == 0


def test_the_letter_says_what_and_about_whom():
    said = {"rule": "new_country", "account": "jo@example.com", "country": "DE", "ended": 2, "ip": "203.0.113.7"}
    letter = letters.render("alert", "boss@example.com", said)
    sentence = ACTIONS["alert.new_country"]
    assert letter.subject == f"Alert: {sentence[:-1]}"
    for body in (letter.text, letter.html):
        for word in (sentence, "jo@example.com", "DE", "203.0.113.7", "sessions were ended: 2."):
            assert word in body
    bare = letters.render("alert", "boss@example.com", {**dict.fromkeys(said), "rule": "new_country", "ended": 0})
    assert "ended" not in bare.text + bare.html


def test_every_rule_has_its_sentence_in_every_language():
    assert languages.words("en", None)["alerts"] == {one.name: ACTIONS[one.action] for one in alerts.RULES}
    assert set(languages.words("de", None)["alerts"]) == {one.name for one in alerts.RULES}


def live_session(user):
    with transaction() as db:
        return sessions.open(db, accounts.hold(db, user.id), ["pwd"], Client("203.0.113.7"), None).session.id


def open_sessions():
    with reading() as db:
        return set(db.scalars(select(SignIn.id).where(SignIn.ended_at.is_(None))))


@pytest.mark.parametrize(
    ("named", "ends"), [("many_addresses", True), ("new_country, many_addresses", True), ("new_country", False), ("", False)]
)
def test_a_rule_that_is_named_ends_the_sessions_of_the_account_alone(named, ends):
    settings(ALERTS_END_SESSIONS=named)
    user, other = accounts.create("jo@example.com"), accounts.create("other@example.com")
    mine, others = live_session(user), live_session(other)
    for number in range(10):
        failed(user.id, f"203.0.113.{number}")
    assert alerts.watch() == 1
    assert open_sessions() == ({others} if ends else {mine, others})
    with reading() as db:
        told = db.scalars(select(AuditEvent).where(AuditEvent.action == "alert.many_addresses")).one()
    assert told.facts == {"sessions_ended": int(ends)}


def test_the_rules_are_those_that_the_settings_know():
    about_accounts = {rule.name for rule in alerts.RULES} - {"many_accounts"}
    assert set(config.ACCOUNT_ALERTS) == about_accounts


def test_an_alert_of_long_ago_is_purged_and_a_fresh_one_holds(moved_clock):
    for number in range(10):
        failed("u", f"203.0.113.{number}")
    alerts.watch()
    expired.purge()
    assert alerts.watch() == 0
    assert max(rule.window for rule in alerts.RULES) < timedelta(days=expired.KEEP_ALERTS_DAYS)
    moved_clock(expired.KEEP_ALERTS_DAYS * 86400 + 1)
    assert expired.purge(dry_run=True) == 1
    expired.purge()
    with reading() as db:
        assert db.scalar(select(func.count()).select_from(Alert)) == 0


def test_it_looks_by_the_index_and_never_at_everything():
    """As the database plans it."""
    if database.engine.dialect.name != "sqlite":
        pytest.skip("each database has its own words for a plan")
    for one in range(200):
        audit.note_alone("sign_in", f"u{one % 9}", Client("203.0.113.7"), actor="u")
    plans = []

    def planned(_connection, cursor, statement, parameters, *_):
        if "audit_events" in statement and statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in cursor.fetchall())

    event.listen(database.engine, "before_cursor_execute", planned)
    alerts.watch()
    event.remove(database.engine, "before_cursor_execute", planned)
    assert [plan for plan in plans if "audit_events" in plan]
    assert [plan for plan in plans if "SCAN audit_events" in plan or ("audit_events" in plan and "INDEX" not in plan)] == []
