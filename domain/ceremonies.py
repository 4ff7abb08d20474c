"""The two ceremonies of W3C Web Authentication Level 3: what a browser is asked for, and the judgement of what it brings back.

py_webauthn reads and verifies; here stands what this server asks of it: our own challenge, for this purpose and subject, an origin
of ours, no frame of another site's, and one of three signature algorithms. Attestation is not asked for: nobody is kept out for
the make of their authenticator.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import webauthn
from webauthn.helpers import bytes_to_base64url, options_to_json_dict, parse_client_data_json, parse_registration_credential_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

import config
from domain import challenges, limits
from model import Passkey, User

REGISTER, SIGN_IN, SECOND_FACTOR, STEP_UP = "passkey.register", "passkey.sign_in", "passkey.second_factor", "passkey.step_up"
ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
LONGEST_ID = 1023  # Bytes of a credential's id (7.1, step 25).

Credential = dict[str, Any]  # What `PublicKeyCredential.toJSON()` gives.


class Registered(NamedTuple):
    """A new credential, verified, and the challenge that it answers."""

    challenge: bytes
    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: str
    transports: list[str]
    backup_eligible: bool
    backed_up: bool


class Shown(NamedTuple):
    """A credential that was shown, verified, and the challenge that it answers; `verified` is user verification (PIN, finger, face)."""

    challenge: bytes
    sign_count: int
    backed_up: bool
    verified: bool


def creation_options(user: User, known: Sequence[Passkey], subject: str) -> dict[str, Any]:
    """PublicKeyCredentialCreationOptionsJSON (5.4, 5.1.8) for a user; the authenticators of the `known` passkeys refuse."""
    preferred = AuthenticatorSelectionCriteria(
        resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
    )
    options = webauthn.generate_registration_options(
        rp_id=config.settings.rp_id,
        rp_name=config.settings.rp_id,
        user_id=_handle(user.id),
        user_name=user.email,
        user_display_name=user.name or user.email,
        challenge=challenges.make(REGISTER, subject, limits.CEREMONY_SECONDS),
        timeout=limits.CEREMONY_SECONDS * 1000,
        authenticator_selection=preferred,
        exclude_credentials=_descriptors(known),
        supported_pub_key_algs=ALGORITHMS,
    )
    return options_to_json_dict(options)


def request_options(purpose: str, subject: str, allowed: Sequence[Passkey], *, verify: bool) -> dict[str, Any]:
    """PublicKeyCredentialRequestOptionsJSON (5.5, 5.1.9): one of the `allowed` passkeys, or without any whichever the user picks."""
    options = webauthn.generate_authentication_options(
        rp_id=config.settings.rp_id,
        challenge=challenges.make(purpose, subject, limits.CEREMONY_SECONDS),
        timeout=limits.CEREMONY_SECONDS * 1000,
        allow_credentials=_descriptors(allowed),
        user_verification=UserVerificationRequirement.REQUIRED if verify else UserVerificationRequirement.PREFERRED,
    )
    return options_to_json_dict(options)


def register(credential: Credential, subject: str) -> Registered | None:
    """Judge a new credential (7.1); None whatever is wrong with it. Whether its challenge was taken is left to the act."""
    challenge = _challenge(credential, REGISTER, subject)
    if challenge is None:
        return None
    try:
        found = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=config.settings.rp_id,
            expected_origin=config.settings.passkey_origins,
            supported_pub_key_algs=ALGORITHMS,
        )
        transports = parse_registration_credential_json(credential).response.transports or []
    except Exception:  # Whatever bytes of somebody's make the parsers raise.
        return None
    if len(found.credential_id) > LONGEST_ID or webauthn.base64url_to_bytes(credential["id"]) != found.credential_id:
        return None
    return Registered(
        challenge,
        found.credential_id,
        found.credential_public_key,
        found.sign_count,
        found.aaguid,
        sorted({one.value for one in transports}),
        found.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        found.credential_backed_up,
    )


def show(credential: Credential, passkey: Passkey, purpose: str, subject: str) -> Shown | None:
    """Judge an answer by a passkey (7.2); None whatever is wrong with it.

    Its counter and its challenge are left to the act, which takes both by guarded statements.
    """
    challenge = _challenge(credential, purpose, subject)
    if challenge is None:
        return None
    try:
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=config.settings.rp_id,
            expected_origin=config.settings.passkey_origins,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,
        )
        held = credential["response"].get("userHandle")
        whose = webauthn.base64url_to_bytes(held) if held is not None else None
    except Exception:  # Whatever bytes of somebody's make the parsers raise.
        return None
    # Where nobody is known before, the authenticator has to say whose passkey it is (7.2, step 6).
    right = whose == _handle(passkey.user_id) or (whose is None and purpose != SIGN_IN)
    eligible = found.credential_device_type is CredentialDeviceType.MULTI_DEVICE
    if not right or found.credential_id != passkey.credential_id or eligible != passkey.backup_eligible:
        return None
    return Shown(challenge, found.new_sign_count, found.credential_backed_up, found.user_verified)


def written(credential_id: bytes) -> str:
    """A credential's id as browsers write it: base64url without padding."""
    return bytes_to_base64url(credential_id)


def _handle(user_id: str) -> bytes:
    """What an authenticator keeps of the user: the bytes of the id, which say nothing about a person (14.6.1)."""
    return user_id.encode()


def _challenge(credential: Credential, purpose: str, subject: str) -> bytes | None:
    """The challenge that a credential says it answers, if that is ours for this purpose and subject."""
    try:
        said = parse_client_data_json(webauthn.base64url_to_bytes(credential["response"]["clientDataJSON"]))
        ours = not said.cross_origin and challenges.holds(purpose, subject, said.challenge)
    except Exception:  # As above.
        return None
    return said.challenge if ours else None


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(id=one.credential_id, transports=[AuthenticatorTransport(way) for way in one.transports])
        for one in passkeys
    ]
