"""Who may call: the rules, and how they compose."""

import pytest
from flask import Flask

from domain import accounts, cards, database, roles
from domain.caller import Caller, Client
from domain.errors import Forbidden
from model import Assignment
from resources.access import may, oneself_or, recently_signed_in, refreshing, signed_in, with_second_factor


def caller_of(user_id):
    return Caller(user_id, "", 1, 0, (), Client())


def test_rules_for_the_same_kind_of_caller_compose():
    both = recently_signed_in & may("users:write")
    assert set(both.proofs) == set(recently_signed_in.proofs)
    assert set(both.rights) >= set(with_second_factor.rights)
    assert both.security == tuple({name: ["users:write"]} for name in ("bearer", "cookie", "apiKey", "appToken"))


def test_a_rule_that_stands_twice_asks_once():
    both = may("users:read") & may("users:write")
    assert len(both.rights) == 3  # The second factor, and the two permissions.


def test_rules_for_different_callers_do_not_compose():
    with pytest.raises(ValueError, match="different callers"):
        _ = signed_in & refreshing


def test_who_asks_about_themselves_needs_no_right_but_a_sign_in(house, email):
    rule = oneself_or(may("roles:read"))
    me = caller_of(accounts.create(email).id)
    app = Flask("paths")
    app.add_url_rule("/<user_id>", "who", lambda user_id: user_id)
    with app.test_request_context(f"/{me.user_id}"):
        rule.judge(me)
        with pytest.raises(Forbidden):
            rule.judge(me._replace(kind="api_key", scopes=frozenset({"profile:read"})))
    with app.test_request_context("/another"), pytest.raises(Forbidden):
        rule.judge(me)


def test_a_permission_that_is_not_is_refused_at_start():
    with pytest.raises(ValueError, match="users:fly"):
        may("users:fly")


def test_an_admin_may_everything_and_nobody_else_anything(house, email):
    admin = accounts.create(email, admin=True)
    user = accounts.create(f"2.{email}")
    may("audit:read").judge(caller_of(admin.id))
    with pytest.raises(Forbidden):
        may("audit:read").judge(caller_of(user.id))


def test_a_role_that_is_taken_away_is_gone_at_once(house, email):
    admin = accounts.create(email, admin=True)
    assert "users:write" in roles.permissions_of(admin.id)
    with database.transaction() as db:
        db.query(Assignment).delete()
        cards.mark(db)
    assert roles.permissions_of(admin.id) == frozenset()


def test_who_has_a_factor_on_needs_to_have_given_it(house):
    tokens = house.member()
    house.turn_on_totp(tokens["access_token"])
    with database.reading() as db:
        assert roles.names_of(db, tokens["user"]["id"]) == frozenset()
    mine = Caller(tokens["user"]["id"], tokens["session_id"], 1, 0, ("pwd",), Client())
    with_second_factor.judge(mine)  # Turning it on was giving it.
