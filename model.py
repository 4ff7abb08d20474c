"""Every table on one page: columns, constraints, relations; no logic.

Secrets stand here only hashed (`_hash`) or encrypted (`_encrypted`). Times are aware and in UTC; columns that end in
`_epoch` are whole seconds since 1970, where a statement has to calculate with them.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(TypeDecorator[datetime]):
    """An aware moment, stored without its zone in UTC, to the microsecond, alike in every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """MariaDB and MySQL keep whole seconds unless they are asked for six digits."""
        return dialect.type_descriptor(DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in, naive UTC to the database."""
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC from the database, aware out."""
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    """What all tables share: named constraints, opaque ids, and text compared byte by byte."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime(), dict[str, Any]: JSON(), bytes: LargeBinary()}
    __table_args__: Any = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _with(*constraints: Any) -> tuple[Any, ...]:
    return (*constraints, Base.__table_args__)


def _id() -> Mapped[str]:
    return mapped_column(String(32), primary_key=True)


def _user(*, nullable: bool = False) -> Mapped[Any]:
    return mapped_column(String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=nullable, index=True)


class User(Base):
    """An account. It exists only once its mailbox is proven, or (`invited_at`) is waited for; `email` is in its one canonical form."""

    __tablename__ = "users"
    __table_args__: Any = _with(Index("ix_users_created_at_id", "created_at", "id"))

    id: Mapped[str] = _id()
    email: Mapped[str] = mapped_column(String(254), unique=True)
    username: Mapped[str | None] = mapped_column(String(32), unique=True)
    name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))  # One of: active, inactive.
    phone: Mapped[str | None] = mapped_column(String(32))
    bio: Mapped[str | None] = mapped_column(Text)
    locale: Mapped[str | None] = mapped_column(String(35))
    timezone: Mapped[str | None] = mapped_column(String(64))
    extra: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON(none_as_null=True))
    picture: Mapped[str | None] = mapped_column(String(80))  # A file's name in uploads/profile_pictures.
    mfa_enabled: Mapped[bool]
    mfa_asked_at: Mapped[datetime | None]  # Since when a second factor is asked of this user (REQUIRE_MFA); the grace runs from here.
    password_changed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    email_confirmed_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    invited_at: Mapped[datetime | None]  # Set while an invitation waits: nobody has proven the mailbox yet.
    app_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # What administrators note of a user.
    erase_at: Mapped[datetime | None] = mapped_column(index=True)  # Set by its owner's request for deletion; nobody signs in from then.


class SignUpAttempt(Base):
    """Somebody wants an account for an address. It reserves nothing; at most three are open per address (the slots)."""

    __tablename__ = "sign_up_attempts"
    __table_args__: Any = _with(UniqueConstraint("email", "slot"))

    id: Mapped[str] = _id()
    email: Mapped[str] = mapped_column(String(254))
    slot: Mapped[int | None]  # 1, 2 or 3 while it is open (4, 5 or 6 if the address had an account); empty once it has ended.
    username: Mapped[str | None] = mapped_column(String(32))
    name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(400))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Link(Base):
    """A link in a mail: random, for one purpose and one address, used once."""

    __tablename__ = "links"
    __table_args__: Any = _with(Index("ix_links_email_purpose", "email", "purpose"))

    id: Mapped[str] = _id()
    purpose: Mapped[str] = mapped_column(String(20))  # One of: confirm, reset, email_confirm, email_undo, not_me, restore.
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    user_id: Mapped[str | None] = _user(nullable=True)  # Of links that belong to an account, whatever its address is by then.
    attempt_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Code(Base):
    """A six-digit code that was mailed, for one purpose and one request (`subject`), with its wrong tries counted."""

    __tablename__ = "codes"
    __table_args__: Any = _with(Index("ix_codes_subject_purpose", "subject", "purpose"))

    id: Mapped[str] = _id()
    purpose: Mapped[str] = mapped_column(String(20))  # One of: confirm, sign_in, second_factor, step_up, enrol, prove.
    subject: Mapped[str] = mapped_column(String(64))
    email: Mapped[str] = mapped_column(String(254))
    user_id: Mapped[str | None] = mapped_column(String(32), index=True)  # No foreign key: the time of its check would tell of an account.
    code_hash: Mapped[str] = mapped_column(String(64))
    tries: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Session(Base):
    """One sign-in, behind every token pair. A row with `ended_at` is the blocklist's entry for all of its tokens.

    `generation` is that of the newest refresh token; tokens below `floor` were replaced by a step-up at `stepped_at`.
    """

    __tablename__ = "sessions"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    device_id: Mapped[str | None] = mapped_column(String(32))
    amr: Mapped[str] = mapped_column(String(80))  # RFC 8176 words, separated by spaces.
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(400))
    device_name: Mapped[str | None] = mapped_column(String(80))  # The user agent in words, made at sign-in.
    country: Mapped[str | None] = mapped_column(String(2))  # ISO 3166-1, where GEOIP_DB knows it.
    generation: Mapped[int]
    floor: Mapped[int]
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    rotated_at: Mapped[datetime]
    stepped_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime | None]
    tokens_expire_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(16))  # One of: revoked, expired.


class Device(Base):
    """A client that has signed in before: it has a failure budget of its own, and may be trusted for a while."""

    __tablename__ = "devices"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(400))
    name: Mapped[str | None] = mapped_column(String(80))  # The user agent in words.
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_used_at: Mapped[datetime]
    trusted_until: Mapped[datetime | None]


class PendingLogin(Base):
    """A sign-in between its first factor and its session; the ticket opens one stage only."""

    __tablename__ = "pending_logins"

    id: Mapped[str] = _id()
    ticket_hash: Mapped[str] = mapped_column(String(64), unique=True)
    stage: Mapped[str] = mapped_column(String(20))  # One of: second_factor, email_proven, enrolment.
    user_id: Mapped[str | None] = _user(nullable=True)
    email: Mapped[str] = mapped_column(String(254))
    amr: Mapped[str] = mapped_column(String(80))
    identity: Mapped[dict[str, Any] | None]  # What a provider said, while its address is still to be proven.
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Factor(Base):
    """A second factor of an account; it counts from `proven_at` on. `last_step` is the newest TOTP step accepted."""

    __tablename__ = "factors"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    type: Mapped[str] = mapped_column(String(16))  # One of: totp, email, sms.
    name: Mapped[str] = mapped_column(String(64))
    secret_encrypted: Mapped[bytes | None]  # The secret of a TOTP factor, the number of an SMS factor.
    last_step: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    proven_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """One of the ten codes for the day the second factor is lost."""

    __tablename__ = "recovery_codes"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None]


class Passkey(Base):
    """A WebAuthn credential of an account: the first factor, or the second. `sign_count` is the newest counter it showed."""

    __tablename__ = "passkeys"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    credential_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the id, which may have 1023 bytes.
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]  # COSE_Key (RFC 9052).
    sign_count: Mapped[int] = mapped_column(BigInteger)
    aaguid: Mapped[str] = mapped_column(String(36))  # The authenticator's model.
    transports: Mapped[list[str]] = mapped_column(JSON)
    backup_eligible: Mapped[bool]  # It may be synchronised to other devices, which never changes (W3C WebAuthn 3, 6.1.3).
    backed_up: Mapped[bool]  # It is synchronised.
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class SpentChallenge(Base):
    """A signed challenge that was answered, kept until it is over, so that it is taken once."""

    __tablename__ = "spent_challenges"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class PasswordHistory(Base):
    """A password that an account had, kept only where PASSWORD_HISTORY asks for it."""

    __tablename__ = "password_history"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    password_hash: Mapped[str] = mapped_column(String(255))
    replaced_at: Mapped[datetime]


class Identity(Base):
    """Somebody at an identity provider, known by (issuer, sub), who may come in as this account."""

    __tablename__ = "identities"
    __table_args__: Any = _with(UniqueConstraint("issuer", "sub"), UniqueConstraint("user_id", "provider"))

    id: Mapped[str] = _id()
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(32))
    issuer: Mapped[str] = mapped_column(String(255))
    sub: Mapped[str] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(254))
    linked_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class SocialFlow(Base):
    """A visit to an identity provider, from its start to the exchange of its one-time code."""

    __tablename__ = "social_flows"

    id: Mapped[str] = _id()
    provider: Mapped[str] = mapped_column(String(32))
    state_hash: Mapped[str] = mapped_column(String(64), unique=True)
    browser_hash: Mapped[str | None] = mapped_column(String(64))  # Of the cookie that ties the start to one browser.
    nonce: Mapped[str] = mapped_column(String(64))
    verifier_encrypted: Mapped[bytes]
    redirect_to: Mapped[str | None] = mapped_column(String(2000))
    code_challenge: Mapped[str | None] = mapped_column(String(64))
    link_user_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("users.id", ondelete="CASCADE"))
    link_session_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    code_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    code_expires_at: Mapped[datetime | None]
    code_used_at: Mapped[datetime | None]
    identity: Mapped[dict[str, Any] | None]  # What the provider said, kept until the code is exchanged.


class Mail(Base):
    """The outbox: written in the act's own transaction, delivered by a job. What it says is encrypted until it has left.

    A text message is a row of the same kind, whose recipient is a telephone number.
    """

    __tablename__ = "mails"
    __table_args__: Any = _with(Index("ix_mails_state_next_try_at", "state", "next_try_at"))

    id: Mapped[str] = _id()
    channel: Mapped[str] = mapped_column(String(8), server_default="mail")  # One of: mail, sms.
    state: Mapped[str] = mapped_column(String(16))  # One of: queued, sent, dead, withheld.
    template: Mapped[str] = mapped_column(String(32))
    to: Mapped[str] = mapped_column("recipient", String(254))
    about: Mapped[str | None] = mapped_column(String(32), index=True)  # The attempt whose end withdraws it, or of whom it tells another.
    locale: Mapped[str | None] = mapped_column(String(35))  # The language it is written in; empty: DEFAULT_LOCALE.
    values_encrypted: Mapped[bytes | None]
    tries: Mapped[int]
    last_error: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # Later it would be of no use, so it does not leave.
    sent_at: Mapped[datetime | None]


class MailCount(Base):
    """How many mails strangers have caused for one address, or messages for one number, in one window."""

    __tablename__ = "mail_counts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Budget(Base):
    """The failures of one caller on one account, for one kind of secret (OWASP ASVS 6.3.1, NIST SP 800-63B 5.2.2)."""

    __tablename__ = "budgets"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), index=True)
    failures: Mapped[int]
    in_a_row: Mapped[int]
    pause_seconds: Mapped[int]
    window_epoch: Mapped[int] = mapped_column(BigInteger)
    blocked_until_epoch: Mapped[int] = mapped_column(BigInteger)


class Service(Base):
    """A service that asks this server who calls and what they may do. The server itself is the service `gatehouse`."""

    __tablename__ = "services"

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(String(64), unique=True)
    description: Mapped[str | None] = mapped_column(String(500))
    is_active: Mapped[bool]
    created_at: Mapped[datetime]


class Role(Base):
    """A role of a service: a name for some permissions (`resource:action`)."""

    __tablename__ = "roles"
    __table_args__: Any = _with(UniqueConstraint("service_id", "name"))

    id: Mapped[str] = _id()
    service_id: Mapped[str] = mapped_column(String(32), ForeignKey("services.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(String(500))
    permissions: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]


class Assignment(Base):
    """A user has a role."""

    __tablename__ = "assignments"

    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role_id: Mapped[str] = mapped_column(String(32), ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True, index=True)
    assigned_at: Mapped[datetime]


class KnownPermission(Base):
    """A permission of the services, described once, so that roles and tokens can name it. The server's own stand in code."""

    __tablename__ = "permissions"

    name: Mapped[str] = mapped_column(String(129), primary_key=True)  # resource:action
    description: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime]


