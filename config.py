"""Every setting once: its name, type, default and meaning.

A setting comes from the environment, else from `.env`, else from `environments/<APP_ENV>.yaml`, else from its default
here. `config.settings` is the configuration in force; `load()` makes it. `.env.example` is generated from this page.
"""

import ipaddress
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import Field, create_model, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

HERE = Path(__file__).resolve().parent
SAMPLES = {"change-me", "changeme", "secret", "dev", "sample", "your-secret-key", "password"}
OTHER_NAMES = {"SQLALCHEMY_DATABASE_URI": "DATABASE_URI", "GOOGLE_DISCOVERY_URL": "SERVER_METADATA_URL"}  # Of earlier systems.
# The rules of `domain/alerts.py` that concern an account.
ACCOUNT_ALERTS = ("cloned_passkey", "many_addresses", "new_country", "password_changes")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SECRET_NAMES = ("SECRET_KEY", "JWT_SECRET_KEY", "FERNET_KEY")
# OpenID providers by configuration: what their names may not be, and which settings each of them has.
RESERVED = ("login", "logout", "register", "status", "exchange")
OIDC_SETTINGS = ("CLIENT_ID", "CLIENT_SECRET", "DISCOVERY_URL")
# What a provider can't do without, once its CLIENT_ID is set.
NEEDED = {
    "apple": ("TEAM_ID", "KEY_ID", "PRIVATE_KEY"),
    "github": ("CLIENT_SECRET",),
    "discord": ("CLIENT_SECRET",),
    "facebook": ("CLIENT_SECRET",),
}


class Refusal(Exception):
    """The configuration can't be served with; each line says why and names the setting."""

    def __init__(self, lines: list[str], loaded: "Settings | None" = None) -> None:
        super().__init__("Gatehouse does not start:\n" + "\n".join(f"  - {line}" for line in lines))
        self.lines = lines
        self.loaded = loaded


def _set(default: Any, meaning: str, **more: Any) -> Any:
    return Field(default=default, description=meaning, **more)


