"""Settings: where they come from, what is refused at the start, and the secrets that are made once."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import config
from tests.serving import PATIENCE

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
GOOD = {"SECRET_KEY": "k" * 8 + "0123456789abcdefghijklmnop", "JWT_SECRET_KEY": "another one of 0123456789abcdefghij"}
PATTERNS = (
    "*",
    "null",
    "example.com",
    "https://*.example.com",
    r"https://.*\.example\.com",
    "https://example.com/",
    "https://example.com/app",
    "https://example.com?a=b",
    "https://someone@example.com",
    "https://exam ple.com",
    "https://example.com:port",
    "https://[example.com",
    "https://[:::1]",
    "https://example.com:99999",
    "https://",
    "ftp://example.com",
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`config.load` in an empty folder, with nothing set in the environment."""
    for name in config.Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda **given: config.load(**{"INSTANCE_DIR": tmp_path / "instance"} | given)


@pytest.fixture
def production(load):
    """The same in production, with all that it needs."""
    return lambda **given: load(**{"APP_ENV": "production", **GOOD, "FERNET_KEY": Fernet.generate_key().decode()} | given)


def refused(start, **given):
    """The lines of the refusal to start."""
    with pytest.raises(config.Refusal) as refusal:
        start(**given)
    assert all(line in str(refusal.value) for line in refusal.value.lines)
    return refusal.value.lines


def test_the_example_is_what_the_settings_say():
    assert (ROOT / ".env.example").read_text() == config.example(), "run `make env-example`"


def test_the_example_names_every_setting_and_sets_none():
    lines = config.example().splitlines()
    assert [name for name in config.Settings.model_fields if not any(line.startswith(f"# {name}=") for line in lines)] == []
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_with_nothing_set_it_is_a_development_server_on_sqlite(load, tmp_path):
    settings = load()
    assert settings.APP_ENV == "development"
    assert f"sqlite:///{tmp_path / 'instance' / 'gatehouse.db'}" == settings.SQLALCHEMY_DATABASE_URI
    assert tmp_path / "instance" / "app.log" == settings.LOG_FILE
    assert settings.JWT_ISSUER == settings.BASE_URL
    assert settings.JOBS_IN_PROCESS
    assert (settings.REDIS_URL, settings.MAIL_SERVER, settings.cors_origins) == ("", "", [])


def test_an_argument_beats_the_environment_beats_dotenv_beats_yaml_beats_the_default(load, tmp_path, monkeypatch):
    assert load().BCRYPT_ROUNDS == 12
    (tmp_path / ".env").write_text("APP_ENV=testing\n")
    assert load().BCRYPT_ROUNDS == 4
    (tmp_path / ".env").write_text("APP_ENV=testing\nBCRYPT_ROUNDS=5\n")
    assert load().BCRYPT_ROUNDS == 5
    monkeypatch.setenv("BCRYPT_ROUNDS", "6")
    assert load().BCRYPT_ROUNDS == 6
    assert load(BCRYPT_ROUNDS=7).BCRYPT_ROUNDS == 7


