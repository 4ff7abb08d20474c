"""Text messages with codes: to which numbers, and how many.

Every message costs money, so a stranger with an account could make a bill ("SMS pumping"): only mobile numbers of
SMS_COUNTRIES, and caps per number, account, client address and day. Who meets a cap is told, and nothing is sent.
"""

from collections.abc import Iterator, Mapping

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from sqlalchemy.orm import Session as Database

import config
from domain import audit, caps, mail
from domain.caller import Client
from domain.errors import Fault, RateLimited, ValidationFailed
from model import User
from outbound import sms

OFF = "off"  # Of SMS_PROVIDER.
PERSONAL = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
INVALID = Fault("phone", "invalid_phone", "This is no telephone number in its international form, such as +43 664 1234567.")
NO_COUNTRY = Fault("phone", "country_not_allowed", "Numbers of this country get no codes here.")
NO_MOBILE = Fault("phone", "not_mobile", "Codes go to mobile numbers only.")
NOT_AVAILABLE = Fault("method", "not_available", "No text messages are sent from here, or to this number.")


def number(phone: str) -> str:
    """A telephone number in its one form (E.164), if codes may go there; `ValidationFailed`."""
    if config.settings.SMS_PROVIDER == OFF:
        raise ValidationFailed(errors=[NOT_AVAILABLE])
    parsed = _parsed(phone)
    if parsed is None:
        raise ValidationFailed(errors=[INVALID])
    if phonenumbers.region_code_for_number(parsed) not in config.keys(config.settings.SMS_COUNTRIES.upper()):
        raise ValidationFailed(errors=[NO_COUNTRY])
    if phonenumbers.number_type(parsed) not in PERSONAL:
        raise ValidationFailed(errors=[NO_MOBILE])
    return str(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))


def masked(to: str) -> str:
    """A number as it may be shown: its country and its last two digits."""
    return sms.masked(to)


def send_code(db: Database, user: User, to: str, values: Mapping[str, str], client: Client) -> None:
    """Put a message with a code into the outbox. `RateLimited` over a cap; `ValidationFailed` if the number gets none any more."""
    try:
        number(to)
    except ValidationFailed:
        raise ValidationFailed(errors=[NOT_AVAILABLE]) from None
    full = next(filter(None, (caps.take(db, name, limit) for name, limit in _caps(user, to, client))), None)
    if full:
        raise RateLimited("No more text messages at present.", retry_after=caps.seconds_left(full))
    mail.send(db, "code_sms", to, values, channel=mail.SMS, locale=user.locale, about=user.id)
    audit.note(db, "code.texted", user.id, client, actor=user.id, purpose=values["purpose"])


def _parsed(phone: str) -> PhoneNumber | None:
    """The number that this is, if it can be one. Without a country it would depend on who reads it, so there has to be a plus."""
    try:
        parsed = phonenumbers.parse(phone)
    except NumberParseException:
        return None
    return parsed if phonenumbers.is_valid_number(parsed) and not parsed.extension else None


def _caps(user: User, to: str, client: Client) -> Iterator[tuple[str, str]]:
    """What a message counts for, and how many of each there may be. Always in this order, so that two acts never wait for each
    other both.
    """
    for name in (f"texts to {to}", f"texts for {user.id}", f"texts from {client.network}"):
        yield name, config.settings.SMS_LIMIT
    yield "texts", f"{config.settings.SMS_DAILY_LIMIT} per day"