class Settings(BaseSettings):
    """The settings in force. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    APP_ENV: Literal["development", "testing", "production"] = _set(
        "development", "development, testing or production: picks environments/<APP_ENV>.yaml"
    )
    INSTANCE_DIR: Path = _set(HERE / "instance", "Where the database file, secrets, logs and unsent mail live")
    UPLOADS_DIR: Path = _set(HERE / "uploads", "Where pictures live")

    SECRET_KEY: str = _set("", "Keys for codes and hashes, comma-separated, newest first; made in INSTANCE_DIR when empty")
    JWT_SECRET_KEY: str = _set("", "Keys that sign tokens, comma-separated: the first signs, all verify")
    FERNET_KEY: str = _set("", "Keys that encrypt stored secrets, comma-separated: the first encrypts, all decrypt")

    SQLALCHEMY_DATABASE_URI: str = _set("", "SQLite, PostgreSQL or MySQL/MariaDB; a file in INSTANCE_DIR when empty")
    DATABASE_URI: str = _set("", "Read where SQLALCHEMY_DATABASE_URI is not set")
    DATABASE_POOL_SIZE: int = _set(5, "Connections kept open to the database by each process", ge=1)
    REDIS_URL: str = _set("", "redis://host:port/db, shared by all workers; without it limits live in each process")
    REDIS_HOST: str = _set("", "Read where REDIS_URL is not set")
    REDIS_PORT: int = _set(6379, "Read where REDIS_URL is not set")
    REDIS_POOL_SIZE: int = _set(10, "Connections kept open to Redis by each process", ge=1)

    BASE_URL: str = _set("http://127.0.0.1:5000", "Where people reach this server; links in mails begin with it")
    FRONTEND_URL: str = _set("", "Where the single-page app lives, if there is one")
    CORS_ORIGINS: str = _set("", "Exact origins that may call from a browser, comma-separated")
    PASSKEY_RP_ID: str = _set("", "The domain that passkeys belong to, for good; the host of FRONTEND_URL, else of BASE_URL, when empty")
    FORCE_HTTPS: bool = _set(False, "Refuse plain http, and send Strict-Transport-Security")
    TRUSTED_PROXIES: int = _set(0, "How many proxies in front add to X-Forwarded-For", ge=0)

    JWT_ALGORITHM: Literal["HS256", "ES256", "EdDSA"] = _set(
        "HS256", "How tokens are signed; services that check them by themselves need ES256 or EdDSA"
    )
    JWT_ISSUER: str = _set("", "The iss claim; BASE_URL when empty")
    JWT_AUDIENCE: str = _set("gatehouse", "The aud claim")
    JWT_ACCESS_TOKEN_EXPIRES: int = _set(1800, "Life of an access token", ge=1)
    JWT_REFRESH_TOKEN_EXPIRES: int = _set(86400, "Life of a refresh token", ge=1)
    REFRESH_GRACE_SECONDS: int = _set(10, "How long a used refresh token gets its successor again", ge=0)
    SESSION_IDLE_SECONDS: int = _set(1200, "A session ends after this long without a request; 0: never", ge=0)
    SESSION_MAX_SECONDS: int = _set(86400, "A session ends this long after its sign-in; 0: never", ge=0)
    ACTIVITY_FLUSH_SECONDS: int = _set(15, "How often last-seen times are written", ge=1)
    RECENT_SIGN_IN_SECONDS: int = _set(300, "How long a sign-in counts as recent", ge=1)
    MAX_SESSIONS_PER_USER: int = _set(10, "More than this, and the oldest session goes", ge=1)
    USER_CACHE_SECONDS: int = _set(300, "How long Redis keeps what was read of a user and their rights; 0: not at all", ge=0)
    TRUSTED_DEVICE_DAYS: int = _set(30, "How long a trusted device stands for the second factor", ge=1)

    ACCOUNT_DELETION_DAYS: int = _set(7, "How long an account that its owner deletes can be restored; 0: not at all", ge=0, le=365)
    CONFIRMATION_SECONDS: int = _set(86400, "Life of a confirmation link", ge=60)
    RESET_SECONDS: int = _set(3600, "Life of a reset link", ge=60)
    OTP_SECONDS: int = _set(600, "Life of a mailed or texted code", ge=30, le=600)
    MFA_TICKET_SECONDS: int = _set(300, "Time to finish a sign-in after its first factor", ge=30)

    FAILED_ATTEMPTS_LIMIT: int = _set(5, "Wrong passwords or codes before a pause", ge=1)
    LOCKOUT_WINDOW_SECONDS: int = _set(900, "In which window failures are counted", ge=1)
    PASSWORD_SCHEME: Literal["bcrypt", "argon2id", "scrypt"] = _set("bcrypt", "How new password hashes are made; all three verify")
    PASSWORD_PEPPER: str = _set("", "Keys of the pre-hash of passwords, comma-separated, newest first; never lose one that is in use")
    BCRYPT_ROUNDS: int = _set(12, "Cost of a password hash (2^n)", ge=4, le=16)
    PASSWORD_MIN_LENGTH: int = _set(12, "In code points", ge=8, le=64)
    PASSWORD_MIN_LENGTH_WITHOUT_MFA: int = _set(
        0, "In code points, where no second factor is required (NIST SP 800-63B says 15); 0: PASSWORD_MIN_LENGTH for everybody", ge=0, le=64
    )
    PASSWORD_MIN_SCORE: int = _set(2, "The least zxcvbn score, 0 (anything) to 4", ge=0, le=4)
    PASSWORD_OWN_WORDS: str = _set("", "Words of this service that no password may consist of, comma-separated")
    PASSWORD_RANGE_URL: str = _set("", "A k-anonymity range API of breached passwords, asked besides the built-in list")
    PASSWORD_COMPOSITION: str = _set("", "Of lower, upper, digit, symbol, comma-separated: what must be in it. NIST advises against")
    PASSWORD_HISTORY: int = _set(0, "How many earlier passwords may not come back. NIST advises against", ge=0, le=24)
    PASSWORD_MAX_AGE_DAYS: int = _set(0, "After this long a new password is asked for; 0: never. NIST advises against", ge=0)
    SIGN_UP: Literal["open", "invited", "closed"] = _set("open", "Who may make an account: anybody, who is invited by an admin, nobody")
    REQUIRE_MFA: str = _set("none", "Who must have a second factor: none, all, or names of roles, comma-separated")
    MFA_GRACE_DAYS: int = _set(0, "How long who must have a second factor may still sign in without one", ge=0)
    TOKEN_BINDING: Literal["off", "user_agent", "user_agent_and_ip"] = _set("off", "To what of the client a session's tokens are bound")
    PREVENT_ENUMERATION: bool = _set(True, "Never tell whether an address has an account")

    MAX_KEYS_PER_USER: int = _set(5, "Live API keys of one user", ge=0)
    KEY_EXPIRY_DAYS: int = _set(90, "The longest life of an API key, and its life unless a shorter one is asked for", ge=1)
    KEY_UNUSED_DAYS: int = _set(0, "An API key that was not used for so many days ends; 0: never", ge=0)
    MIN_KEY_LENGTH: int = _set(
        32, "Shorter keys and application tokens are refused without a look-up; ours have 56 characters", ge=16, le=56
    )

    RATE_LIMIT_ENABLED: bool = _set(True, "Limits by address and user (never the failure budgets and MAIL_LIMIT)")
    RATE_LIMIT_ANONYMOUS: str = _set("200 per day; 50 per hour", "An address without a valid credential, all operations")
    RATE_LIMIT_SENSITIVE: str = _set("5 per minute", "An address at each of login, send-otp, verify-otp, …")
    RATE_LIMIT_REQUESTS: int = _set(600, "Requests of a signed-in user per RATE_LIMIT_WINDOW", ge=1)
    RATE_LIMIT_WINDOW: int = _set(60, "The window of RATE_LIMIT_REQUESTS", ge=1)
    MAIL_LIMIT: str = _set("10 per hour; 40 per day", "Mails to one address that strangers can cause")

    IP_ALLOW: str = _set("", "The only addresses that are served, comma-separated networks (192.0.2.0/24, 2001:db8::/32); empty: all")
    IP_DENY: str = _set("", "Addresses that are not served, comma-separated networks; wins over IP_ALLOW")
    CAPTCHA: Literal["off", "after_failures", "always"] = _set(
        "off", "Whether strangers show that they are people: never, after FAILED_ATTEMPTS_LIMIT failures of their address, always"
    )
    CAPTCHA_DIFFICULTY: int = _set(5000, "Rounds of PBKDF2 in a try; a proof of work takes 256 tries on average", ge=1, le=100_000)
    CAPTCHA_SECONDS: int = _set(600, "Time to solve a proof of work and send it", ge=30)
    CAPTCHA_VERIFY_URL: str = _set("", "Where reCAPTCHA, hCaptcha, Turnstile or the like verifies (siteverify); empty: a proof of work")
    CAPTCHA_SECRET: str = _set("", "Our secret at CAPTCHA_VERIFY_URL")
    CAPTCHA_SITE_KEY: str = _set("", "The public key for that provider's widget, told by GET /captcha")

    MAIL_SERVER: str = _set("", "SMTP host; when empty, mail becomes .eml files in INSTANCE_DIR/outbox")
    MAIL_PORT: int = _set(587, "SMTP port")
    MAIL_USE_TLS: bool = _set(True, "STARTTLS")
    MAIL_USE_SSL: bool = _set(False, "TLS from the first byte (port 465)")
    MAIL_USERNAME: str = _set("", "SMTP user")
    MAIL_PASSWORD: str = _set("", "SMTP password (for Gmail: an app password)")
    MAIL_DEFAULT_SENDER: str = _set("Gatehouse <no-reply@localhost>", "From whom the mails are")
    MAIL_TIMEOUT: int = _set(20, "How long to wait for the SMTP server", ge=1)
    MAIL_LINKS: Literal["api", "frontend"] = _set("api", "Whether links lead to BASE_URL or to FRONTEND_URL")

    TEMPLATES_DIR: Path | None = _set(None, "Your own mails and pages: mails/ and pages/, by language, over the built-in ones")
    DEFAULT_LOCALE: str = _set("en", "The language of mails and pages for who has not chosen one (en and de are built in)")
    ADMIN_EMAIL: str = _set("", "Who gets mail about what looks like an attack")
    ALERTS_END_SESSIONS: str = _set("", "Names of alert rules that end the account's sessions, comma-separated")
    GEOIP_DB: Path | None = _set(None, "A MaxMind database of countries (.mmdb); sessions then tell theirs")

    SMS_PROVIDER: Literal["off", "console", "http", "twilio"] = _set("off", "How text messages leave: console, http, twilio")
    SMS_URL: str = _set("", "Where to post text messages; for twilio https://api.twilio.com when empty")
    SMS_USERNAME: str = _set("", "For twilio the account's SID; for http the user of basic authentication, if any")
    SMS_PASSWORD: str = _set("", "For twilio the auth token; for http the password, or without a user a bearer token")
    SMS_SENDER: str = _set("Gatehouse", "From whom text messages are: a number, or a name where the gateway allows one")
    SMS_COUNTRIES: str = _set("", "Countries whose numbers may be enrolled, comma-separated (ISO 3166-1, such as AT, DE); empty: none")
    SMS_LIMIT: str = _set("5 per hour; 20 per day", "Text messages to a number, for an account, and from an address")
    SMS_DAILY_LIMIT: int = _set(1000, "Text messages in a day, all in all", ge=1)
    SMS_TIMEOUT: int = _set(10, "How long to wait for the gateway", ge=1)

    GOOGLE_CLIENT_ID: str = _set("", "From the Google console; without it Google sign-in is off")
    GOOGLE_CLIENT_SECRET: str = _set("", "From the Google console")
    GOOGLE_DISCOVERY_URL: str = _set(
        "https://accounts.google.com/.well-known/openid-configuration", "Where Google's endpoints and keys are described"
    )
    SERVER_METADATA_URL: str = _set("", "Read where GOOGLE_DISCOVERY_URL is not set")
    MICROSOFT_CLIENT_ID: str = _set("", "From Microsoft Entra; without it Microsoft sign-in is off")
    MICROSOFT_CLIENT_SECRET: str = _set("", "From Microsoft Entra")
    MICROSOFT_DISCOVERY_URL: str = _set(
        "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
        "Where Microsoft's endpoints and keys are described; a tenant's id in the place of common lets in that tenant alone",
    )
    APPLE_CLIENT_ID: str = _set("", "The Services ID; without it Apple sign-in is off")
    APPLE_TEAM_ID: str = _set("", "The ten characters of the developer team")
    APPLE_KEY_ID: str = _set("", "The ten characters of the key for Sign in with Apple")
    APPLE_PRIVATE_KEY: str = _set("", "That key, the .p8 file as PEM (line ends may be written as \\n); it signs our client secret")
    APPLE_DISCOVERY_URL: str = _set(
        "https://appleid.apple.com/.well-known/openid-configuration", "Where Apple's endpoints and keys are described"
    )
    GITHUB_CLIENT_ID: str = _set("", "Of an OAuth app; without it GitHub sign-in is off")
    GITHUB_CLIENT_SECRET: str = _set("", "Of the OAuth app")
    GITHUB_URL: str = _set("https://github.com", "Or that of a GitHub Enterprise Server")
    GITHUB_API_URL: str = _set("https://api.github.com", "Its API; of a GitHub Enterprise Server its address with /api/v3")
    DISCORD_CLIENT_ID: str = _set("", "From the Discord developer portal; without it Discord sign-in is off")
    DISCORD_CLIENT_SECRET: str = _set("", "From the Discord developer portal")
    DISCORD_URL: str = _set("https://discord.com", "Where Discord is")
    FACEBOOK_CLIENT_ID: str = _set("", "The app's ID; without it Facebook sign-in is off")
    FACEBOOK_CLIENT_SECRET: str = _set("", "The app's secret")
    FACEBOOK_URL: str = _set("https://www.facebook.com", "Where Facebook's dialogs are")
    FACEBOOK_API_URL: str = _set("https://graph.facebook.com", "The Graph API")
    OIDC_PROVIDERS: str = _set(
        "", "Names of other OpenID providers, comma-separated; each with <NAME>_CLIENT_ID, <NAME>_CLIENT_SECRET, <NAME>_DISCOVERY_URL"
    )

    JOBS_IN_PROCESS: bool = _set(True, "Run the scheduled jobs inside the API's processes")
    SECURITY_CONTACT: str = _set(
        "", "Where to report a weakness of this installation, in /.well-known/security.txt: mailto:, https or tel:, comma-separated"
    )
    METRICS_TOKEN: str = _set("", "Bearer token of /metrics; without one it is served in development only")
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _set("INFO", "How much is logged")
    LOG_FORMAT: Literal["text", "json"] = _set("text", "text or json")
    LOG_FILE: Path | None = _set(None, "INSTANCE_DIR/app.log when empty")

    DERIVED: ClassVar[tuple[str, ...]] = ("INSTANCE_DIR", "UPLOADS_DIR")  # Defaults that depend on the checkout.

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, .env, then the YAML page of APP_ENV (which the first three may name)."""
        named = {**dotenv_settings(), **env_settings(), **init_settings()}
        page = HERE / "environments" / f"{named.get('APP_ENV', 'development')}.yaml"
        return init_settings, env_settings, dotenv_settings, YamlConfigSettingsSource(settings_cls, yaml_file=page)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in values.items() if value != ""}
        others = {name: given[other] for name, other in OTHER_NAMES.items() if other in given}
        return others | given

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        fill = object.__setattr__  # The model is frozen for everybody else.
        if not self.SQLALCHEMY_DATABASE_URI:
            fill(self, "SQLALCHEMY_DATABASE_URI", f"sqlite:///{self.INSTANCE_DIR / 'gatehouse.db'}")
        fill(self, "SQLALCHEMY_DATABASE_URI", _with_driver(self.SQLALCHEMY_DATABASE_URI))
        if not self.REDIS_URL and self.REDIS_HOST:
            fill(self, "REDIS_URL", f"redis://{self.REDIS_HOST}:{self.REDIS_PORT}/0")
        for name in ("BASE_URL", "FRONTEND_URL", "GITHUB_URL", "GITHUB_API_URL", "DISCORD_URL", "FACEBOOK_URL", "FACEBOOK_API_URL"):
            fill(self, name, getattr(self, name).rstrip("/"))
        fill(self, "APPLE_PRIVATE_KEY", self.APPLE_PRIVATE_KEY.replace("\\n", "\n"))
        fill(self, "REQUIRE_MFA", self.REQUIRE_MFA.lower())  # As names of roles are.
        fill(self, "JWT_ISSUER", self.JWT_ISSUER or self.BASE_URL)
        fill(self, "LOG_FILE", self.LOG_FILE or self.INSTANCE_DIR / "app.log")
        return self

    @property
    def cors_origins(self) -> list[str]:
        """The exact origins of the list."""
        return keys(self.CORS_ORIGINS)

    @property
    def rp_id(self) -> str:
        """The domain that passkeys belong to (the RP ID of W3C WebAuthn)."""
        return self.PASSKEY_RP_ID.lower() or urlsplit(self.FRONTEND_URL or self.BASE_URL).hostname or ""

    @property
    def passkey_origins(self) -> list[str]:
        """The origins on which passkeys may be made and shown: those of ours at their domain or below it, as browsers write them."""
        ours = [urlsplit(url) for url in (self.FRONTEND_URL, self.BASE_URL, *self.cors_origins) if url]
        fit = [one for one in ours if f".{one.hostname}".endswith(f".{self.rp_id}")]
        return list(dict.fromkeys(f"{one.scheme}://{_host_and_port(one)}" for one in fit))

    @property
    def oidc_providers(self) -> list[str]:
        """The names of the OpenID providers that are there by configuration alone."""
        return keys(self.OIDC_PROVIDERS)

    @property
    def https(self) -> bool:
        """Whether people reach this server by https, so that cookies may be Secure."""
        return self.BASE_URL.startswith("https://")