def test_the_yaml_page_is_that_of_whoever_names_the_environment_first(load, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("APP_ENV=testing\n")
    monkeypatch.setenv("APP_ENV", "development")
    assert (load().APP_ENV, load().BCRYPT_ROUNDS) == ("development", 12)
    assert (load(APP_ENV="testing").APP_ENV, load(APP_ENV="testing").BCRYPT_ROUNDS) == ("testing", 4)


def test_an_empty_setting_is_an_unset_one(load, monkeypatch):
    for name in ("BCRYPT_ROUNDS", "FORCE_HTTPS", "LOG_FILE", "SECRET_KEY", "APP_ENV"):
        monkeypatch.setenv(name, "")
    settings = load()
    assert (settings.BCRYPT_ROUNDS, settings.FORCE_HTTPS, settings.APP_ENV) == (12, False, "development")
    assert len(settings.SECRET_KEY) > 32


@pytest.mark.parametrize(
    ("canonical", "other", "given", "meant"),
    [
        ("SQLALCHEMY_DATABASE_URI", "DATABASE_URI", "sqlite:///other.db", "sqlite:///canonical.db"),
        ("GOOGLE_DISCOVERY_URL", "SERVER_METADATA_URL", "https://other.example/", "https://canonical.example/"),
    ],
)
class TestOtherNames:
    """Names of earlier systems, read where the canonical one is not set."""

    def test_one_is_read_where_the_canonical_one_is_not_set(self, load, monkeypatch, canonical, other, given, meant):
        monkeypatch.setenv(other, given)
        assert getattr(load(), canonical) == given
        monkeypatch.setenv(canonical, "")
        assert getattr(load(), canonical) == given

    def test_the_canonical_one_wins_wherever_it_stands(self, load, tmp_path, monkeypatch, canonical, other, given, meant):
        monkeypatch.setenv(other, given)
        (tmp_path / ".env").write_text(f"{canonical}={meant}\n")
        assert getattr(load(), canonical) == meant
        (tmp_path / ".env").write_text("")
        monkeypatch.setenv(canonical, meant)
        assert getattr(load(), canonical) == meant
        assert getattr(load(**{canonical: given}), canonical) == given


def test_redis_is_found_by_host_and_port_where_its_url_is_not_set(load, monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "cache.example")
    assert load().REDIS_URL == "redis://cache.example:6379/0"
    monkeypatch.setenv("REDIS_PORT", "6380")
    assert load().REDIS_URL == "redis://cache.example:6380/0"
    monkeypatch.setenv("REDIS_URL", "redis://canonical.example/3")
    assert load().REDIS_URL == "redis://canonical.example/3"


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://db.example/gatehouse", "postgresql+psycopg://"),
        ("postgresql://db.example/gatehouse", "postgresql+psycopg://"),
        ("mysql://db.example/gatehouse", "mysql+pymysql://"),
        ("mariadb://db.example/gatehouse", "mariadb+pymysql://"),
        ("postgresql+psycopg://db.example/gatehouse", "postgresql+psycopg://"),
    ],
)
def test_a_database_is_reached_by_the_driver_that_is_there(load, given, driver):
    assert f"{driver}db.example/gatehouse" == load(SQLALCHEMY_DATABASE_URI=given).SQLALCHEMY_DATABASE_URI


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("environment", ["development", "production"])
def test_an_origin_that_is_none_or_a_pattern_is_refused(production, environment, pattern):
    lines = refused(production, APP_ENV=environment, CORS_ORIGINS=f"https://app.example.com, {pattern}")
    assert len(lines) == 1
    assert lines[0].startswith("CORS_ORIGINS")


def test_exact_origins_are_taken(production):
    origins = ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000"]
    assert production(CORS_ORIGINS=" , ".join(origins)).cors_origins == origins


def test_production_starts_with_all_that_it_needs(production, tmp_path):
    settings = production()
    assert (settings.APP_ENV, settings.JOBS_IN_PROCESS, settings.LOG_FORMAT) == ("production", False, "json")
    assert not (tmp_path / "instance" / "secrets.json").exists()


def test_production_names_every_fault_at_once(load):
    lines = refused(
        load,
        APP_ENV="production",
        SECRET_KEY="change-me",
        JWT_SECRET_KEY=f"{GOOD['JWT_SECRET_KEY']},tooshort-1",
        CORS_ORIGINS="*",
        BASE_URL="gatehouse.example",
        MAIL_LINKS="frontend",
    )
    assert sorted(line.split(" ")[0].strip(":") for line in lines) == [
        "BASE_URL",
        "CORS_ORIGINS",
        "FERNET_KEY",
        "JWT_SECRET_KEY",
        "MAIL_LINKS",
        "SECRET_KEY",
    ]


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        ("", "missing"),
        (",", "missing"),
        ("change-me", "sample"),
        ("Please-Change-Me-0123456789-abcdefgh", "sample"),
        ("a" * 64, "sample"),
        ("31 characters: that is one less", "shorter"),
    ],
)
@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
def test_a_missing_short_or_sample_secret_stops_production(production, name, faulty, says):
    lines = refused(production, **{name: faulty})
    assert [line for line in lines if line.startswith(name) and says in line] == lines


