"""How API keys end: with their owners, by themselves, and what is told of one that is used afterwards."""

import pytest
from sqlalchemy import select, update

import config
from domain import accounts, activity
from domain.database import reading, transaction
from model import ApiKey, AuditEvent
from tests.credentials import by_key, make_key
from tests.visitor import PASSWORD


def told(action):
    with reading() as db:
        return db.scalars(select(AuditEvent).where(AuditEvent.action == action)).all()


def listed(house, tokens):
    return house.get("/keys/list", token=tokens["access_token"]).json["keys"]


def test_a_password_change_leaves_keys_and_a_reset_ends_them(house, email):
    tokens = house.member(email)
    key = make_key(house, tokens)["api_key"]
    changed = house.post(
        "/change-password", {"current_password": PASSWORD, "new_password": "another long password"}, token=tokens["access_token"]
    )
    assert changed.status == 200
    assert house.get("/profile", **by_key(key)).status == 200
    house.post("/forgot-password", {"email": email})
    assert house.post(house.mailbox.last(email).path, {"password": PASSWORD}).status == 200
    assert house.get("/profile", **by_key(key)).code == "token_revoked"


def test_a_deactivated_owner_has_no_keys_and_gets_none_back(house, email):
    tokens = house.member(email)
    key = make_key(house, tokens)["api_key"]
    accounts.deactivate(email)
    assert house.get("/profile", **by_key(key)).code == "token_revoked"
    accounts.activate(email)
    assert house.get("/profile", **by_key(key)).code == "token_revoked"


def test_a_key_of_an_owner_who_is_out_is_refused_whatever_its_row_says(house, email):
    key = make_key(house, house.member(email))
    accounts.deactivate(email)
    with transaction() as db:
        db.execute(update(ApiKey).values(revoked_at=None))
    assert house.get("/profile", **by_key(key["api_key"])).code == "token_revoked"


def test_the_log_names_the_key_that_was_refused_something_and_why(house, email):
    key = make_key(house, house.member(email))
    house.get("/mfa", **by_key(key["api_key"]))
    line = config.settings.LOG_FILE.read_text().splitlines()[-1]
    assert f"credential={key['key_id']} code=forbidden" in line
    assert "gh_key_" not in line


def test_a_key_that_has_ended_is_noted_once_a_minute(house, email, moved_clock):
    tokens = house.member(email)
    key = make_key(house, tokens)
    house.post(f"/keys/revoke/{key['key_id']}", token=tokens["access_token"])
    for _ in range(3):
        house.get("/profile", **by_key(key["api_key"]))
    (event,) = told("key.refused")
    assert (event.result, event.user_id, event.facts) == ("token_revoked", tokens["user"]["id"], {"key": key["key_id"]})
    moved_clock(60)
    house.get("/profile", **by_key(key["api_key"]))
    assert len(told("key.refused")) == 2


@pytest.mark.settings(KEY_UNUSED_DAYS=30)
def test_a_key_that_nobody_uses_is_over(house, email, moved_clock):
    tokens = house.member(email)
    used, unused = make_key(house, tokens), make_key(house, tokens)
    moved_clock(20 * 86400)
    assert house.get("/profile", **by_key(used["api_key"])).status == 200
    activity.flush()
    moved_clock(31 * 86400)
    assert house.get("/profile", **by_key(unused["api_key"])).code == "token_expired"
    assert house.get("/profile", **by_key(used["api_key"])).status == 200
    assert {one["key_id"]: one["is_active"] for one in listed(house, house.login(email).json)} == {
        used["key_id"]: True,
        unused["key_id"]: False,
    }