settings: Settings  # Set by load(); read as config.settings.NAME.
BUILT_IN = tuple(name.removesuffix("_CLIENT_ID").lower() for name in Settings.model_fields if name.endswith("_CLIENT_ID"))


def keys(value: str) -> list[str]:
    """A comma-separated setting as a list, without blanks."""
    return [part.strip() for part in value.split(",") if part.strip()]


def network(text: str) -> Network:
    """A network of IP_ALLOW or IP_DENY; one of IPv4 that is written as IPv6 (RFC 4291 2.5.5.2) as what it is. `ValueError`."""
    found = ipaddress.ip_network(text)
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96 else None
    return ipaddress.IPv4Network((mapped, found.prefixlen - 96)) if mapped else found


def named(provider: str, what: str) -> str:
    """The name of a provider's setting, such as ACME_CLIENT_ID."""
    return f"{provider.upper().replace('-', '_')}_{what}"


def load(**given: Any) -> Settings:
    """Read the settings, make the secrets that are missing, refuse what production may not start with.

    `given` overrides every other source (tests, commands). Raises `Refusal` naming every fault at once.
    """
    global settings
    loaded = _read(given)
    loaded.INSTANCE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    faults = _faults(loaded)
    if faults:
        raise Refusal(faults, loaded)
    missing = {name: value for name, value in _kept_secrets(loaded).items() if not getattr(loaded, name)}
    settings = loaded.model_copy(update=missing)
    return settings