def test_one_secret_must_not_serve_two_purposes_in_production(production):
    assert refused(production, JWT_SECRET_KEY=GOOD["SECRET_KEY"]) == ["SECRET_KEY and JWT_SECRET_KEY are the same"]


@pytest.mark.parametrize("pepper", ["short", "change-me", f"{'0123456789abcdefghijklmnopqrstuv'}, short"])
def test_a_pepper_may_be_left_out_and_must_not_be_weak(production, pepper):
    assert production().PASSWORD_PEPPER == ""
    (line,) = refused(production, PASSWORD_PEPPER=pepper)
    assert line.startswith("PASSWORD_PEPPER is ")


def test_rules_for_passwords_that_are_none_are_refused(load):
    assert refused(load, PASSWORD_COMPOSITION="digit, emoji", PASSWORD_RANGE_URL="api.example.com/range") == [
        "PASSWORD_RANGE_URL: 'api.example.com/range' is not an http(s) address",
        "PASSWORD_COMPOSITION: 'emoji' is none of lower, upper, digit, symbol",
    ]
    assert load(PASSWORD_COMPOSITION="digit, upper", PASSWORD_RANGE_URL="https://api.example.com/range/").PASSWORD_COMPOSITION


def test_a_faulty_secret_is_not_shown(production):
    for name in config.SECRET_NAMES:
        assert "hunter2" not in "".join(refused(production, **{name: "hunter2"}))


def test_a_fernet_key_that_is_none_is_refused_everywhere(load):
    assert refused(load, FERNET_KEY=f"{Fernet.generate_key().decode()},{'x' * 44}") == ["FERNET_KEY: key 2 is not a Fernet key"]


def test_secrets_are_made_once_and_only_the_owner_may_read_them(load, tmp_path):
    first = {name: getattr(load(), name) for name in config.SECRET_NAMES}
    kept = tmp_path / "instance" / "secrets.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == first
    assert len(set(first.values())) == 3
    assert {name: getattr(load(), name) for name in config.SECRET_NAMES} == first
    assert first["JWT_SECRET_KEY"] == load(SECRET_KEY=GOOD["SECRET_KEY"]).JWT_SECRET_KEY


def test_processes_that_start_at_once_agree_on_the_secrets(tmp_path):
    program = (
        "import sys, config; sys.stdin.read(1); settings = config.load(INSTANCE_DIR=sys.argv[1]); "
        "print([getattr(settings, name) for name in config.SECRET_NAMES])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "instance")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": tmp_path, "env": environment}
    starting = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for one in starting:
        one.stdin.write("x")
        one.stdin.flush()
    told = {one.communicate(timeout=PATIENCE)[0] for one in starting}
    assert len(told) == 1
    assert "[" in told.pop()
    assert [path.name for path in (tmp_path / "instance").iterdir()] == ["secrets.json"]
    assert stat.S_IMODE((tmp_path / "instance" / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"SMS_PROVIDER": "http"}, ["SMS_PROVIDER is http, and SMS_URL is not set"]),
        (
            {"SMS_PROVIDER": "twilio"},
            ["SMS_PROVIDER is twilio, and SMS_USERNAME is not set", "SMS_PROVIDER is twilio, and SMS_PASSWORD is not set"],
        ),
        ({"SMS_URL": "gateway.example/send"}, ["SMS_URL: 'gateway.example/send' is not an http(s) address"]),
        ({"SMS_COUNTRIES": "AT,Austria"}, ["SMS_COUNTRIES: 'Austria' is no country of ISO 3166-1"]),
    ],
)
def test_text_messages_that_could_not_leave_stop_the_start(load, given, words):
    assert [line for line in refused(load, **given) if "SMS" in line] == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"IP_DENY": "192.0.2.1/24"}, ["IP_DENY: '192.0.2.1/24' is no network (192.0.2.1/24 has host bits set)"]),
        (
            {"IP_ALLOW": "192.0.2.0/24, office"},
            ["IP_ALLOW: 'office' is no network ('office' does not appear to be an IPv4 or IPv6 network)"],
        ),
        ({"CAPTCHA_VERIFY_URL": "verifier", "CAPTCHA_SECRET": "s"}, ["CAPTCHA_VERIFY_URL: 'verifier' is not an http(s) address"]),
        ({"CAPTCHA_VERIFY_URL": "https://verifier.example"}, ["CAPTCHA_VERIFY_URL is set, and CAPTCHA_SECRET is not set"]),
    ],
)
def test_what_could_not_keep_strangers_out_stops_the_start(load, given, words):
    assert refused(load, **given) == words


