"""Keys that sign tokens: the first of JWT_SECRET_KEY signs, all of them verify, and one that is gone verifies nothing; and what
tokens say of their user.
"""

import jwt
import pytest
from sqlalchemy import delete

from app import create_app
from domain import cache, cards, database, roles
from domain.database import transaction
from model import Assignment
from tests.attacks.acts import claims, user_of
from tests.credentials import make_service
from tests.services import give, take_away
from tests.visitor import PASSWORD, Visitor, in_process

OLD, NEW = "an older key of 0123456789abcdefghij", "a newer key of 0123456789abcdefghijk"


def key_of(token):
    return jwt.get_unverified_header(token)["kid"]


@pytest.fixture
def restarted(house, settings):
    """The same house after a restart with other keys."""

    def restart(keys):
        database.disconnect()
        if cache.client is not None:
            cache.client.close()
        return Visitor(in_process(create_app(**{**settings, "JWT_SECRET_KEY": keys})), house.mailbox)

    return restart


@pytest.mark.settings(JWT_SECRET_KEY=OLD)
def test_keys_rotate_without_signing_anybody_out(house, restarted):
    before = house.member()
    both = restarted(f"{NEW}, {OLD}")
    assert both.get("/mfa", token=before["access_token"]).status == 200
    after = both.post("/refresh", token=before["refresh_token"]).json
    assert key_of(after["access_token"]) != key_of(before["access_token"])
    new = restarted(NEW)
    assert new.get("/mfa", token=after["access_token"]).status == 200
    for kind, method, path in (("access_token", "GET", "/mfa"), ("refresh_token", "POST", "/refresh"), ("access_token", "POST", "/logout")):
        assert new.request(method, path, token=before[kind]).code == "token_invalid"


@pytest.mark.settings(JWT_SECRET_KEY=OLD)
def test_the_name_of_a_key_does_not_give_it_away(house):
    name = key_of(house.member()["access_token"])
    assert name not in OLD
    assert OLD[:8] not in name


def test_access_tokens_name_the_roles_of_now(house, email):
    tokens = house.member(email)
    assert claims(tokens["access_token"])["roles"] == {}
    with transaction() as db:
        roles.make_admin(db, user_of(email))
    now = {"gatehouse": ["admin"]}
    stepped = house.post("/reauthenticate", {"password": PASSWORD}, token=tokens["access_token"]).json
    refreshed = house.post("/refresh", token=stepped["refresh_token"]).json
    for pair in (stepped, refreshed, house.login(email).json):
        assert claims(pair["access_token"])["roles"] == now
        assert "roles" not in claims(pair["refresh_token"])
    with transaction() as db:
        db.execute(delete(Assignment))
        cards.mark(db)
    assert claims(house.post("/refresh", token=refreshed["refresh_token"]).json["access_token"])["roles"] == {}


@pytest.mark.settings(JWT_SECRET_KEY=OLD)
def test_a_token_of_another_server_with_the_same_key_is_refused(house, restarted, settings):
    token = house.member()["access_token"]
    settings |= {"BASE_URL": "https://another.example"}
    assert restarted(OLD).get("/mfa", token=token).code == "token_invalid"
    settings |= {"BASE_URL": "http://127.0.0.1:5000", "JWT_AUDIENCE": "another"}
    assert restarted(OLD).get("/mfa", token=token).code == "token_invalid"


def test_an_access_token_tells_what_its_user_is_in_every_service_and_a_refresh_looks_again(house, email):
    tokens = house.member(email)
    assert claims(tokens["access_token"])["roles"] == {}
    make_service("docs")
    role = give(tokens["user"]["id"], "docs", "editor", "docs:read")
    give(tokens["user"]["id"], "docs", "author")
    renewed = house.post("/refresh", token=tokens["refresh_token"]).json
    assert claims(renewed["access_token"])["roles"] == {"docs": ["author", "editor"]}
    assert "roles" not in claims(renewed["refresh_token"])
    take_away(tokens["user"]["id"], role)
    assert claims(house.post("/refresh", token=renewed["refresh_token"]).json["access_token"])["roles"] == {"docs": ["author"]}