def version() -> str:
    """The version of this server: the first heading of CHANGELOG.md."""
    found = re.search(r"^## (\S+)", (HERE / "CHANGELOG.md").read_text(), re.MULTILINE)
    return found[1] if found else "unreleased"


def warnings(loaded: Settings) -> list[str]:
    """What is weak but allowed in production, a line each."""
    if loaded.APP_ENV != "production":
        return []
    found = []
    if not loaded.https:
        found.append("BASE_URL is plain http: tokens and passwords travel unencrypted")
    elif not loaded.FORCE_HTTPS:
        found.append("FORCE_HTTPS is off: plain http is answered, and browsers are not told to use https alone")
    if not loaded.REDIS_URL:
        found.append("REDIS_URL is not set: with several workers each counts its own limits")
    if loaded.SQLALCHEMY_DATABASE_URI.startswith("sqlite"):
        found.append("SQLALCHEMY_DATABASE_URI is SQLite: one writer at a time, one host only")
    if loaded.BCRYPT_ROUNDS < 12:
        found.append("BCRYPT_ROUNDS is below 12")
    if not loaded.MAIL_SERVER:
        found.append("MAIL_SERVER is not set: mail stays in INSTANCE_DIR/outbox")
    elif not (loaded.MAIL_USE_TLS or loaded.MAIL_USE_SSL):
        found.append("SMTP without TLS: MAIL_USE_TLS and MAIL_USE_SSL are both off")
    plain = [name for name, url in _provider_urls(loaded) if url.startswith("http://")]
    found += [f"{name} is plain http: whoever is in between can sign in as anybody" for name in plain]
    if loaded.CAPTCHA_VERIFY_URL.startswith("http://"):
        found.append("CAPTCHA_VERIFY_URL is plain http: whoever is in between can say who is a person")
    return found + _sms_warnings(loaded)


