"""TOTP codes: which steps are accepted, that none is accepted again, and what an authenticator app is told."""

from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from cryptography.fernet import Fernet

import config
from domain import clock, secrets, totp
from domain.database import new_id, reading, transaction
from model import Factor, User
from tests.attacks.acts import account, wide

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def factors(cellar, email, still_clock):
    """Two factors with one secret, of one account."""
    still_clock()
    user_id, now = account(email, None), clock.now()
    made = [
        Factor(
            id=new_id(),
            user_id=user_id,
            type="totp",
            name=name,
            secret_encrypted=secrets.encrypt(SECRET),
            last_step=0,
            created_at=now,
            proven_at=now,
        )
        for name in ("Phone", "Tablet")
    ]
    with transaction() as db:
        db.add_all(made)
    return made


def now_step():
    return clock.epoch() // 30


def tried(factor, code):
    """Whether a code is accepted now, and the factor as it is afterwards."""
    with transaction() as db:
        right = totp.accept(db, factor, code)
    with reading() as db:
        return right, db.get(Factor, factor.id)


@pytest.mark.parametrize(("offset", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_for_its_own_step_and_those_beside_it(factors, offset, right):
    accepted, factor = tried(factors[0], pyotp.TOTP(SECRET).generate_otp(now_step() + offset))
    assert accepted == right
    assert (factor.last_step, factor.last_used_at) == ((now_step() + offset, clock.now()) if right else (0, None))


def test_a_step_that_was_used_and_all_before_it_are_over_for_this_factor_alone(factors):
    app = pyotp.TOTP(SECRET)
    assert tried(factors[0], app.generate_otp(now_step()))[0]
    for step in (now_step(), now_step() - 1):
        assert not tried(factors[0], app.generate_otp(step))[0]
    other = tried(factors[1], "000000")[1]
    assert (other.last_step, other.last_used_at) == (0, None)
    assert tried(factors[0], app.generate_otp(now_step() + 1))[0]
    assert tried(factors[1], app.generate_otp(now_step() - 1))[0]


def test_a_code_that_several_steps_have_takes_the_newest_so_that_it_is_never_good_again(factors, monkeypatch):
    monkeypatch.setattr(pyotp.TOTP, "generate_otp", lambda *_: "123456")
    accepted, factor = tried(factors[0], "123456")
    assert accepted
    assert factor.last_step == now_step() + 1
    assert not tried(factors[0], "123456")[0]


@pytest.mark.parametrize("code", ["", "\ud800", "12345", "1234567", "½½½½½½", "None", "000000\0"])
def test_what_is_no_code_is_wrong_and_no_error(factors, code):
    assert not tried(factors[0], code)[0]


@pytest.mark.parametrize("kept", [Fernet(Fernet.generate_key()).encrypt(SECRET.encode()), None])
def test_a_factor_whose_secret_no_key_opens_has_no_right_code_and_raises_nothing(factors, kept):
    factors[0].secret_encrypted = kept
    for code in (pyotp.TOTP(SECRET).generate_otp(now_step()), ""):
        accepted, factor = tried(factors[0], code)
        assert (accepted, factor.last_step, factor.last_used_at) == (False, 0, None)


def test_the_digits_of_any_script_with_blanks_anywhere_are_the_digits():
    assert totp.plain_digits(f" {wide('123')}\u00a0{wide('456')}\n") == "123456"
    assert totp.plain_digits("\U0001d7ed\U0001d7ee\U0001d7ef 456") == "123456"


@pytest.mark.parametrize(
    "typed", ["jbswy3dpehpk3pxpjbswy3dpehpk3pxp", "JBSW Y3DP EHPK 3PXP\tJBSW Y3DP EHPK 3PXP", f"{SECRET}===", f" {SECRET}="]
)
def test_a_secret_from_elsewhere_has_one_form(typed):
    assert totp.canonical_secret(typed) == SECRET
    ends_in_x = totp.canonical_secret(typed.replace("P", "X").replace("p", "x"))
    assert ends_in_x == SECRET.replace("P", "X")


@pytest.mark.parametrize("typed", ["", "JBSWY3DP", "not base 32, and long enough for one", f"={SECRET}", "1" * 32])
def test_what_is_no_secret_or_a_short_one_is_refused(typed):
    with pytest.raises(ValueError, match=r"^is not base 32 of 112 bits or more$"):
        totp.canonical_secret(typed)


@pytest.mark.parametrize(
    ("base", "issuer"),
    [
        ("https://auth.example.com:8443/x", "auth.example.com"),
        ("https://auth.example.com", "auth.example.com"),
        ("http://127.0.0.1:5000", "Gatehouse"),
    ],
)
def test_an_app_is_told_the_secret_the_account_and_who_asks(cellar, monkeypatch, base, issuer):
    monkeypatch.setattr(config, "settings", config.settings.model_copy(update={"BASE_URL": base}))
    told = urlsplit(totp.uri(SECRET, User(email="jo@example.com")))
    assert (told.scheme, told.netloc, unquote(told.path)) == ("otpauth", "totp", f"/{issuer}:jo@example.com")
    assert parse_qs(told.query) == {"secret": [SECRET], "issuer": [issuer]}


def test_the_picture_is_of_the_uri_and_small_enough_for_any_page():
    pictures = {totp.qr_code(totp.uri(SECRET, User(email=email))) for email in ("jo@example.com", "al@example.com")}
    assert len(pictures) == 2
    assert {one[:19] for one in pictures} == {"data:image/svg+xml;"}


def test_a_new_secret_has_160_bits_and_is_its_own():
    made = {totp.new_secret() for _ in range(20)}
    assert len(made) == 20
    assert {len(one) for one in made} == {32}
    assert {totp.canonical_secret(one) for one in made} == made
