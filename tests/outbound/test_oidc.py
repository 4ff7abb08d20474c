"""The client of OpenID providers: against a certified one, and in the corners that no honest one has."""

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from outbound import discovery, oidc
from outbound.code_flow import Visit
from tests.provider import CLIENT_ID, CLIENT_SECRET, MISSING, Provider, away, s256
from tests.serving import PATIENCE, eventually, free_port

HERE = Path(__file__).parent.parent
HAS_NODE = shutil.which("node") is not None and (HERE / "node_modules" / "oidc-provider").is_dir()
CALLBACK = "http://127.0.0.1:5000/auth/google/callback"
VISIT = Visit(CALLBACK, "state", "nonce", "a-verifier-that-is-long-enough-to-be-one-of-them")


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider
    discovery.forget()


def as_client(google, **more):
    """The provider as the client knows it."""
    return oidc.Provider(
        **{
            "name": "google",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "discovery_url": google.settings["GOOGLE_DISCOVERY_URL"],
        }
        | more
    )


def identify(google, issuer=None, **more):
    """Go to the provider and back: the claims."""
    client = as_client(google, **more)
    code = re.search("code=([^&]+)", google.visit(oidc.authorization_url(client, VISIT)))[1]
    return oidc.identify(client, VISIT, code, issuer)


# A certified provider.


@pytest.fixture(params=["client_secret_basic", "client_secret_post"])
def certified(request, tmp_path):
    """npm's oidc-provider, which keeps to the letter, in a process of its own: its discovery address."""
    if not HAS_NODE:
        pytest.skip("needs Node, and `npm install --no-package-lock` in tests/")
    port = free_port()
    command = ["node", "oidc_provider.mjs", str(port), CALLBACK, CLIENT_ID, "a-secret-without-odd-characters", request.param]
    with (tmp_path / "provider.out").open("wb") as out:
        process = subprocess.Popen(command, cwd=HERE, stdout=out, stderr=out)
    try:
        yield await_discovery(f"http://127.0.0.1:{port}/.well-known/openid-configuration")
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def settings(request, settings):
    if "certified" not in request.fixturenames:
        return settings
    own = {"GOOGLE_CLIENT_ID": CLIENT_ID, "GOOGLE_CLIENT_SECRET": "a-secret-without-odd-characters"}
    return {**settings, **own, "GOOGLE_DISCOVERY_URL": request.getfixturevalue("certified")}


def await_discovery(url):
    def answers():
        with suppress(requests.ConnectionError):
            return requests.get(url, timeout=PATIENCE).status_code == 200

    eventually(answers)
    return url


def agree(url, name):
    """A user who signs in and agrees, page by page: where the browser ends up."""
    with requests.Session() as browser:
        answer = browser.get(url, allow_redirects=False, timeout=PATIENCE)
        for _ in range(20):
            if answer.is_redirect:
                url = urljoin(answer.url, answer.headers["Location"])
                if url.startswith(CALLBACK):
                    back = urlsplit(url)
                    return f"{back.path}?{back.query}"
                answer = browser.get(url, allow_redirects=False, timeout=PATIENCE)
            else:
                form = {"prompt": re.search('name="prompt" value="([a-z]+)"', answer.text)[1], "login": name, "password": "any"}
                action = re.search('action="([^"]+)"', answer.text)[1]
                answer = browser.post(urljoin(answer.url, action), data=form, allow_redirects=False, timeout=PATIENCE)
    raise AssertionError(answer.text)


def test_a_certified_provider_signs_people_in(certified, house):
    users = []
    for name in ("robin", "robin", "marian"):
        begun = house.get("/auth/google")
        answer = house.get(agree(begun.headers["Location"], name), cookies=begun.cookies)
        assert answer.status == 200, answer.body
        users.append(answer.json["user"])
    assert [one["email"] for one in users] == ["robin@example.com", "robin@example.com", "marian@example.com"]
    assert users[0]["id"] == users[1]["id"] != users[2]["id"]