def _sms_warnings(loaded: Settings) -> list[str]:
    if loaded.SMS_PROVIDER == "off":
        return []
    found = []
    if loaded.SMS_PROVIDER == "console":
        found.append("SMS_PROVIDER is console: no text message leaves")
    elif loaded.SMS_URL.startswith("http://"):
        found.append("SMS_URL is plain http: codes and the gateway's password travel unencrypted")
    if not loaded.SMS_COUNTRIES:
        found.append("SMS_COUNTRIES is not set: no number may be enrolled")
    return found


def _read(given: dict[str, Any]) -> Settings:
    """The settings from every source. OIDC_PROVIDERS names some more, which are then read like all the others."""
    read = Settings(**given)
    names = [name for name in read.oidc_providers if _is_provider_name(name)]
    fields: Any = {named(name, what): (str, _set("", "Of a provider in OIDC_PROVIDERS")) for name in names for what in OIDC_SETTINGS}
    return create_model("Settings", __base__=Settings, **fields)(**given) if fields else read


def example() -> str:
    """The text of .env.example: every setting with its meaning and its default."""
    lines = ["# Every setting of Gatehouse. Generated from config.py by `make env-example`; all of them may stay unset."]
    for name, field in Settings.model_fields.items():
        default = "" if name in Settings.DERIVED or field.default is None else field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        lines += ["", f"# {field.description}.", f"# {name}={shown}".rstrip()]
    return "\n".join(lines) + "\n"


