"""What is held on a person: every table, every column, whose rows, and what of them the person gets to see (GDPR art. 15, 20).

The export is written from here. A test goes through the model: a new column is either shown, or left out for one of the
reasons below.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from domain import budgets
from model import (
    Alert,
    ApiKey,
    AppToken,
    Assignment,
    AuditEvent,
    Base,
    Budget,
    Code,
    Device,
    Factor,
    Identity,
    Link,
    Mail,
    Passkey,
    PendingLogin,
    RecoveryCode,
    Session,
    SignUpAttempt,
    SocialFlow,
    User,
)


class Person(NamedTuple):
    """Whose things: the account's id, the addresses whose mailbox it has proven, unless another account has one by now, its
    username, which stands in place of an address where a sign-in by it has failed, and how providers know it: (issuer, sub).
    """

    id: str
    addresses: tuple[str, ...] = ()
    username: str | None = None
    identities: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What a letter, link or code may be addressed to."""
        return (*self.addresses, self.username) if self.username else self.addresses


class Held(NamedTuple):
    """What is held in one table: its name in the export, the table, which rows are a person's, and which columns are shown."""

    name: str
    table: type[Base]
    whose: Callable[[Person], ColumnElement[bool]]
    columns: str


def _by(column: InstrumentedAttribute[str]) -> Callable[[Person], ColumnElement[bool]]:
    return lambda person: column == person.id


def _at(address: InstrumentedAttribute[Any], owner: InstrumentedAttribute[str | None]) -> Callable[[Person], ColumnElement[bool]]:
    """The person's rows, and those that nobody owns for one of the person's addresses."""
    return lambda person: or_(owner == person.id, and_(owner.is_(None), address.in_(person.names)))


HELD = (
    Held(
        "profile",
        User,
        _by(User.id),
        "id email username name status phone bio locale timezone metadata mfa_enabled mfa_asked_at password_changed_at created_at "
        "email_confirmed_at last_login_at invited_at app_metadata erase_at",
    ),
    Held("identities", Identity, _by(Identity.user_id), "provider issuer sub email linked_at last_used_at"),
    Held("roles", Assignment, _by(Assignment.user_id), "role_id assigned_at"),
    Held("factors", Factor, _by(Factor.user_id), "id type name created_at proven_at last_used_at"),
    Held("recovery_codes", RecoveryCode, _by(RecoveryCode.user_id), "used_at"),
    Held("passkeys", Passkey, _by(Passkey.user_id), "id name aaguid transports backup_eligible backed_up created_at last_used_at"),
    Held(
        "sessions",
        Session,
        _by(Session.user_id),
        "id device_id amr ip user_agent device_name country created_at authenticated_at stepped_at rotated_at last_seen_at expires_at "
        "ended_at end_reason",
    ),
    Held("devices", Device, _by(Device.user_id), "id ip user_agent name created_at expires_at last_used_at trusted_until"),
    Held(
        "api_keys",
        ApiKey,
        _by(ApiKey.user_id),
        "id last8 name scopes created_at expires_at revoked_at warned_at last_used_at use_count",
    ),
    Held("application_tokens_made", AppToken, lambda person: AppToken.created_by == person.id, "id name created_at"),
    Held(
        "events",
        AuditEvent,
        lambda person: or_(AuditEvent.actor == person.id, _at(AuditEvent.name, AuditEvent.user_id)(person)),
        "id at action result actor user_id session_id facts ip country user_agent name",
    ),
    Held("alerts", Alert, lambda person: Alert.user_id == person.id, "rule raised_at"),
    Held(
        "sign_ups",
        SignUpAttempt,
        lambda person: SignUpAttempt.email.in_(person.addresses),
        "email username name ip user_agent created_at expires_at",
    ),
    Held("links", Link, _at(Link.email, Link.user_id), "purpose email created_at expires_at used_at ended_at"),
    Held("codes", Code, _at(Code.email, Code.user_id), "purpose email tries created_at expires_at used_at"),
    Held("pending_sign_ins", PendingLogin, _at(PendingLogin.email, PendingLogin.user_id), "stage email amr created_at expires_at used_at"),
    Held(
        "visits_to_providers",
        SocialFlow,
        lambda person: SocialFlow.link_user_id == person.id,
        "provider redirect_to created_at expires_at used_at",
    ),
    Held(
        "mails",
        Mail,
        lambda person: Mail.to.in_(person.names),
        "channel state template recipient locale tries last_error created_at next_try_at expires_at sent_at",
    ),
    Held(
        "failed_tries",
        Budget,
        lambda person: Budget.account == budgets.account_hash(f"user:{person.id}"),
        "failures in_a_row pause_seconds window_epoch blocked_until_epoch",
    ),
)

# What nobody is shown, and why: columns, or whole tables. Whatever ends in `_hash` or `_encrypted` is a secret by its name.
LEFT_OUT = {
    "It stands in the export as a file.": "users.picture",
    "It says whose row it is, or which, and nothing else.": (
        "identities.id identities.user_id assignments.user_id factors.user_id recovery_codes.id recovery_codes.user_id passkeys.user_id "
        "sessions.user_id devices.user_id api_keys.user_id app_tokens.created_by alerts.user_id alerts.key sign_up_attempts.id "
        "sign_up_attempts.slot links.id links.user_id links.attempt_id codes.id codes.user_id codes.subject pending_logins.id "
        "pending_logins.user_id social_flows.id social_flows.link_user_id social_flows.link_session_id mails.id mails.about "
        "budgets.key budgets.account"
    ),
    "A counter or secret of a protocol.": (
        "factors.last_step sessions.generation sessions.floor sessions.tokens_expire_at "
        "passkeys.sign_count passkeys.credential_id passkeys.public_key "
        "social_flows.nonce social_flows.code_challenge social_flows.code_expires_at social_flows.code_used_at mails.claimed_until"
    ),
    "A provider said it of somebody who has not proven yet to be this person.": "pending_logins.identity social_flows.identity",
    "It belongs to a service.": (
        "app_tokens.service_id app_tokens.last8 app_tokens.scopes app_tokens.expires_at app_tokens.revoked_at app_tokens.last_used_at "
        "app_tokens.use_count services roles permissions"
    ),
    "It keeps the trail from being changed.": (
        "audit_events.salt audit_events.personal_hash audit_events.number audit_events.seal audit_chain"
    ),
    "Old passwords, hashed.": "password_history",
    "Counts under the hash of an address or a number, for a day at most.": "mail_counts",
    "It holds nothing of a person.": "spent_challenges signing_keys canaries job_leases job_runs provider_documents",
}
