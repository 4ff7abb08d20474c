"""Threat 33: linking and unlinking, and accounts that are switched off."""

import pytest
from sqlalchemy import delete

from domain import accounts, clock, providers
from domain.database import new_id, transaction
from model import Identity
from tests.attacks.acts import aged, count, live_sessions_of, refused, statuses, user_of
from tests.provider import bring, come_back, enter, exchange, prove, sign_in
from tests.providers import NAMES, OWN, new_sub
from tests.serving import at_once

SETTINGS: dict[str, str] = {}
pytestmark = pytest.mark.usefixtures("stand_ins")
every = pytest.mark.parametrize("provider", [*NAMES, OWN], indirect=True)


# 33: linking.


def path(provider):
    return f"/profile/identities/{provider.name}"


def linked(email):
    """How many accounts the provider's user opens."""
    return count(Identity, Identity.email == email)


def begin_link(server, provider, token, **more):
    answer = server.post(path(provider), more, token=token)
    assert answer.status == 200, answer.body
    return bring(server, provider.visit(answer.json["auth_url"])).json["code"]


@every
def test_linking_and_unlinking_need_a_recent_sign_in(server, provider, email):
    member = server.member(email)
    token = member["access_token"]
    code = begin_link(server, provider, token)
    old = aged(token)
    answers = [
        server.post(path(provider), {}, token=old),
        server.post(path(provider), {"code": code}, token=old),
        server.delete(path(provider), token=old),
        server.delete(path(provider), {"current_password": "not the password"}, token=old),
    ]
    assert [one.code for one in answers] == ["reauthentication_required"] * 3 + ["invalid_credentials"]
    assert server.get("/profile/identities", token=old).json == {"identities": []}
    assert server.post(path(provider), {"code": code}, token=token).status == 201


@every
def test_a_link_belongs_to_who_began_it(server, provider, email):
    mine, theirs = server.member("mine-" + email), server.member("other-" + email)
    again = server.login("mine-" + email).json
    code = begin_link(server, provider, mine["access_token"])
    for token in (theirs["access_token"], again["access_token"]):
        assert refused(server.post(path(provider), {"code": code}, token=token), "link_invalid")
    assert refused(exchange(server, code, "verifier"), "link_invalid")
    assert linked(email) == 0
    answers = at_once(20, lambda _: server.post(path(provider), {"code": code}, token=mine["access_token"]))
    assert statuses(answers) == {201: 1, 400: 19}


@every
def test_a_code_to_sign_in_with_links_nothing(server, provider, email):
    member = server.member("other-" + email)
    given, verifier = come_back(server, provider)
    body = {"code": given["code"], "code_verifier": verifier}
    assert refused(server.post(path(provider), body, token=member["access_token"]), "link_invalid")
    answer = exchange(server, given["code"], verifier)
    if not provider.can_vouch:
        answer = prove(server, answer.json, server.mailbox.last(email).code)
    assert answer.json["user"]["id"] != member["user"]["id"]


@every
def test_a_link_dies_with_the_session_that_began_it(server, provider, email):
    token = server.member(email)["access_token"]
    code = begin_link(server, provider, token)
    server.post("/logout", token=token)
    assert server.post(path(provider), {"code": code}, token=token).code == "token_revoked"
    again = server.login(email).json["access_token"]
    assert refused(server.post(path(provider), {"code": code}, token=again), "link_invalid")


@pytest.mark.parametrize("provider", ["google", "github"], indirect=True)
def test_of_many_accounts_that_link_one_identity_at_once_one_gets_it(server, provider, email):
    tokens = [server.member(f"{number}-{email}")["access_token"] for number in range(8)]
    codes = [begin_link(server, provider, token) for token in tokens]
    answers = at_once(8, lambda n: server.post(path(provider), {"code": codes[n]}, token=tokens[n]))
    assert statuses(answers) == {201: 1, 409: 7}
    assert {one.code for one in answers if one.status == 409} == {"link_taken"}
    assert linked(email) == 1


@every
def test_an_account_that_is_switched_off_stays_so(server, provider, email):
    enter(server, provider, email)
    given, verifier = come_back(server, provider)
    accounts.deactivate(email)
    assert refused(sign_in(server, provider), "account_disabled", 403)
    assert refused(exchange(server, given["code"], verifier), "account_disabled", 403)
    assert come_back(server, provider)[0] == {"error": "account_disabled"}
    provider.known_as(new_sub(), email)
    answer = sign_in(server, provider)
    if provider.can_vouch:
        assert refused(answer, "account_disabled", 403)
    else:
        code = server.mailbox.last(email).code
        assert refused(prove(server, answer.json, code), "account_disabled", 403)
    assert live_sessions_of(email) == 0
    assert (linked(email), user_of(email).status) == (1, accounts.INACTIVE)


@every
def test_the_last_way_in_stays_however_many_pull_at_it(server, provider, email):
    token = enter(server, provider, email)["access_token"]
    (kept,) = server.get("/profile/identities", token=token).json["identities"]
    assert statuses(at_once(20, lambda _: server.delete(path(provider), token=token))) == {409: 20}
    assert server.get("/profile/identities", token=token).json["identities"] == [kept]


def test_of_all_the_ways_in_one_stays_however_many_are_pulled_at_once(server, stand_ins, email):
    google = stand_ins["google"]
    google.known_as(new_sub(), email)
    token = sign_in(server, google).json["access_token"]
    user_id = user_of(email).id
    for _ in range(5):
        others = [name for name in stand_ins if name != "google"]
        with transaction() as db:
            db.execute(delete(Identity).where(Identity.user_id == user_id, Identity.provider != "google"))
            for name in others:
                row = Identity(id=new_id(), user_id=user_id, provider=name, issuer=new_id(), sub="1")
                row.linked_at = clock.now()
                db.add(row)
        pulled = ["google", *others]
        answers = at_once(len(pulled), lambda n, pulled=pulled: server.delete(f"/profile/identities/{pulled[n]}", token=token))
        assert statuses(answers) == {204: len(pulled) - 1, 409: 1}
        assert count(Identity, Identity.user_id == user_id) == 1
        with transaction() as db:
            db.execute(delete(Identity).where(Identity.user_id == user_id))
            row = Identity(id=new_id(), user_id=user_id, provider="google", issuer=google.issuer, sub=google.says["sub"])
            row.linked_at = clock.now()
            db.add(row)


@every
def test_one_way_in_of_each_provider_is_listed_linked_and_unlinked(server, stand_ins, provider, email):
    mine = server.member("mine-" + email)
    token = mine["access_token"]
    code = begin_link(server, provider, token)
    assert server.post(path(provider), {"code": code}, token=token).json == {"status": "linked"}
    (shown,) = server.get("/profile/identities", token=token).json["identities"]
    assert (shown["provider"], shown["email"]) == (provider.name, email)
    assert providers.title(provider.name) in server.mailbox.last("mine-" + email).text
    assert sign_in(server, provider).json["user"]["id"] == mine["user"]["id"]
    provider.known_as(new_sub(), "second-" + email)
    second = server.post(path(provider), {}, token=token).json["auth_url"]
    assert refused(bring(server, provider.visit(second)), "link_taken", 409)
    assert server.delete(path(provider), token=token).status == 204
    assert server.delete(path(provider), token=token).code == "not_found"