def test_a_certified_provider_refuses_a_code_twice_and_so_do_we(certified, house):
    begun = house.get("/auth/google")
    back = agree(begun.headers["Location"], "robin")
    assert house.get(back, cookies=begun.cookies).status == 200
    again = house.get("/auth/google")
    state = re.search("state=([^&]+)", again.headers["Location"])[1]
    stolen = re.sub("state=[^&]+", f"state={state}", back)
    assert house.get(stolen, cookies=again.cookies).code == "provider_failed"


# How we show who we are.


@pytest.mark.parametrize(
    ("offered", "basic"),
    [(["client_secret_post", "client_secret_basic"], False), (["client_secret_basic"], True), (MISSING, True), ("post", True)],
)
def test_the_secret_goes_the_way_that_the_provider_offers(google, offered, basic):
    google.described = {"token_endpoint_auth_methods_supported": offered}
    assert identify(google)["email"] == "robin@example.com"
    _, form, authorization = next(one for one in google.asked if one[0] == "token")
    assert ("client_secret" in form, authorization.startswith("Basic ")) == (not basic, basic)
    assert form["code_verifier"] == VISIT.verifier
    assert form["redirect_uri"] == CALLBACK


def test_a_client_without_a_secret_names_itself_only(google):
    code = re.search("code=([^&]+)", google.visit(oidc.authorization_url(as_client(google), VISIT)))[1]
    with pytest.raises(oidc.Failed):
        oidc.identify(as_client(google, client_secret=""), VISIT, code, None)
    _, form, authorization = google.asked[-1]
    assert (form["client_id"], "client_secret" in form, authorization) == (CLIENT_ID, False, "")


def test_a_wrong_verifier_is_the_providers_to_refuse(google):
    code = re.search("code=([^&]+)", google.visit(oidc.authorization_url(as_client(google), VISIT)))[1]
    with pytest.raises(oidc.Failed, match="invalid_grant"):
        oidc.identify(as_client(google), VISIT._replace(verifier="another-verifier"), code, None)


def test_the_challenge_goes_out_and_the_verifier_stays(google):
    url = oidc.authorization_url(as_client(google), VISIT)
    assert s256(VISIT.verifier) in url
    assert VISIT.verifier not in url


def test_a_provider_that_promises_to_name_itself_has_to(google):
    google.described = {"authorization_response_iss_parameter_supported": True}
    assert identify(google, google.issuer)["sub"]
    with pytest.raises(oidc.Failed, match="another issuer"):
        identify(google)


# An address that is not in the ID token.


def test_the_address_is_asked_for_where_the_id_token_lacks_it(google):
    google.says = {"email": MISSING, "email_verified": MISSING}
    assert "email" not in identify(google)
    google.described = {"userinfo_endpoint": f"{google.issuer}/userinfo"}
    discovery.forget()
    with away(google, "userinfo", 200, {"sub": "1234567890", "email": "marian@example.com", "email_verified": True, "iss": "x"}):
        claims = identify(google)
    assert (claims["email"], claims["email_verified"], claims["iss"]) == ("marian@example.com", True, google.issuer)
    assert google.asked[-1][2] == "Bearer opaque"


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (200, {"sub": "somebody else", "email": "a@example.com"}, oidc.Failed),
        (200, {"email": "a@example.com"}, oidc.Failed),
        (500, b"", discovery.Away),
    ],
)
def test_the_address_of_somebody_else_does_not_count(google, status, body, failure):
    google.says = {"email": MISSING}
    google.described = {"userinfo_endpoint": f"{google.issuer}/userinfo"}
    with away(google, "userinfo", status, body), pytest.raises(failure):
        identify(google)


def test_an_address_in_the_id_token_is_enough(google):
    google.described = {"userinfo_endpoint": f"{google.issuer}/userinfo"}
    identify(google)
    assert google.times("userinfo") == 0
