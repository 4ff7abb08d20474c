"""What is refused as a password and why, and what is not; and that judging it takes no visible time."""

import random
import time

import pytest

import config
from domain import blocklist, strength

KNOWN = ("anna.smith@example.com", "anna85", "Anna Smith-Öster")
# Passwords of the README and of all tests, and others that people are told to use.
GOOD = [
    "correct horse battery staple",
    "correct horse battery",
    "a long enough password",
    "an entirely new password",
    "a brand new password of mine",
    "another long password",
    "seven-quiet-lanterns-42",
    "Ångström über façade €",
    "anna likes green tea and rain",
    "gatehouse keepers sleep late",
    "kT9#vq2Lw!xz",
    "8346 1928 5571 0923",
    "пароль из четырёх слов",
    "古池や蛙飛びこむ水の音芭蕉翁",
    "purple monkey dishwasher 2024",
]
REFUSED = {
    "123456789012": {"common", "too_guessable"},
    "passwordpassword": {"too_guessable"},
    "Password1234": {"common", "too_guessable"},
    "Sunshine!2024": {"common"},
    "!!trustno1!!": {"common"},
    "qwertyuiop[]": {"too_guessable"},
    "aaaaaaaaaaaaaaaa": {"too_guessable"},
    "abcabcabcabcabc": {"too_guessable"},
    "anna.smith1985": {"own_words"},
    "ANNA85anna85": {"own_words"},
    "Smith-Oster!!": {"own_words"},
    "example.com 24": {"own_words"},
    "Gatehouse-2024": {"common", "own_words"},
    "4nn4 5m1th 85": {"own_words"},
    "4nn@85@nn@85": {"own_words"},
}


@pytest.fixture(autouse=True)
def house(tmp_path):
    config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path)


def settings(**values):
    config.settings = config.settings.model_copy(update=values)


def codes(password, known=KNOWN):
    return {fault.code for fault in strength.faults("password", password, known)}


@pytest.mark.parametrize("password", GOOD)
def test_what_people_are_told_to_use_is_accepted(password):
    assert codes(password) == set()


@pytest.mark.parametrize(("password", "reasons"), REFUSED.items())
def test_what_guessers_try_first_is_refused(password, reasons):
    assert codes(password) >= reasons
    assert all(fault.message.endswith(".") for fault in strength.faults("password", password, KNOWN))


def test_no_reason_repeats_the_password():
    for password in REFUSED:
        assert not any(password.lower() in fault.message.lower() for fault in strength.faults("password", password, KNOWN))


def test_lengths_are_in_code_points_after_composition():
    assert "too_short" in codes("e\u0301" * 11)
    assert "too_short" not in codes("e\u0301" * 12)
    assert "too_long" not in codes("ä" * 256)
    assert "too_long" not in codes("a\u0308" * 256)
    assert "too_long" in codes("ä" * 257)


def test_one_without_a_factor_may_have_to_be_longer():
    settings(PASSWORD_MIN_LENGTH_WITHOUT_MFA=15)
    assert codes("lamps on oaks") == {"too_short"}
    settings(REQUIRE_MFA="editor")
    assert codes("lamps on oaks") == {"too_short"}
    settings(REQUIRE_MFA="all")
    assert codes("lamps on oaks") == set()


def test_the_words_of_the_service_are_refused():
    settings(
        PASSWORD_OWN_WORDS="Acme, rocket sled", BASE_URL="https://login.acme-rockets.example", MAIL_DEFAULT_SENDER="Road Runner <a@b.c>"
    )
    for password in ("acme acme acme", "Rocket-Sled 24", "acmerockets123", "acme-rockets.example", "RoadRunner!!!", "Gatehouse Gate"):
        assert ("own_words" in codes(password)) == (password != "Gatehouse Gate"), password
    assert codes("rocket sled over the canyon") == set()


@pytest.mark.parametrize("known", [(), (None,), ("",), ("a@b.cd", "x", "Jo")])
def test_who_is_hardly_known_is_not_restricted(known):
    assert codes("correct horse battery staple", known) == set()


def test_the_score_is_a_setting():
    settings(PASSWORD_MIN_SCORE=0)
    assert codes("lamplamplamplamp") == set()
    settings(PASSWORD_MIN_SCORE=4)
    assert codes("lampoaksriver") == {"too_guessable"}
    (fault,) = strength.faults("password", "lampoaksriver", ())
    assert fault.message.startswith("This is easy to guess. ")
    assert codes("correct horse battery staple") == set()


def test_composition_is_off_unless_it_is_set():
    settings(PASSWORD_COMPOSITION="lower, upper, digit, symbol")
    assert codes("correct horse battery staple") == {"composition_upper", "composition_digit"}
    assert codes("CORRECTHORSEBATTERY") >= {"composition_lower", "composition_digit", "composition_symbol"}
    assert codes("Correct horse battery staple 9") == set()


def test_words_of_one_call_are_no_words_of_the_next():
    assert "too_guessable" in codes("zanzibarzan", ["zanzibar"])
    assert "too_guessable" not in codes("zanzibarzan", [])


@pytest.mark.parametrize("seed", range(3))
def test_no_text_makes_it_slow_or_fail(seed):
    chance = random.Random(seed)
    alphabets = ["0123456789", "@({[<!|$+%", "4@8({[<369!1|0$5+7%2", "abcde", "äß\u0301\u200d", "🔑", "²ⅷ١", " .-/\n\x00", "\ud800"]
    for _ in range(60):
        chosen = chance.sample(alphabets, chance.randint(1, 4))
        password = "".join(chance.choice(chance.choice(chosen)) for _ in range(chance.choice([1, 12, 40, 72, 256, 4096])))
        before = time.thread_time()
        strength.faults("password", password, KNOWN)
        assert time.thread_time() - before < 0.3, ascii(password)


# The list


def test_the_list_knows_common_passwords_in_whatever_capitals():
    for password in ("password", "PASSWORD1234", "iloveyou", "qwertyuiop", "1234567890", "TrustNo1"):
        assert blocklist.holds(password)
    for password in ("", "correct horse battery staple", "a long enough password", "\ud800"):
        assert not blocklist.holds(password)


def test_the_list_is_small_and_a_look_up_fast():
    assert blocklist.FILE.stat().st_size < 3_000_000
    before = time.thread_time()
    for number in range(1000):
        blocklist.holds(f"some password {number}")
    assert time.thread_time() - before < 0.5


def test_the_list_takes_nothing_for_common_by_mistake():
    chance = random.Random(7)
    assert not any(blocklist.holds("".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=14))) for _ in range(20_000))


def test_the_list_is_made_of_lines(tmp_path, monkeypatch):
    file = tmp_path / "words.bin"
    blocklist.write(["short\n", "Long enough\r\n", "long enough\n", "another one\n"], file)
    assert file.stat().st_size == 2 * blocklist.SIZE
    monkeypatch.setattr(blocklist, "_listed", file.read_bytes)
    assert blocklist.holds("long enough")
    assert blocklist.holds("ANOTHER ONE")
    assert not blocklist.holds("short")
    assert not blocklist.holds("password")
