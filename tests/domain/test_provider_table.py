"""Every row of the table of providers, end to end, and what is odd about each; the hostile ones are in tests/attacks."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import select

import config
from domain.database import reading
from model import Identity
from outbound import discovery
from tests.provider import FORM, FRONT_END, MISSING, Posted, bring, come_back, enter, exchange, query_of, s256, sign_in
from tests.providers import NAMES, OWN, everybody, settings_of

every = pytest.mark.parametrize("provider", [*NAMES, OWN], indirect=True)
VERIFIER = "a-verifier-that-is-long-enough-to-be-one-of-them"


@pytest.fixture
def settings(settings, stand_ins):
    return {**settings, **settings_of(stand_ins)}


def query_sent(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture(scope="module")
def stand_ins():
    with everybody(OWN) as running:
        yield running


@pytest.fixture
def provider(request, stand_ins):
    """One of them, with a user whom it knows by a number."""
    found = stand_ins[request.param]
    found.known_as("1234567890", "robin@example.com")
    return found


@every
def test_every_one_signs_people_in(house, provider):
    tokens = enter(house, provider, "robin@example.com")
    assert (tokens["status"], tokens["user"]["email"]) == ("signed_in", "robin@example.com")
    assert tokens["user"]["name"] == {"apple": "Robin Hood"}.get(provider.name, "Robin")
    (identity,) = house.get("/profile/identities", token=tokens["access_token"]).json["identities"]
    assert (identity["provider"], identity["email"]) == (provider.name, "robin@example.com")
    with reading() as db:
        assert db.scalars(select(Identity.issuer)).all() == [provider.issuer]
    assert sign_in(house, provider).json["user"]["id"] == tokens["user"]["id"]


@every
def test_a_code_is_asked_for_only_where_nobody_vouches(house, provider):
    status = sign_in(house, provider).json["status"]
    assert status == ("signed_in" if provider.can_vouch else "confirmation_required")


@every
@pytest.mark.parametrize("path", ["/auth/{}", "/api/oauth/{}"])
def test_every_one_gets_what_a_sign_in_needs(house, provider, path):
    sent = query_sent(house.get(path.format(provider.name)).headers["Location"])
    assert sent["redirect_uri"] == f"http://127.0.0.1:5000/auth/{provider.name}/callback"
    assert (sent["response_type"], sent["code_challenge_method"], len(sent["code_challenge"])) == ("code", "S256", 43)
    assert sent.get("response_mode") == {"apple": "form_post"}.get(provider.name)


@every
def test_every_one_works_with_a_front_end(house, provider):
    given, verifier = come_back(house, provider)
    assert exchange(house, given["code"], verifier).status == 200


@pytest.mark.parametrize("provider", ["facebook", "discord"], indirect=True)
@pytest.mark.parametrize("email", [MISSING, None, "", "robin", ["robin@example.com"], 1])
def test_without_a_usable_address_there_is_no_account(house, provider, email):
    provider.user["email"] = email
    assert (sign_in(house, provider).status, sign_in(house, provider).code) == (400, "provider_failed")
    assert come_back(house, provider)[0] == {"error": "failed"}


@pytest.mark.parametrize("provider", ["github"], indirect=True)
@pytest.mark.parametrize("emails", [[], [None, 1, "x"], [{"primary": True, "verified": True}]], ids=str)
def test_github_without_a_usable_address_makes_no_account(house, provider, emails):
    provider.emails = emails
    assert sign_in(house, provider).code == "provider_failed"


@pytest.mark.parametrize("provider", ["github"], indirect=True)
def test_githubs_hidden_address_is_the_primary_one(house, provider):
    provider.user["email"] = "shown@example.com"
    assert sign_in(house, provider).json["user"]["email"] == "robin@example.com"


@pytest.mark.parametrize("provider", ["microsoft"], indirect=True)
def test_microsoft_by_the_description_of_one_tenant_has_no_gap_to_fill(house, provider):
    provider.described = {"issuer": provider.issuer}
    discovery.forget()
    assert enter(house, provider, "robin@example.com")["user"]["email"] == "robin@example.com"
    provider.says |= {"tid": "00000000-0000-4000-8000-000000000001", "iss": provider.of_tenant("00000000-0000-4000-8000-000000000001")}
    assert sign_in(house, provider).code == "provider_failed"
    discovery.forget()


@pytest.mark.parametrize("provider", ["apple"], indirect=True)
def test_apple_tells_a_name_at_the_first_visit_and_may_say_that_nobody_wants(house, provider):
    assert sign_in(house, provider).json["user"]["name"] == "Robin Hood"
    provider.posts = {}
    assert sign_in(house, provider).json["user"]["name"] == "Robin Hood"
    query = urlencode({"redirect_to": FRONT_END, "code_challenge": s256(VERIFIER)})
    state = query_sent(house.get(f"/auth/apple?{query}").headers["Location"])["state"]
    refused = Posted("/auth/apple/callback", {"error": "user_cancelled_authorize", "state": state})
    assert query_of(bring(house, refused)) == {"error": "access_denied"}


@pytest.mark.parametrize("callback", ["/api/oauth/apple/callback", "/auth/apple/login/callback"])
def test_a_form_is_sent_on_from_every_callback(house, stand_ins, callback):
    answer = house.post(callback, data="code=a+b&state=%C3%A4&id_token=x", headers={"Content-Type": FORM})
    assert (answer.status, answer.json) == (303, {"status": "redirected"})
    assert answer.headers["Location"] == "http://127.0.0.1:5000/auth/apple/callback?state=%C3%A4&code=a+b"


def test_a_form_that_is_none_is_refused(house, stand_ins):
    post = lambda **more: house.post("/auth/apple/callback", **more)  # noqa: E731
    assert post(json={"code": "x"}).code == "unsupported_media_type"
    assert post(data="state=%00", headers={"Content-Type": FORM}).code == "validation_failed"
    assert post(data="state=" + "x" * 2001, headers={"Content-Type": FORM}).code == "validation_failed"
    assert post(data="state=a&state=b", headers={"Content-Type": FORM}).status == 400


def test_a_row_that_is_not_configured_is_not_found(house):
    config.settings = config.settings.model_copy(update={"GITHUB_CLIENT_ID": ""})
    assert (house.get("/auth/github").code, house.post("/auth/github/callback").code) == ("not_found", "not_found")
