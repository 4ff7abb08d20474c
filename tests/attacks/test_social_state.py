"""Threat 31: a return belongs to its browser and its provider, once; what comes of it, to who began it."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from sqlalchemy import update

from domain.database import transaction
from model import SocialFlow
from tests.attacks.acts import count, nobody_came_in, refused, statuses
from tests.provider import FORM, Posted, away, bring, come_back, exchange, s256, sign_in
from tests.providers import NAMES, OWN
from tests.serving import at_once

SETTINGS: dict[str, str] = {}
pytestmark = pytest.mark.usefixtures("stand_ins")
every = pytest.mark.parametrize("provider", [*NAMES, OWN], indirect=True)


# 31: state.


def came_in(answer):
    """Whether the provider's word was taken: that opens the account, or asks for a code where nobody vouches for the address."""
    return answer.status == 200 and answer.json["status"] in ("signed_in", "confirmation_required")


def begin(server, provider):
    """A visit that is about to come back: what the browser brings, and the cookies that it has."""
    begun = server.get(f"/auth/{provider.name}")
    return provider.visit(begun.headers["Location"]), begun.cookies


@every
def test_a_state_belongs_to_the_browser_that_began(server, provider, email):
    (back, mine), (_, others) = begin(server, provider), begin(server, provider)
    stolen = dict(zip(mine, others.values(), strict=True))
    for cookies in ({}, others, stolen, dict.fromkeys(mine, "")):
        assert refused(bring(server, back, cookies))
    assert nobody_came_in(email)
    assert came_in(bring(server, back, mine))  # Strangers have not used it up.


@every
def test_a_state_belongs_to_its_provider(server, stand_ins, provider, email):
    back, cookies = begin(server, provider)
    answer = back.form if isinstance(back, Posted) else query_of_back(back)
    for other in stand_ins:
        if other != provider.name:
            assert refused(server.get(f"/auth/{other}/callback?{urlencode(answer)}", cookies=cookies))
    move_visits("nobody")
    assert refused(bring(server, back, cookies))
    assert nobody_came_in(email)
    move_visits(provider.name)
    assert came_in(bring(server, back, cookies))  # The others have not used it up.


def move_visits(provider):
    """As if every visit that is under way had begun for this provider."""
    with transaction() as db:
        db.execute(update(SocialFlow).where(SocialFlow.used_at.is_(None)).values(provider=provider))


@every
def test_a_state_is_used_once_however_many_bring_it(server, provider):
    provider.is_forgetful = True  # It would trade its own code any number of times.
    back, cookies = begin(server, provider)
    answers = at_once(20, lambda _: bring(server, back, cookies))
    assert statuses(answers) == {200: 1, 400: 19}
    assert refused(bring(server, back, cookies))


@every
def test_a_state_is_used_up_by_a_failure_too(server, provider):
    back, cookies = begin(server, provider)
    with away(provider, provider.token_word):
        assert refused(bring(server, back, cookies), "unavailable", 503)
    assert refused(bring(server, back, cookies))


@every
def test_a_code_that_was_made_for_another_visit_is_refused(server, provider, email):
    (back, mine), (other, _) = begin(server, provider), begin(server, provider)
    if isinstance(back, Posted):
        swapped = Posted(back.path, {**back.form, "code": other.form["code"]})
    else:
        swapped = back.split("?")[0] + "?" + urlencode({**query_of_back(back), "code": query_of_back(other)["code"]})
    assert refused(bring(server, swapped, mine))
    assert nobody_came_in(email)


@every
def test_the_challenge_goes_out_and_the_verifier_only_with_the_code(server, provider):
    sign_in(server, provider)
    sent = [form for _, form, _ in provider.asked if "code_challenge" in form][-1]
    traded = [form for word, form, _ in provider.asked if word == provider.token_word][-1]
    assert (sent["code_challenge_method"], sent["code_challenge"]) == ("S256", s256(traded["code_verifier"]))
    assert len(traded["code_verifier"]) >= 43
    assert len({sent["state"], sent["code_challenge"], sent.get("nonce")}) == 3


def test_an_answer_of_another_issuer_is_refused(server, google, email):
    begun = server.get("/auth/google")
    sent = query_of_back(google.visit(begun.headers["Location"])) | {"iss": "https://other.example"}
    assert refused(server.get("/auth/google/callback?" + urlencode(sent), cookies=begun.cookies))
    assert google.asked[-1][0] != "token"
    assert nobody_came_in(email)


def query_of_back(back):
    return dict(parse_qsl(back.split("?")[1]))


# 31: an answer that comes as a form, without our cookies.


