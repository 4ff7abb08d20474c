"""What a new key of the server leaves alone, and what an old one takes along when it goes: every use of every key, in one table."""

import jwt
import pytest
from cryptography.fernet import Fernet

import config
from app import create_app
from domain import cache, canaries, database, seals
from tests.attacks.acts import ticket
from tests.credentials import by_key, make_key
from tests.provider import Provider, bring
from tests.services import service
from tests.visitor import Visitor, code_of, in_process, phone

JWT, SECRET, FERNET = "JWT_SECRET_KEY", "SECRET_KEY", "FERNET_KEY"
FIRST = {JWT: "the first key of tokens 0123456789", SECRET: "the first key of hashes 0123456789", FERNET: Fernet.generate_key().decode()}
SECOND = {JWT: "a second key of tokens 9876543210", SECRET: "a second key of hashes 9876543210", FERNET: Fernet.generate_key().decode()}
BOTH = {name: f"{SECOND[name]}, {FIRST[name]}" for name in FIRST}

pytestmark = pytest.mark.settings(SMS_PROVIDER="console", SMS_COUNTRIES="AT", **FIRST)


# A use begins something in a house, and gives what tells in another whether it still goes on.


def access_token(house, email, google):
    token = house.member(email)["access_token"]
    return lambda later: later.get("/mfa", token=token).status == 200


def refresh_token(house, email, google):
    token = house.member(email)["refresh_token"]
    return lambda later: later.post("/refresh", token=token).status == 200


def cookies(house, email, google):
    house.join(email)
    given = house.login(email, cookies=True).cookies
    return lambda later: later.get("/mfa", cookies=given).status == 200


def token_of_a_service(house, email, google):
    asking = service(house)
    token = asking.own_token()
    return lambda later: asking._replace(house=later).introspect(token)["active"]


def mailed_code(house, email, google):
    house.join(email)
    waiting = house.post("/send-otp", {"email": email}).json["otp_token"]
    code = house.mailbox.last(email).code
    return lambda later: later.post("/verify-otp", {"otp_token": waiting, "code": code}).status == 200


def code_of_a_sign_up(house, email, google):
    house.sign_up(email)
    code = house.mailbox.last(email).code
    return lambda later: later.post("/confirm", {"email": email, "code": code}).status == 200


def recovery_code(house, email, google):
    _, codes = house.turn_on_totp(house.member(email)["access_token"])
    return lambda later: proves(later, email, "recovery_code", codes[0])


def proves(house, email, method, code):
    """Whether this finishes a sign-in; it is refused in good order if not."""
    answer = house.post("/verify-otp", {"mfa_token": ticket(house, email), "method": method, "code": code})
    assert answer.status in (200, 400, 401), answer.body
    return answer.status == 200


def audit_trail(house, email, google):
    house.member(email)
    seals.seal()

    def is_whole(later):
        later.login(email)
        seals.seal()
        return seals.verify().broken is None

    return is_whole


def authenticator_app(house, email, google):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    return lambda later: proves(later, email, "totp", code_of(app))


def telephone(house, email, google):
    number = phone()
    house.turn_on_sms(house.member(email)["access_token"], number)
    texted = len(house.telephones.of(number))

    def is_texted(later):
        assert later.post("/send-otp", {"mfa_token": ticket(later, email), "method": "sms"}).status in (200, 202, 400)
        return len(later.telephones.of(number)) > texted

    return is_texted


def queued_mail(house, email, google):
    house.join(email)
    before = len(house.mailbox.of(email))
    house.post("/forgot-password", {"email": email})
    return lambda later: len(later.mailbox.of(email)) > before


def visit_to_a_provider(house, email, google):
    google.known_as(email, email)
    begun = house.get("/auth/google")

    def is_let_in(later):
        answer = bring(later, google.visit(begun.headers["Location"]), begun.cookies)
        assert answer.status in (200, 400), answer.body
        return answer.status == 200

    return is_let_in


def link(house, email, google):
    house.sign_up(email)
    path = house.mailbox.last(email).path
    return lambda later: later.post(path).status == 200


def trusted_device(house, email, google):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    proof = {"mfa_token": ticket(house, email), "method": "totp", "code": code_of(app), "trust_device": True}
    token = house.post("/verify-otp", proof).json["device_token"]
    return lambda later: "access_token" in later.login(email, headers={"X-Device-Token": token}).json


def api_key(house, email, google):
    key = make_key(house, house.member(email))["api_key"]
    return lambda later: later.get("/profile", **by_key(key)).status == 200


def app_token(house, email, google):
    asking = service(house)
    return lambda later: asking._replace(house=later).ask("introspect", token="anything").status == 200


# With which keys each of them goes.
USES = {
    access_token: {JWT},
    refresh_token: {JWT},
    cookies: {JWT},
    token_of_a_service: {JWT},
    mailed_code: {SECRET},
    code_of_a_sign_up: {SECRET},
    recovery_code: {SECRET},
    audit_trail: {SECRET},
    authenticator_app: {FERNET},
    telephone: {FERNET},
    visit_to_a_provider: {FERNET},
    link: set(),
    trusted_device: set(),
    api_key: set(),
    app_token: set(),
    queued_mail: {FERNET},  # The last: whoever else looks for a mail has them all delivered.
}


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider


@pytest.fixture
def settings(settings, google):
    return {**google.settings, **settings}


@pytest.fixture
def restarted(house, settings):
    """The same house after a restart with other keys, and its command line."""

    def restart(**keys):
        database.disconnect()
        if cache.client is not None:
            cache.client.close()
        app = create_app(**{**settings, **keys})
        again = Visitor(in_process(app), house.mailbox)
        again.flask = app.test_cli_runner()
        return again

    return restart


def begin(house, google):
    return {use.__name__: use(house, f"{use.__name__.replace('_', '-')}@example.com", google) for use in USES}


def rotate(house):
    done = house.flask.invoke(args=["keys", "rotate", "encryption"])
    assert (done.exit_code, "Nothing is left under the others" in done.stdout) == (0, True), done.output


def those_that_go_on(begun, house):
    return {name for name, goes_on in begun.items() if goes_on(house)}


def test_with_both_keys_in_the_lists_everything_goes_on_and_after_the_rotation_the_old_encryption_key_can_go(house, restarted, google):
    begun = begin(house, google)
    rotate(restarted(**BOTH))
    later = restarted(**BOTH | {FERNET: SECOND[FERNET]})
    assert those_that_go_on(begun, later) == {*begun}


def test_what_began_while_both_were_listed_goes_on_without_the_old_ones(house, restarted, google):
    both = restarted(**BOTH)
    begun = begin(both, google)
    rotate(both)
    assert those_that_go_on(begun, restarted(**SECOND)) == {*begun}


@pytest.mark.parametrize("name", FIRST)
def test_a_key_that_is_replaced_takes_along_what_was_made_with_it_and_nothing_else(house, restarted, google, name):
    begun = begin(house, google)
    new = {name: SECOND[name]}
    if name != JWT:
        with pytest.raises(config.Refusal, match=name):
            restarted(**new)
        canaries.accept()
    gone = {use.__name__ for use, keys in USES.items() if name in keys}
    assert those_that_go_on(begun, restarted(**new)) == {*begun} - gone


@pytest.mark.settings(JWT_ALGORITHM="ES256")
def test_a_key_pair_goes_on_signing_after_a_rotation(house, restarted, google, email):
    house.join(email)
    before = jwt.get_unverified_header(house.login(email).json["access_token"])
    rotate(restarted(**BOTH))
    assert jwt.get_unverified_header(restarted(**SECOND).login(email).json["access_token"]) == before
