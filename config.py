"""Every setting once: its name, type, default and meaning.

A setting comes from the environment, else from `.env`, else from `environments/<APP_ENV>.yaml`, else from its default
here. `config.settings` is the configuration in force; `load()` makes it. `.env.example` is generated from this page.
"""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import Field, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

HERE = Path(__file__).resolve().parent
SAMPLES = {"change-me", "changeme", "secret", "dev", "sample", "your-secret-key", "password"}
OTHER_NAMES = {"SQLALCHEMY_DATABASE_URI": "DATABASE_URI", "GOOGLE_DISCOVERY_URL": "SERVER_METADATA_URL"}  # Of earlier systems.
SECRET_NAMES = ("SECRET_KEY", "JWT_SECRET_KEY", "FERNET_KEY")


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
    FORCE_HTTPS: bool = _set(False, "Refuse plain http, and send Strict-Transport-Security")
    TRUSTED_PROXIES: int = _set(0, "How many proxies in front add to X-Forwarded-For", ge=0)

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
    TRUSTED_DEVICE_DAYS: int = _set(30, "How long a trusted device stands for the second factor", ge=1)

    CONFIRMATION_SECONDS: int = _set(86400, "Life of a confirmation link", ge=60)
    RESET_SECONDS: int = _set(3600, "Life of a reset link", ge=60)
    OTP_SECONDS: int = _set(600, "Life of a mailed code", ge=30)
    MFA_TICKET_SECONDS: int = _set(300, "Time to finish a sign-in after its first factor", ge=30)

    FAILED_ATTEMPTS_LIMIT: int = _set(5, "Wrong passwords or codes before a pause", ge=1)
    LOCKOUT_WINDOW_SECONDS: int = _set(900, "In which window failures are counted", ge=1)
    BCRYPT_ROUNDS: int = _set(12, "Cost of a password hash (2^n)", ge=4, le=20)
    PASSWORD_MIN_LENGTH: int = _set(12, "In code points", ge=8, le=64)
    PREVENT_ENUMERATION: bool = _set(True, "Never tell whether an address has an account")

    RATE_LIMIT_ENABLED: bool = _set(True, "Limits by address and user (never the failure budgets and MAIL_LIMIT)")
    RATE_LIMIT_ANONYMOUS: str = _set("200 per day; 50 per hour", "An address without a valid credential, all operations")
    RATE_LIMIT_SENSITIVE: str = _set("5 per minute", "An address at each of login, send-otp, verify-otp, …")
    RATE_LIMIT_REQUESTS: int = _set(600, "Requests of a signed-in user per RATE_LIMIT_WINDOW", ge=1)
    RATE_LIMIT_WINDOW: int = _set(60, "The window of RATE_LIMIT_REQUESTS", ge=1)
    MAIL_LIMIT: str = _set("10 per hour; 40 per day", "Mails to one address that strangers can cause")

    MAIL_SERVER: str = _set("", "SMTP host; when empty, mail becomes .eml files in INSTANCE_DIR/outbox")
    MAIL_PORT: int = _set(587, "SMTP port")
    MAIL_USE_TLS: bool = _set(True, "STARTTLS")
    MAIL_USE_SSL: bool = _set(False, "TLS from the first byte (port 465)")
    MAIL_USERNAME: str = _set("", "SMTP user")
    MAIL_PASSWORD: str = _set("", "SMTP password (for Gmail: an app password)")
    MAIL_DEFAULT_SENDER: str = _set("Gatehouse <no-reply@localhost>", "From whom the mails are")
    MAIL_TIMEOUT: int = _set(20, "How long to wait for the SMTP server", ge=1)
    MAIL_LINKS: Literal["api", "frontend"] = _set("api", "Whether links lead to BASE_URL or to FRONTEND_URL")

    GOOGLE_CLIENT_ID: str = _set("", "From the Google console; without it Google sign-in is off")
    GOOGLE_CLIENT_SECRET: str = _set("", "From the Google console")
    GOOGLE_DISCOVERY_URL: str = _set(
        "https://accounts.google.com/.well-known/openid-configuration", "Where Google's endpoints and keys are described"
    )
    SERVER_METADATA_URL: str = _set("", "Read where GOOGLE_DISCOVERY_URL is not set")

    JOBS_IN_PROCESS: bool = _set(True, "Run the scheduled jobs inside the API's processes")
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
        for name in ("BASE_URL", "FRONTEND_URL"):
            fill(self, name, getattr(self, name).rstrip("/"))
        fill(self, "JWT_ISSUER", self.JWT_ISSUER or self.BASE_URL)
        fill(self, "LOG_FILE", self.LOG_FILE or self.INSTANCE_DIR / "app.log")
        return self

    @property
    def cors_origins(self) -> list[str]:
        """The exact origins of the list."""
        return keys(self.CORS_ORIGINS)

    @property
    def https(self) -> bool:
        """Whether people reach this server by https, so that cookies may be Secure."""
        return self.BASE_URL.startswith("https://")


settings: Settings  # Set by load(); read as config.settings.NAME.


def keys(value: str) -> list[str]:
    """A comma-separated setting as a list, without blanks."""
    return [part.strip() for part in value.split(",") if part.strip()]


def load(**given: Any) -> Settings:
    """Read the settings, make the secrets that are missing, refuse what production may not start with.

    `given` overrides every other source (tests, commands). Raises `Refusal` naming every fault at once.
    """
    global settings
    loaded = Settings(**given)
    loaded.INSTANCE_DIR.mkdir(parents=True, exist_ok=True)
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
    return found


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
    for name in ("BASE_URL", "FRONTEND_URL"):
        url = getattr(loaded, name)
        if url and not _is_origin("/".join(url.split("/", 3)[:3])):
            found.append(f"{name}: {url!r} is not an http(s) address")
    found += [f"FERNET_KEY: key {n} is not a Fernet key" for n, key in enumerate(keys(loaded.FERNET_KEY), 1) if not _is_fernet(key)]
    if loaded.MAIL_LINKS == "frontend" and not loaded.FRONTEND_URL:
        found.append("MAIL_LINKS is frontend, and FRONTEND_URL is not set")
    return found + (_secret_faults(loaded) if loaded.APP_ENV == "production" else [])


def _secret_faults(loaded: Settings) -> list[str]:
    found = []
    for name in SECRET_NAMES:
        values = keys(getattr(loaded, name))
        if not values:
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


def _is_fernet(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


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