def _with_driver(uri: str) -> str:
    return re.sub(r"^(mysql|mariadb)://", r"\1+pymysql://", re.sub(r"^(postgres|postgresql)://", "postgresql+psycopg://", uri))


def _faults(loaded: Settings) -> list[str]:
    found = [f"CORS_ORIGINS: {origin!r} is not an exact origin" for origin in loaded.cors_origins if not _is_origin(origin)]
    for name in ("BASE_URL", "FRONTEND_URL", "PASSWORD_RANGE_URL"):
        url = getattr(loaded, name)
        if url and not _is_origin("/".join(url.split("/", 3)[:3])):
            found.append(f"{name}: {url!r} is not an http(s) address")
    wrong = [one for one in keys(loaded.SECURITY_CONTACT) if not re.fullmatch(r"(mailto:|https://|tel:)[!-~]+", one)]
    found += [f"SECURITY_CONTACT: {one!r} is no mailto:, https or tel: address" for one in wrong]
    found += [f"FERNET_KEY: key {n} is not a Fernet key" for n, key in enumerate(keys(loaded.FERNET_KEY), 1) if not _is_fernet(key)]
    kinds = ("lower", "upper", "digit", "symbol")
    found += [
        f"PASSWORD_COMPOSITION: {kind!r} is none of {', '.join(kinds)}" for kind in keys(loaded.PASSWORD_COMPOSITION) if kind not in kinds
    ]
    for name in keys(loaded.ALERTS_END_SESSIONS):
        if name not in ACCOUNT_ALERTS:
            found.append(f"ALERTS_END_SESSIONS: {name!r} is none of {', '.join(ACCOUNT_ALERTS)}")
    if loaded.PASSKEY_RP_ID and not loaded.passkey_origins:
        found.append(f"PASSKEY_RP_ID: none of FRONTEND_URL, BASE_URL and CORS_ORIGINS is at {loaded.PASSKEY_RP_ID!r} or below it")
    if loaded.MAIL_LINKS == "frontend" and not loaded.FRONTEND_URL:
        found.append("MAIL_LINKS is frontend, and FRONTEND_URL is not set")
    found += _stranger_faults(loaded) + _sms_faults(loaded) + _provider_faults(loaded)
    return found + (_secret_faults(loaded) if loaded.APP_ENV == "production" else [])