@pytest.mark.parametrize("provider", ["apple"], indirect=True)
def test_a_form_from_elsewhere_does_nothing_but_send_the_browser_on(server, provider, email):
    back, cookies = begin(server, provider)
    before = [(flow, count(flow)) for flow in (SocialFlow,)]
    for given in (cookies, None):
        answer = post(server, back.path, back.form, given)
        assert (answer.status, answer.cookies, answer.headers["Cache-Control"]) == (303, {}, "no-store")
        assert answer.headers["Location"].startswith(f"{home(server)}/auth/apple/callback?state={back.form['state']}&")
        assert email not in answer.headers["Location"]
    assert refused(server.get(onward(answer)))  # As a browser that did not begin would come.
    assert [(flow, count(flow)) for flow, _ in before] == before
    assert nobody_came_in(email)
    assert server.get(onward(answer), cookies=cookies).json["status"] == "signed_in"


@pytest.mark.parametrize("provider", ["apple"], indirect=True)
def test_who_is_lured_into_posting_somebody_elses_answer_is_not_signed_in(server, provider, email):
    attackers, _ = begin(server, provider)
    _, victims = begin(server, provider)
    assert refused(bring(server, attackers, victims))
    assert nobody_came_in(email)


@pytest.mark.parametrize("provider", ["apple"], indirect=True)
@pytest.mark.parametrize(
    "user",
    [
        '{"email": "boss@example.com", "sub": "1", "email_verified": true, "name": {"firstName": "Robin"}}',
        '{"name": {"firstName": "<b>\\u0000\\r\\nRobin", "lastName": 1}}',
        '{"name": "Robin"}',
        '{"name": {"firstName": ["x"]}}',
        "[" * 1900,
        "null",
        "NaN",
        "\U0001f600",
    ],
    ids=lambda user: ascii(user)[:20],
)
def test_of_the_unsigned_user_only_the_name_is_taken(server, provider, email, user):
    provider.posts = {"user": user}
    answer = sign_in(server, provider)
    assert (answer.json["user"]["email"], answer.json["user"]["name"]) == (email, {"{": "Robin"}.get(user[0]) and name_in(user))
    assert nobody_came_in("boss@example.com")


def name_in(user):
    return "Robin" if user.startswith('{"email') else "<b>Robin" if "<b>" in user else None


@pytest.mark.parametrize("fields", [{"redirect_to": "https://evil.example"}, {"state": "\r\nLocation: https://evil.example"}], ids=str)
@pytest.mark.parametrize("provider", ["apple"], indirect=True)
def test_a_form_leads_nowhere_else(server, provider, fields):
    answer = post(server, "/auth/apple/callback", {"code": "x", "state": "x", **fields})
    assert answer.headers["Location"].startswith(f"{home(server)}/auth/apple/callback?")
    assert "evil.example" not in answer.headers["Location"].replace("https%3A%2F%2Fevil.example", "")
    assert refused(server.get(onward(answer)))


@pytest.mark.parametrize("name", [*(name for name in NAMES if name != "apple"), OWN])
def test_who_was_not_asked_for_a_form_gets_none_taken(server, name):
    assert refused(post(server, f"/auth/{name}/callback", {"code": "x", "state": "x"}), "not_found", 404)


def post(server, path, form, cookies=None):
    return server.post(path, data=urlencode(form), headers={"Content-Type": FORM}, cookies=cookies)


def home(server):
    return server.settings["BASE_URL"]


def onward(answer):
    back = urlsplit(answer.headers["Location"])
    return f"{back.path}?{back.query}"


# 31: the hand-over.


@every
def test_a_code_is_traded_once_however_many_bring_it(server, provider):
    given, verifier = come_back(server, provider)
    answers = at_once(20, lambda _: exchange(server, given["code"], verifier))
    assert statuses(answers) == {200: 1, 400: 19}
    assert {one.code for one in answers if one.status == 400} == {"token_used"}


@every
def test_a_code_without_its_verifier_is_worth_nothing(server, provider, email):
    given, verifier = come_back(server, provider)
    assert refused(exchange(server, given["code"], s256(verifier)), "link_invalid")
    assert refused(exchange(server, given["code"], verifier), "token_used")
    assert nobody_came_in(email)
    for code in ("", " ", "x" * 43, quote(given["code"]) + "="):
        assert exchange(server, code, verifier).status == 400


def test_one_start_hands_over_nothing_to_another(server, google):
    (_, first), (given, _) = come_back(server, google), come_back(server, google)
    assert refused(exchange(server, given["code"], first), "link_invalid")
