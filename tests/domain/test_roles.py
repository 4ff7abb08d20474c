"""Rights as the domain finds them: names for tokens, what the server's own role has, and at what cost."""

import pytest
from sqlalchemy import text

from domain import accounts, cards, clock, database, limits, roles, services
from domain.caller import Caller, Client
from domain.database import connection, new_id, transaction
from domain.errors import Forbidden, LastAdmin
from domain.permissions import MEANINGS, OWN
from model import Assignment, Base, Role, Service
from tests import databases


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        yield


def give(user_id, service, *names, permissions=(), is_active=True):
    """Give a user new roles of a new service."""
    now = clock.now()
    with transaction() as db:
        db.add(Service(id=service, name=service, is_active=is_active, created_at=now))
        db.flush()
        made = [Role(id=new_id(), service_id=service, name=one, permissions=list(permissions), created_at=now) for one in names]
        db.add_all(made)
        db.flush()
        db.add_all(Assignment(user_id=user_id, role_id=one.id, assigned_at=now) for one in made)
        cards.mark(db)


def test_every_permission_of_the_server_has_its_sentence():
    assert set(MEANINGS) == OWN


def test_the_claim_names_the_roles_of_active_services():
    user = accounts.create("jo@example.com", admin=True)
    give(user.id, "shop", "seller", "buyer")
    give(user.id, "attic", "mouse", is_active=False)
    assert roles.claim(user.id) == {"gatehouse": ["admin"], "shop": ["buyer", "seller"]}


def test_a_claim_that_no_token_could_carry_is_left_out():
    fits, does_not = accounts.create("jo@example.com"), accounts.create("al@example.com")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    shortest = [*letters, *(one + two for one in letters for two in letters)]
    give(fits.id, "shop", *shortest[:300])
    assert len(roles.claim(fits.id)["shop"]) == 300
    give(does_not.id, "mall", *(f"{'x' * 60}{number:03}" for number in range(limits.ROLES_CLAIM_BYTES // 64)))
    assert roles.claim(does_not.id) is None
    give(does_not.id, "arcade", *shortest)
    assert roles.claim(does_not.id) is None


def test_the_database_reads_only_the_rows_of_one_user():
    with connection() as db:
        if db.dialect.name != "sqlite":
            pytest.skip("tells its plan in other words")
        for statement in (cards.RIGHTS, roles._NAMES):
            asked = str(statement.compile(db, compile_kwargs={"literal_binds": False, "render_postcompile": True}))
            plan = [row.detail for row in db.execute(text(f"EXPLAIN QUERY PLAN {asked.replace('?', chr(39) * 2)}"))]
            assert [one for one in plan if one.startswith("SCAN")] == []


def test_a_key_and_a_service_grant_no_more_than_their_scopes():
    admin = accounts.create("jo@example.com", admin=True)
    scoped = Caller(admin.id, "", 0, 0, (), Client(), "api_key", frozenset({"roles:write", "invoices:read"}))
    service = scoped._replace(user_id="", kind="app_token", service_id="shop")
    for caller in (scoped, service):
        roles.require_own(caller, ["roles:write", "invoices:write"])
        with pytest.raises(Forbidden):
            roles.require_own(caller, ["users:write"])


def test_an_administrator_who_can_not_sign_in_is_no_other_one():
    first, second = (accounts.create(f"{name}@example.com", admin=True) for name in ("jo", "al"))
    with transaction() as db:
        roles.require_another_admin(db, first.id)
    accounts.deactivate(second.email)
    with transaction() as db:
        roles.require_another_admin(db, second.id)  # Who is none at present can go.
        with pytest.raises(LastAdmin):
            roles.require_another_admin(db, first.id)
    with pytest.raises(LastAdmin):
        accounts.deactivate(first.email)


def test_a_service_is_found_by_its_name():
    accounts.create("jo@example.com", admin=True)
    with transaction() as db:
        assert services.named(db, "gatehouse") is services.find(db, "gatehouse")
        assert services.named(db, "shop") is None
