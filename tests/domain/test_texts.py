"""Text messages: to which numbers, how many, and what they say."""

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

import config
from domain import outbox, texts
from domain.errors import ValidationFailed
from tests.visitor import phone

pytestmark = pytest.mark.settings(SMS_PROVIDER="console", SMS_COUNTRIES="AT, de,US")


def example(country, kind):
    return phonenumbers.format_number(phonenumbers.example_number_for_type(country, kind), PhoneNumberFormat.E164)


def refusal(given):
    with pytest.raises(ValidationFailed) as refused:
        texts.number(given)
    ((field, code, _),) = refused.value.errors
    return field, code


def start(house, token, number):
    return house.post("/mfa", {"method": "sms", "phone": number}, token=token)


@pytest.mark.parametrize(
    "given",
    ["+436641234567", "+43 664 123 45 67", "+43 (0)664 / 123-4567", "\uff0b43 664 1234567", "tel:+43-664-1234567", " +436641234567 "],
)
def test_a_number_has_one_form(house, given):
    assert texts.number(given) == "+436641234567"


@pytest.mark.parametrize(
    "given", ["", "+", "x", "06641234567", "00436641234567", "+43664", "+999123456789", "+436641234567 ext. 12", "+43" + "1" * 25, "112"]
)
def test_what_is_no_number_of_the_world_is_refused(house, given):
    assert refusal(given) == ("phone", "invalid_phone")


@pytest.mark.parametrize("country", ["CH", "LV", "BD", "CA"])
def test_a_number_of_another_country_is_refused(house, country):
    assert refusal(example(country, PhoneNumberType.MOBILE)) == ("phone", "country_not_allowed")


@pytest.mark.parametrize(
    ("country", "kind"),
    [
        ("AT", PhoneNumberType.PREMIUM_RATE),
        ("AT", PhoneNumberType.SHARED_COST),
        ("AT", PhoneNumberType.TOLL_FREE),
        ("AT", PhoneNumberType.FIXED_LINE),
        ("DE", PhoneNumberType.PREMIUM_RATE),
        ("DE", PhoneNumberType.PAGER),
        ("US", PhoneNumberType.PREMIUM_RATE),
        ("US", PhoneNumberType.PERSONAL_NUMBER),
    ],
)
def test_only_numbers_of_telephones_that_people_carry_get_codes(house, country, kind):
    assert refusal(example(country, kind)) == ("phone", "not_mobile")


def test_where_fixed_and_mobile_numbers_look_alike_they_get_codes(house):
    assert texts.number("+12015550123") == "+12015550123"


@pytest.mark.settings(SMS_COUNTRIES="")
def test_without_a_list_of_countries_no_number_gets_codes(house):
    assert refusal("+436641234567") == ("phone", "country_not_allowed")


@pytest.mark.settings(SMS_PROVIDER="off")
def test_without_a_gateway_the_method_is_refused(house, email):
    token = house.member(email)["access_token"]
    for number in ("+436641234567", "nonsense"):
        answer = start(house, token, number)
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, "method")
    assert house.post("/mfa", {"method": "sms"}, token=token).json["errors"][0]["field"] == "method"


def test_a_message_is_short_and_says_what_the_code_is_for(house, email):
    number = phone()
    start(house, house.member(email)["access_token"], number)
    (text,) = house.telephones.of(number)
    code = house.telephones.code(number)
    assert (
        text == f"{code} is your code to turn on codes by text message at Gatehouse. It works once, within 10 minutes. Give it to nobody.\n"
    )
    assert len(text) < 160


@pytest.mark.settings(SMS_LIMIT="2 per hour; 3 per day")
def test_a_number_gets_so_many_and_who_asked_is_told(house, email, still_clock):
    still_clock()
    number, token = phone(), house.member(email)["access_token"]
    assert [start(house, token, number).status for _ in range(2)] == [200, 200]
    refused = start(house, token, number)
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 3601
    assert len(house.telephones.of(number)) == 2


@pytest.mark.settings(SMS_LIMIT="2 per day")
def test_a_refused_message_takes_nothing_from_the_other_counts_and_ends_no_code(house, email, still_clock):
    still_clock()
    full, token, other = phone(), house.member(email)["access_token"], house.member()["access_token"]
    assert start(house, token, full).status == 200
    house.telephones.code(full)  # Delivered by itself: with the clock stopped nothing else says which of the two is newer.
    assert start(house, token, full).status == 200
    code = house.telephones.code(full)
    assert start(house, token, full).code == "rate_limited"
    assert start(house, token, phone()).code == "rate_limited", "the account has had its messages"
    assert house.post("/mfa", {"method": "sms", "code": code}, token=token).status == 200
    assert start(house, other, full).code == "rate_limited", "so has the number"


@pytest.mark.settings(SMS_LIMIT="2 per day")
def test_an_address_causes_so_many_whoever_signs_in_there(house, still_clock):
    still_clock()
    tokens = [house.member()["access_token"] for _ in range(3)]
    assert [start(house, token, phone()).status for token in tokens] == [200, 200, 429]


@pytest.mark.settings(SMS_LIMIT="2 per day", TRUSTED_PROXIES=1)
def test_of_an_ipv6_address_the_network_counts(house, still_clock):
    still_clock()
    tokens = [house.member()["access_token"] for _ in range(4)]
    froms = ["2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:1::3", "2001:db8:1:2::1"]
    bodies = [{"method": "sms", "phone": phone()} for _ in froms]
    answers = [
        house.post("/mfa", body, token=token, headers={"X-Forwarded-For": address})
        for body, token, address in zip(bodies, tokens, froms, strict=True)
    ]
    assert [one.status for one in answers] == [200, 200, 429, 200]


@pytest.mark.settings(SMS_DAILY_LIMIT=3)
def test_in_a_day_there_are_so_many_all_in_all(house):
    tokens = [house.member()["access_token"] for _ in range(4)]
    answers = [start(house, token, phone()) for token in tokens]
    assert [one.status for one in answers] == [200, 200, 200, 429]


def test_a_country_that_is_taken_from_the_list_gets_no_more_codes(house, email):
    number = phone()
    house.turn_on_sms(house.member(email)["access_token"], number)
    config.settings = config.settings.model_copy(update={"SMS_COUNTRIES": "DE"})
    waiting = house.login(email).json
    answer = house.post("/send-otp", {"mfa_token": waiting["mfa_token"], "method": "sms"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "method")
    assert len(house.telephones.of(number)) == 1


def test_a_message_that_would_come_after_its_end_does_not_leave(house, email, moved_clock):
    number = phone()
    start(house, house.member(email)["access_token"], number)
    moved_clock(601)
    assert house.telephones.of(number) == []
    assert outbox.deliver(outbox.SMS, now=True) == 0
