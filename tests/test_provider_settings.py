"""Settings of providers: those of the table, and those that OIDC_PROVIDERS names, from every source; what is missing is told."""

import pytest
from joserfc.jwk import ECKey, RSAKey

import config
from domain import providers
from domain.errors import NotFound
from domain.provider_table import TABLE, OpenId

ACME = {
    "ACME_CLIENT_ID": "id",
    "ACME_CLIENT_SECRET": "secret",
    "ACME_DISCOVERY_URL": "https://acme.example/.well-known/openid-configuration",
}
PEM = ECKey.generate_key("P-256").as_pem(private=True).decode()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`config.load` in an empty folder, with nothing set in the environment."""
    for name in (*config.Settings.model_fields, *ACME):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda **given: config.load(**{"INSTANCE_DIR": tmp_path / "instance"} | given)


def refused(start, **given):
    with pytest.raises(config.Refusal) as refusal:
        start(**given)
    return refusal.value.lines


def test_every_row_has_its_settings_and_every_settings_their_row(load):
    assert {row.name for row in TABLE} == set(config.BUILT_IN)
    load()
    for row in TABLE:
        for what in ("DISCOVERY_URL",) if isinstance(row.speaks, OpenId) else ("URL", "CLIENT_SECRET"):
            assert config.named(row.name, what) in config.Settings.model_fields
    assert len({row.title for row in TABLE}) == len(TABLE)


def test_nobody_is_there_unless_configured(load):
    load()
    assert providers.configured() == []
    for row in TABLE:
        with pytest.raises(NotFound):
            providers.find(row.name)


def test_a_provider_by_configuration_is_read_from_every_source(load, tmp_path, monkeypatch):
    load(OIDC_PROVIDERS="acme", **ACME)
    assert providers.find("acme").there[:4] == ("acme", "id", "secret", ACME["ACME_DISCOVERY_URL"])
    (tmp_path / ".env").write_text("OIDC_PROVIDERS=acme\n" + "".join(f"{name}=dotenv-{value}\n" for name, value in ACME.items()))
    monkeypatch.setenv("ACME_DISCOVERY_URL", "https://env.example/")
    load(ACME_CLIENT_ID="argument")
    assert providers.find("acme").there[1:4] == ("argument", "dotenv-secret", "https://env.example/")
    monkeypatch.setattr(config, "HERE", tmp_path)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "development.yaml").write_text("OIDC_PROVIDERS: acme\nACME_CLIENT_ID: yaml\nACME_CLIENT_SECRET: yaml\n")
    (tmp_path / ".env").write_text("")
    load()
    assert providers.find("acme").there[1:4] == ("yaml", "yaml", "https://env.example/")


def test_several_by_configuration_each_have_their_own(load):
    second = {"MY_IDP_CLIENT_ID": "other", "MY_IDP_CLIENT_SECRET": "other", "MY_IDP_DISCOVERY_URL": "https://idp.example/"}
    load(OIDC_PROVIDERS=" acme , my-idp", **ACME, **second)
    assert [one.name for one in providers.configured()] == ["acme", "my-idp"]
    assert providers.find("my-idp").there[1] == "other"
    assert [providers.title(name) for name in ("acme", "my-idp", "github", "gone")] == ["Acme", "My-idp", "GitHub", "Gone"]


def test_what_is_missing_is_named_all_at_once(load):
    assert refused(load, OIDC_PROVIDERS="acme,other", OTHER_CLIENT_ID="id") == [
        "OIDC_PROVIDERS names acme, and ACME_CLIENT_ID is not set",
        "OIDC_PROVIDERS names acme, and ACME_CLIENT_SECRET is not set",
        "OIDC_PROVIDERS names acme, and ACME_DISCOVERY_URL is not set",
        "OIDC_PROVIDERS names other, and OTHER_CLIENT_SECRET is not set",
        "OIDC_PROVIDERS names other, and OTHER_DISCOVERY_URL is not set",
    ]


@pytest.mark.parametrize("name", ["login", "logout", "register", "status", "exchange"])
def test_a_reserved_name_is_refused(load, name):
    assert refused(load, OIDC_PROVIDERS=name) == [f"OIDC_PROVIDERS: '{name}' is reserved"]


@pytest.mark.parametrize("name", config.BUILT_IN)
def test_a_name_of_the_table_is_refused(load, name):
    assert refused(load, OIDC_PROVIDERS=name) == [f"OIDC_PROVIDERS: '{name}' is built in"]


@pytest.mark.parametrize("name", ["Acme", "1acme", "-acme", "_acme", "ac me", "ac/me", "äcme", "a" * 33, "acme\n/x", "acme."])
def test_a_name_that_is_no_name_is_refused(load, name):
    (line,) = refused(load, OIDC_PROVIDERS=name)
    assert line.startswith(f"OIDC_PROVIDERS: {name!r} is not of a-z")


def test_a_name_that_stands_twice_is_refused(load):
    assert refused(load, OIDC_PROVIDERS="acme,acme", **ACME) == ["OIDC_PROVIDERS: 'acme' is named twice"] * 2
    other = {"A_B_CLIENT_ID": "x", "A_B_CLIENT_SECRET": "x", "A_B_DISCOVERY_URL": "https://x.example"}
    assert len(refused(load, OIDC_PROVIDERS="a-b,a_b", **other)) == 2


@pytest.mark.parametrize(
    "name", ["ACME_DISCOVERY_URL", "GOOGLE_DISCOVERY_URL", "GITHUB_URL", "GITHUB_API_URL", "DISCORD_URL", "FACEBOOK_API_URL"]
)
@pytest.mark.parametrize("url", ["acme.example", "ftp://acme.example", "https://", "https:///x", "https://a b/", "https://a/ b"])
def test_an_address_that_is_none_is_refused(load, name, url):
    given = {**ACME, name: url}
    (line,) = refused(load, OIDC_PROVIDERS="acme", **given)
    assert line.startswith(f"{name}: ")
    assert line.endswith("is not an http(s) address")


def test_addresses_of_providers_end_without_a_slash_for_they_are_issuers(load):
    assert load(GITHUB_URL="https://github.example/", DISCORD_URL="https://d.example//").GITHUB_URL == "https://github.example"
    assert config.settings.DISCORD_URL == "https://d.example"


def test_apple_needs_all_of_its_key(load):
    assert refused(load, APPLE_CLIENT_ID="com.example") == [
        f"APPLE_CLIENT_ID is set, and APPLE_{what} is not set" for what in ("TEAM_ID", "KEY_ID", "PRIVATE_KEY")
    ]
    apple = {"APPLE_CLIENT_ID": "com.example", "APPLE_TEAM_ID": "T", "APPLE_KEY_ID": "K"}
    for pem in (PEM, PEM.replace("\n", "\\n"), PEM.strip()):
        load(**apple, APPLE_PRIVATE_KEY=pem)
        assert providers.find("apple").there.signer[2].strip() == PEM.strip()
    others = [ECKey.generate_key("P-384").as_pem(private=True), RSAKey.generate_key(2048).as_pem(private=True)]
    public = ECKey.import_key(PEM).as_pem(private=False)
    for pem in ("x", PEM[:80], *(one.decode() for one in (*others, public))):
        assert refused(load, **apple, APPLE_PRIVATE_KEY=pem) == ["APPLE_PRIVATE_KEY is not the PEM of a P-256 key"]


@pytest.mark.parametrize("name", ["github", "discord", "facebook"])
def test_who_speaks_oauth_needs_its_secret(load, name):
    client_id, secret = config.named(name, "CLIENT_ID"), config.named(name, "CLIENT_SECRET")
    assert refused(load, **{client_id: "id"}) == [f"{client_id} is set, and {secret} is not set"]
    load(**{client_id: "id", secret: "secret"})
    assert [one.name for one in providers.configured()] == [name]


def test_in_production_a_provider_by_plain_http_is_a_warning(load):
    loaded = load(OIDC_PROVIDERS="acme", **ACME | {"ACME_DISCOVERY_URL": "http://acme.example/"})
    weak = config.warnings(loaded.model_copy(update={"APP_ENV": "production"}))
    assert "ACME_DISCOVERY_URL is plain http: whoever is in between can sign in as anybody" in weak
    assert not any("GITHUB" in line for line in weak)