def test_a_verifier_by_plain_http_is_a_warning(production):
    plain = production(CAPTCHA="always", CAPTCHA_VERIFY_URL="http://verifier.example", CAPTCHA_SECRET="s")
    assert [line for line in config.warnings(plain) if "CAPTCHA" in line] == [
        "CAPTCHA_VERIFY_URL is plain http: whoever is in between can say who is a person"
    ]


def test_weak_text_messages_are_one_warning_each(production):
    assert sum("SMS_PROVIDER is console" in line for line in config.warnings(production(SMS_PROVIDER="console"))) == 1
    plain = production(SMS_PROVIDER="http", SMS_URL="http://gateway.example", SMS_COUNTRIES="AT")
    assert [line for line in config.warnings(plain) if "SMS" in line] == [
        "SMS_URL is plain http: codes and the gateway's password travel unencrypted"
    ]
    assert sum("SMS_COUNTRIES" in line for line in config.warnings(production(SMS_PROVIDER="console"))) == 1


def test_what_is_weak_in_production_is_one_warning_each(production):
    weak = production(BCRYPT_ROUNDS=10, MAIL_SERVER="mail.example", MAIL_USE_TLS=False)
    words = ("BASE_URL", "REDIS_URL", "SQLite", "BCRYPT_ROUNDS", "SMTP without TLS")
    assert [sum(word in line for line in config.warnings(weak)) for word in words] == [1] * len(words)
    good = {"REDIS_URL": "redis://cache", "DATABASE_URI": "postgresql://db/x", "MAIL_SERVER": "mail.example"}
    (line,) = config.warnings(production(BASE_URL="https://gatehouse.example", **good))
    assert line.startswith("FORCE_HTTPS is off")
    assert config.warnings(production(BASE_URL="https://gatehouse.example", FORCE_HTTPS=True, **good)) == []


def test_a_contact_that_is_no_address_is_refused(load):
    assert load(SECURITY_CONTACT="mailto:a@example.com,https://example.com/report").SECURITY_CONTACT
    for contact in ("security@example.com", "http://example.com", "mailto:a@example.com\nContact: x"):
        (line,) = refused(load, SECURITY_CONTACT=contact)
        assert line.startswith("SECURITY_CONTACT: ")


def test_settings_can_not_be_changed_once_they_are_in_force(load):
    with pytest.raises(ValueError, match="frozen"):
        load().BCRYPT_ROUNDS = 4


def test_an_alert_rule_that_is_unknown_or_about_no_account_can_end_no_session(load):
    loaded = load(ALERTS_END_SESSIONS=" new_country,many_addresses ")
    assert config.keys(loaded.ALERTS_END_SESSIONS) == ["new_country", "many_addresses"]
    for name in ("many_accounts", "new-country"):
        (line,) = refused(load, ALERTS_END_SESSIONS=f"new_country,{name}")
        assert line == f"ALERTS_END_SESSIONS: {name!r} is none of cloned_passkey, many_addresses, new_country, password_changes"


def test_no_secret_gets_into_the_repository_or_an_image():
    """The pages that keep files out name what holds secrets, and let in of it what holds none."""
    for page, env in ((".gitignore", ".env"), (".dockerignore", "**/.env")):
        listed = (config.HERE / page).read_text().split()
        assert {env, f"{env}.*", "instance/*", "uploads/*"} <= set(listed)
        assert sorted(one for one in listed if one.startswith("!")) == ["!.env.example", "!instance/.gitkeep", "!uploads/.gitkeep"]
