"""The identities of an account: listed, linked by a code that only who began gets to use, and unlinked."""

import pytest

from tests.authenticator import Authenticator, add_passkey
from tests.provider import FRONT_END, Provider, query_of, s256, sign_in

VERIFIER = "a-verifier-that-is-long-enough-to-be-one-of-them"


@pytest.fixture
def google():
    with Provider() as provider:
        yield provider


@pytest.fixture
def settings(settings, google):
    return {**google.settings, **settings}


def link(house, token, google, **more):
    """Link the provider's user to the account of this token: the answer."""
    begun = house.post("/profile/identities/google", {}, token=token)
    assert begun.status == 200, begun.body
    pending = house.get(google.visit(begun.json["auth_url"]))
    assert pending.json["status"] == "link_pending", pending.body
    return house.post("/profile/identities/google", {"code": pending.json["code"], **more}, token=token)


def test_an_identity_is_linked_by_the_code_and_not_before(house, google, email):
    member = house.member(email)
    token = member["access_token"]
    begun = house.post("/profile/identities/google", {}, token=token)
    pending = house.get(google.visit(begun.json["auth_url"]))
    assert (pending.status, set(pending.json), pending.json["expires_in"]) == (200, {"status", "code", "expires_in"}, 60)
    assert house.get("/profile/identities", token=token).json == {"identities": []}
    answer = house.post("/profile/identities/google", {"code": pending.json["code"]}, token=token)
    assert (answer.status, answer.json) == (201, {"status": "linked"})
    listed = house.get("/profile/identities", token=token).json["identities"]
    assert [set(one) for one in listed] == [{"provider", "email", "linked_at", "last_used_at"}]
    assert (listed[0]["provider"], listed[0]["email"]) == ("google", "robin@example.com")
    assert house.mailbox.last(email).subject == "A way to sign in was added"
    assert sign_in(house, google).json["user"]["id"] == member["user"]["id"]
    assert house.post("/profile/identities/google", {"code": pending.json["code"]}, token=token).code == "token_used"


def test_a_front_end_links_with_its_verifier(house, google, email):
    token = house.member(email)["access_token"]
    for verifier, code in ((VERIFIER, None), ("another" + VERIFIER, "link_invalid"), (None, "link_invalid")):
        begun = house.post("/profile/identities/google", {"redirect_to": FRONT_END, "code_challenge": s256(VERIFIER)}, token=token)
        given = query_of(house.get(google.visit(begun.json["auth_url"])))
        body = {"code": given["code"], "code_verifier": verifier} if verifier else {"code": given["code"]}
        assert house.post("/profile/identities/google", body, token=token).code == code


def test_linking_the_same_identity_again_changes_nothing(house, google, email):
    token = house.member(email)["access_token"]
    assert [link(house, token, google).status for _ in range(2)] == [201, 201]
    assert house.mailbox.subjects(email).count("A way to sign in was added") == 1


def test_another_accounts_identity_is_taken(house, google, email):
    sign_in(house, google)
    token = house.member(email)["access_token"]
    begun = house.post("/profile/identities/google", {}, token=token)
    answer = house.get(google.visit(begun.json["auth_url"]))
    assert (answer.status, answer.code) == (409, "link_taken")
    begun = house.post("/profile/identities/google", {"redirect_to": FRONT_END}, token=token)
    assert query_of(house.get(google.visit(begun.json["auth_url"]))) == {"error": "link_taken"}


def test_an_identity_that_was_taken_meanwhile_is_taken(house, google, email):
    token = house.member(email)["access_token"]
    begun = house.post("/profile/identities/google", {}, token=token)
    code = house.get(google.visit(begun.json["auth_url"])).json["code"]
    sign_in(house, google)
    assert house.post("/profile/identities/google", {"code": code}, token=token).code == "link_taken"


def test_one_provider_gives_one_identity(house, google, email):
    token = house.member(email)["access_token"]
    assert link(house, token, google).status == 201
    google.says = {"sub": "another"}
    begun = house.post("/profile/identities/google", {}, token=token)
    assert house.get(google.visit(begun.json["auth_url"])).code == "link_taken"


def test_an_identity_is_unlinked(house, google, email):
    member = house.member(email)
    token = member["access_token"]
    link(house, token, google)
    assert house.delete("/profile/identities/google", token=token).status == 204
    assert house.delete("/profile/identities/google", token=token).code == "not_found"
    assert sign_in(house, google).json["user"]["id"] != member["user"]["id"]


def test_the_last_way_in_stays(house, google):
    token = sign_in(house, google).json["access_token"]
    refused = house.delete("/profile/identities/google", token=token)
    assert (refused.status, refused.code) == (409, "last_way_in")
    passkey = add_passkey(house, token, Authenticator("https://app.example.com"))["id"]
    assert house.delete("/profile/identities/google", token=token).status == 204
    assert house.delete(f"/passkeys/{passkey}", token=token).code == "last_way_in"
    assert house.post("/change-password", {"new_password": "a first long password"}, token=token).status == 200
    assert house.delete(f"/passkeys/{passkey}", token=token).status == 200


def test_where_to_return_to_is_checked_when_linking_too(house, email):
    token = house.member(email)["access_token"]
    assert house.post("/profile/identities/google", {"redirect_to": "https://evil.example"}, token=token).code == "redirect_not_allowed"
    assert house.post("/profile/identities/google", {"code_challenge": "short"}, token=token).code == "validation_failed"
    assert house.post("/profile/identities/other", {}, token=token).code == "not_found"
