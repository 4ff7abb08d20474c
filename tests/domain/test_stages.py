"""Who has to have a second factor, from when on, and what a sign-in then answers."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

import config
from domain import cards, clock, roles
from domain.database import new_id, reading, transaction
from model import Assignment, Role, Service, User
from tests.visitor import code_of

ASKED = {"status", "mfa_token", "expires_in"}


def user_of(email):
    with reading() as db:
        return db.query(User).filter_by(email=email).one()


def give_role(email, name, service="shop", *, is_active=True):
    now = clock.now()
    with transaction() as db:
        db.add(Service(id=f"{service:.32}", name=service, is_active=is_active, created_at=now))
        db.flush()
        role = Role(id=new_id(), service_id=service, name=name, permissions=[], created_at=now)
        db.add(role)
        db.flush()
        db.add(Assignment(user_id=user_of(email).id, role_id=role.id, assigned_at=now))
        cards.mark(db)


def require(value, days=0):
    config.settings = config.settings.model_copy(update={"REQUIRE_MFA": value, "MFA_GRACE_DAYS": days})


def test_nobody_is_asked_by_default(house, email):
    tokens = house.member(email)
    assert (tokens["status"], tokens["mfa_setup_by"]) == ("signed_in", None)
    assert user_of(email).mfa_asked_at is None


@pytest.mark.settings(REQUIRE_MFA="all")
def test_where_everybody_needs_one_a_sign_in_asks_for_it(house, email):
    house.join(email)
    answer = house.login(email)
    assert (answer.status, set(answer.json)) == (200, ASKED)
    assert (answer.json["status"], answer.json["expires_in"]) == ("mfa_setup_required", 300)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.settings(REQUIRE_MFA="all")
def test_after_a_mailed_code_too(house, email):
    house.join(email)
    token = house.post("/send-otp", {"email": email}).json["otp_token"]
    answer = house.post("/verify-otp", {"otp_token": token, "code": house.mailbox.last(email).code})
    assert set(answer.json) == ASKED


def test_who_has_a_factor_is_asked_for_it(house, email):
    app, _ = house.turn_on_totp(house.member(email)["access_token"])
    require("all")
    waiting = house.login(email).json
    assert waiting["status"] == "mfa_required"
    answer = house.post("/verify-otp", {"mfa_token": waiting["mfa_token"], "method": "totp", "code": code_of(app)})
    assert (answer.json["status"], answer.json["mfa_setup_by"]) == ("signed_in", None)


@pytest.mark.settings(REQUIRE_MFA="editor, admin")
def test_by_role_only_those_are_asked(house, email):
    house.join(email)
    assert house.login(email).json["status"] == "signed_in"
    give_role(email, "reader", "blog")
    assert house.login(email).json["status"] == "signed_in"
    give_role(email, "editor")
    assert house.login(email).json["status"] == "mfa_setup_required"


@pytest.mark.settings(REQUIRE_MFA="admin")
def test_the_servers_own_administrators_are_meant_too(house, email):
    house.join(email)
    with transaction() as db:
        roles.make_admin(db, db.query(User).filter_by(email=email).one())
    assert house.login(email).json["status"] == "mfa_setup_required"


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=3)
def test_within_the_grace_they_sign_in_and_are_told_until_when(house, email, moved_clock):
    first = house.member(email)
    until = datetime.fromisoformat(first["mfa_setup_by"])
    assert until.tzinfo == UTC
    assert abs(until - clock.now() - timedelta(days=3)) < timedelta(seconds=10)
    assert house.login(email, cookies=True).json["mfa_setup_by"] == first["mfa_setup_by"]
    moved_clock(2 * 86400)
    again = house.login(email).json
    assert again["mfa_setup_by"] == first["mfa_setup_by"]
    assert house.post("/refresh", token=again["refresh_token"]).json["mfa_setup_by"] == first["mfa_setup_by"]
    moved_clock(3 * 86400 + 10)
    assert house.login(email).json["status"] == "mfa_setup_required"
    assert user_of(email).mfa_asked_at == until - timedelta(days=3)


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=3)
def test_who_turns_one_on_within_the_grace_is_asked_no_more(house, email):
    tokens = house.member(email)
    house.turn_on_totp(tokens["access_token"])
    assert house.post("/refresh", token=tokens["refresh_token"]).json["mfa_setup_by"] is None


@pytest.mark.settings(REQUIRE_MFA="editor", MFA_GRACE_DAYS=3)
def test_a_requirement_that_ended_and_comes_back_has_its_grace_again(house, email, moved_clock):
    house.join(email)
    give_role(email, "editor")
    assert house.login(email).json["mfa_setup_by"] is not None
    with transaction() as db:
        db.execute(update(Service).values(is_active=False))
    assert house.login(email).json["mfa_setup_by"] is None
    assert user_of(email).mfa_asked_at is None
    with transaction() as db:
        db.execute(update(Service).values(is_active=True))
    moved_clock(4 * 86400)
    assert house.login(email).json["status"] == "signed_in"


@pytest.mark.settings(REQUIRE_MFA="all", MFA_GRACE_DAYS=1)
def test_who_turns_the_last_factor_off_has_had_the_grace(house, email, moved_clock):
    token = house.member(email)["access_token"]
    app, _ = house.turn_on_totp(token)
    assert house.delete("/mfa", {"code": code_of(app)}, token=token).status == 200
    moved_clock(2 * 86400)
    assert house.login(email).json["status"] == "mfa_setup_required"