def _stranger_faults(loaded: Settings) -> list[str]:
    found = []
    for name in ("IP_ALLOW", "IP_DENY"):
        for one in keys(getattr(loaded, name)):
            try:
                network(one)
            except ValueError as error:
                found.append(f"{name}: {one!r} is no network ({error})")
    url = loaded.CAPTCHA_VERIFY_URL
    if url and not re.match(r"https?://[^/\s]+(/\S*)?\Z", url):
        found.append(f"CAPTCHA_VERIFY_URL: {url!r} is not an http(s) address")
    if url and not loaded.CAPTCHA_SECRET:
        found.append("CAPTCHA_VERIFY_URL is set, and CAPTCHA_SECRET is not set")
    return found


def _sms_faults(loaded: Settings) -> list[str]:
    needed = {"http": ("SMS_URL",), "twilio": ("SMS_USERNAME", "SMS_PASSWORD")}.get(loaded.SMS_PROVIDER, ())
    found = [f"SMS_PROVIDER is {loaded.SMS_PROVIDER}, and {name} is not set" for name in needed if not getattr(loaded, name)]
    if loaded.SMS_URL and not re.match(r"https?://[^/]", loaded.SMS_URL):
        found.append(f"SMS_URL: {loaded.SMS_URL!r} is not an http(s) address")
    countries = keys(loaded.SMS_COUNTRIES)
    return found + [f"SMS_COUNTRIES: {one!r} is no country of ISO 3166-1" for one in countries if not re.fullmatch(r"[A-Za-z]{2}", one)]