class AppToken(Base):
    """A token of a service (`gh_app_…`), whoever made it."""

    __tablename__ = "app_tokens"

    id: Mapped[str] = _id()
    service_id: Mapped[str] = mapped_column(String(32), ForeignKey("services.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    last8: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_by: Mapped[str | None] = mapped_column(String(64))  # An actor, as in the audit trail; no foreign key.
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    use_count: Mapped[int] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key by which a program acts for a user (`gh_key_…`), within its scopes."""

    __tablename__ = "api_keys"

    id: Mapped[str] = _id()
    user_id: Mapped[str] = _user()
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    last8: Mapped[str] = mapped_column(String(8))
    name: Mapped[str | None] = mapped_column(String(100))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    warned_at: Mapped[datetime | None]  # When its owner was told that it ends soon.
    last_used_at: Mapped[datetime | None]
    use_count: Mapped[int] = mapped_column(BigInteger)


class SigningKey(Base):
    """A key pair that signs tokens under ES256 or EdDSA. The newest signs; an older one verifies until `ends_at`."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)  # RFC 7638 thumbprint.
    algorithm: Mapped[str] = mapped_column(String(16))
    private_encrypted: Mapped[bytes]
    public: Mapped[dict[str, Any]]  # A JWK (RFC 7517).
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # When the last token that it signed is over; empty while it signs.


class Canary(Base):
    """A value under a key, by which a start finds out that it was given another one."""

    __tablename__ = "canaries"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value_encrypted: Mapped[bytes]


class AuditEvent(Base):
    """Who did what to whom, when, with which result. What tells a person (`ip` to `salt`) may be erased: the seal covers
    only its salted hash. `number` and `seal` come from the sealing job.
    """

    __tablename__ = "audit_events"
    __table_args__: Any = _with(Index("ix_audit_events_user_id_at", "user_id", "at"), Index("ix_audit_events_action_at", "action", "at"))

    id: Mapped[str] = _id()
    at: Mapped[datetime] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(48))
    result: Mapped[str] = mapped_column(String(48))  # success, or why not: the code of a refusal.
    actor: Mapped[str | None] = mapped_column(String(64))  # A user's id, or: operator, system; empty for a stranger.
    user_id: Mapped[str | None] = mapped_column(String(32))  # Whom it concerns; no foreign key, it outlives the account.
    session_id: Mapped[str | None] = mapped_column(String(32))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    ip: Mapped[str | None] = mapped_column(String(45))
    country: Mapped[str | None] = mapped_column(String(2))
    user_agent: Mapped[str | None] = mapped_column(String(400))
    name: Mapped[str | None] = mapped_column(String(320))  # An address or username, as it was typed.
    salt: Mapped[str | None] = mapped_column(String(32))
    personal_hash: Mapped[str] = mapped_column(String(64))
    number: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    seal: Mapped[str | None] = mapped_column(String(64))


class AuditChain(Base):
    """The end of the chain of sealed audit rows: one row, moved on by a guarded update."""

    __tablename__ = "audit_chain"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    seal: Mapped[str] = mapped_column(String(64))


class Alert(Base):
    """An alert that was raised; its key (rule and subject, hashed) and `raised_at` make it raised once in a window."""

    __tablename__ = "alerts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    rule: Mapped[str] = mapped_column(String(48))
    user_id: Mapped[str | None] = mapped_column(String(32))
    raised_at: Mapped[datetime] = mapped_column(index=True)


class JobLease(Base):
    """Who runs a job at present, and since when it may run again; taken by a guarded update."""

    __tablename__ = "job_leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(64))
    leased_until: Mapped[datetime]
    next_run_at: Mapped[datetime]


class JobRun(Base):
    """One run of a job: when, how long, what it did."""

    __tablename__ = "job_runs"
    __table_args__: Any = _with(Index("ix_job_runs_name_started_at", "name", "started_at"))

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(index=True)
    seconds: Mapped[float]
    affected: Mapped[int]
    result: Mapped[str] = mapped_column(String(200))


class ProviderDocument(Base):
    """What matters of an OpenID provider's description, as it was seen last; a change is taken by a guarded update."""

    __tablename__ = "provider_documents"

    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    discovery_url: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    document: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime]
