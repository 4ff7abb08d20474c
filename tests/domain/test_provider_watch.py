"""The daily look at how OpenID providers describe themselves: the first sight is kept, a change is told once, whatever else goes on."""

import json

import pytest
from sqlalchemy import select

import config
from domain import provider_watch, secrets
from domain.database import reading
from jobs import schedule
from model import AuditEvent, Mail, ProviderDocument
from tests.provider import MISSING, Provider, away
from tests.providers import OWN, everybody, settings_of

ADMIN = "admin@example.com"


@pytest.fixture
def stand_ins():
    with everybody(OWN) as running:
        yield running


@pytest.fixture
def settings(settings, stand_ins):
    return {**settings, **settings_of(stand_ins), "ADMIN_EMAIL": ADMIN}


@pytest.fixture
def seen(house, stand_ins):
    """The house, with every description seen once."""
    assert provider_watch.watch() == 0
    return house


def rows(table):
    with reading() as db:
        return list(db.scalars(select(table)))


def told():
    """What the mails to the administrator say."""
    return [json.loads(secrets.decrypt(one.values_encrypted)) for one in rows(Mail) if one.template == "provider_changed"]


def test_the_first_sight_of_each_is_kept_and_told_to_nobody(seen, stand_ins):
    assert {row.provider for row in rows(ProviderDocument)} == {name for name, one in stand_ins.items() if isinstance(one, Provider)}
    assert (told(), rows(AuditEvent)) == ([], [])
    assert provider_watch.watch() == 0


def test_a_change_is_told_once_with_what_it_was_and_is(seen, stand_ins, caplog):
    google = stand_ins["google"]
    google.described = {"token_endpoint": "http://127.0.0.1:1/elsewhere", "userinfo_endpoint": "http://127.0.0.1:1/\u20ac"}
    assert [schedule.run_now("watch-providers", dry_run=True).affected for _ in range(2)] == [1, 1]
    assert [schedule.run_now("watch-providers").affected for _ in range(2)] == [1, 0]
    (said,) = told()
    assert said["provider"] == "Google"
    assert said["changes"] == [
        ["token_endpoint", f"{google.base}/token", "http://127.0.0.1:1/elsewhere"],
        ["userinfo_endpoint", "-", '"http://127.0.0.1:1/\\u20ac"'],
    ]
    (event,) = rows(AuditEvent)
    assert (event.action, event.actor, event.facts) == (
        "provider.changed",
        "system",
        {"provider": "google", "parts": ["token_endpoint", "userinfo_endpoint"]},
    )
    assert [record.getMessage() for record in caplog.records if "anew" in record.getMessage()] == [
        "google describes itself anew: token_endpoint, userinfo_endpoint"
    ]


def test_the_mail_reads_as_it_should(seen, stand_ins):
    stand_ins[OWN].described = {"jwks_uri": "http://127.0.0.1:1/keys"}
    schedule.run_now("watch-providers")
    letter = seen.mailbox.last(ADMIN)
    assert letter.subject == "The description of Acme has changed"
    assert f"jwks_uri\n  before: {stand_ins[OWN].base}/keys\n  now: http://127.0.0.1:1/keys\n" in letter.text


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"authorization_endpoint": "http://127.0.0.1:1/authorize"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"id_token_signing_alg_values_supported": ["RS256", "none"]},
        {"id_token_signing_alg_values_supported": MISSING},
    ],
    ids=str,
)
def test_every_part_that_a_sign_in_goes_by_is_looked_at(seen, stand_ins, described):
    stand_ins["apple"].described = described
    assert provider_watch.watch() == 1
    assert [name for name, _, _ in told()[0]["changes"]] == list(described)


@pytest.mark.parametrize("described", [{"claims_supported": ["sub"]}, {"id_token_signing_alg_values_supported": ["RS256"]}], ids=str)
def test_what_no_sign_in_goes_by_may_change(seen, stand_ins, described):
    stand_ins["google"].described = described
    assert (provider_watch.watch(), told()) == (0, [])


def test_the_order_of_algorithms_says_nothing(house, stand_ins):
    for algorithms in (["RS256", "ES256"], ["ES256", "RS256"]):
        stand_ins["google"].described = {"id_token_signing_alg_values_supported": algorithms}
        assert provider_watch.watch() == 0


def test_one_that_is_away_keeps_no_other_from_being_looked_at(seen, stand_ins):
    stand_ins["microsoft"].described = {"jwks_uri": "http://127.0.0.1:1/keys"}
    with away(stand_ins["google"], "openid-configuration"), away(stand_ins["apple"], "openid-configuration", 200, []):
        assert provider_watch.watch() == 1
    assert [said["provider"] for said in told()] == ["Microsoft"]
    assert provider_watch.watch() == 0  # What was away is as it was.


def test_another_address_is_seen_for_the_first_time(seen, stand_ins):
    with Provider() as other:
        config.settings = config.settings.model_copy(update={"GOOGLE_DISCOVERY_URL": other.settings["GOOGLE_DISCOVERY_URL"]})
        assert provider_watch.watch() == 0
        other.described = {"jwks_uri": "http://127.0.0.1:1/keys"}
        assert provider_watch.watch() == 1


def test_without_an_administrator_the_trail_and_the_log_tell(seen, stand_ins):
    config.settings = config.settings.model_copy(update={"ADMIN_EMAIL": ""})
    stand_ins["google"].described = {"jwks_uri": "http://127.0.0.1:1/keys"}
    assert (provider_watch.watch(), told(), len(rows(AuditEvent))) == (1, [], 1)


def test_a_part_of_any_length_and_kind_can_be_told(seen, stand_ins):
    stand_ins["google"].described = {
        "userinfo_endpoint": {"a": ["x" * 100_000]},
        "id_token_signing_alg_values_supported": [None, 1, "RS256"],
    }
    assert provider_watch.watch() == 1
    assert "userinfo_endpoint" in seen.mailbox.last(ADMIN).text