def _provider_faults(loaded: Settings) -> list[str]:
    others = loaded.oidc_providers
    found = [f"OIDC_PROVIDERS: {name!r} {why}" for name in others if (why := _unfit_name(name, others))]
    fit = [name for name in others if _is_provider_name(name)]
    required: list[tuple[str, tuple[str, ...]]] = [(name, OIDC_SETTINGS) for name in fit]
    required += [(name, whats) for name, whats in NEEDED.items() if getattr(loaded, named(name, "CLIENT_ID"))]
    for name, whats in required:
        because = "OIDC_PROVIDERS names " + name if name in fit else named(name, "CLIENT_ID") + " is set"
        found += [f"{because}, and {named(name, what)} is not set" for what in whats if not getattr(loaded, named(name, what))]
    if loaded.APPLE_PRIVATE_KEY and not _is_p256(loaded.APPLE_PRIVATE_KEY):
        found.append("APPLE_PRIVATE_KEY is not the PEM of a P-256 key")
    wrong = [name for name, url in _provider_urls(loaded) if url and not re.match(r"https?://[^/\s]+(/\S*)?\Z", url)]
    return found + [f"{name}: {getattr(loaded, name)!r} is not an http(s) address" for name in wrong]


def _provider_urls(loaded: Settings) -> list[tuple[str, str]]:
    """The settings that say where a provider is."""
    names = [name for name in type(loaded).model_fields if name.endswith(("_DISCOVERY_URL", "_API_URL"))]
    return [(name, getattr(loaded, name)) for name in (*names, "GITHUB_URL", "DISCORD_URL", "FACEBOOK_URL")]


def _unfit_name(name: str, names: list[str]) -> str:
    """Why a provider can't have this name; empty if it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
        return "is not of a-z, 0-9, _ and -, beginning with a letter, 32 at most"
    if name in RESERVED or named(name, "") in {named(one, "") for one in BUILT_IN}:
        return "is reserved" if name in RESERVED else "is built in"
    twins = [one for one in names if named(one, "") == named(name, "")]
    return "is named twice" if len(twins) > 1 else ""


def _is_provider_name(name: str) -> bool:
    return not _unfit_name(name, [])


def _secret_faults(loaded: Settings) -> list[str]:
    found = []
    for name in (*SECRET_NAMES, "PASSWORD_PEPPER"):
        values = keys(getattr(loaded, name))
        if not values and name in SECRET_NAMES:
            found.append(f"{name} is missing")
        for value in values:
            if value.lower() in SAMPLES or len(set(value)) < 8 or any(word in value.lower() for word in ("change-me", "changeme")):
                found.append(f"{name} is a sample")
            elif len(value) < 32:
                found.append(f"{name} is shorter than 32 characters")
    if keys(loaded.SECRET_KEY) and keys(loaded.SECRET_KEY) == keys(loaded.JWT_SECRET_KEY):
        found.append("SECRET_KEY and JWT_SECRET_KEY are the same")
    return found


def _is_origin(value: str) -> bool:
    """Whether it is scheme://host[:port] and nothing else: no path, no pattern (RFC 6454)."""
    exact = re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", value)
    try:
        return bool(exact and urlsplit(value).port != 0)
    except ValueError:  # A host in brackets that is no IPv6 address, or a port beyond 65535.
        return False


def _host_and_port(url: SplitResult) -> str:
    """As an origin has them: without the scheme's own port (RFC 6454 6.2)."""
    port = url.port if url.port != {"http": 80, "https": 443}.get(url.scheme) else None
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    return f"{host}:{port}" if port else host


def _is_fernet(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def _is_p256(pem: str) -> bool:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)


def _kept_secrets(loaded: Settings) -> dict[str, str]:
    """The secrets that were made for this instance, made now if there are none; readable by the owner only."""
    if loaded.APP_ENV == "production":
        return {}
    path = loaded.INSTANCE_DIR / "secrets.json"
    if not path.exists():
        made = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "FERNET_KEY": Fernet.generate_key().decode(),
        }
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(made, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # Of several workers that start at once, one wins and all read the same.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
