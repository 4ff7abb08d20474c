"""An account is erased as a whole or not at all, whatever dies on the way; what is another's stays."""

import logging

import pytest
from sqlalchemy import select, update

import config
from domain import audit, cache, clock, erasure, pictures, revocation, seals
from domain.caller import Client
from domain.database import new_id, reading, transaction
from domain.lifetimes import EVER
from model import Alert, AuditEvent, Base, Code, Identity, Link, Mail, PendingLogin, Session, SignUpAttempt, SocialFlow, User
from outbound import files
from tests.attacks.acts import an_admin, count, user_of
from tests.pictures import form, plain, stored
from tests.visitor import PASSWORD

HERE = Client("203.0.113.77", "Marked/1.0")


class Died(BaseException):
    """The process is gone in the middle of a run."""


@pytest.fixture
def due(house, email):
    """The id of an account that is due, with a picture."""
    tokens = house.member(email)
    house.patch("/profile", **form(plain()), token=tokens["access_token"])
    house.delete("/profile", token=tokens["access_token"])
    house.mailbox.of(email)
    with transaction() as db:
        db.execute(update(User).where(User.email == email).values(erase_at=clock.now()))
    return tokens["user"]["id"]


@pytest.mark.parametrize(
    ("place", "name"),
    [(pictures, "discard_all"), (files, "forget"), (erasure, "_remove"), (audit, "forget"), (erasure, "leftovers"), (cache, "forget")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_who_dies_in_between_leaves_it_to_the_next_run(house, email, due, monkeypatch, place, name):
    def die(*_):
        raise Died

    back = house.mailbox.last(email).path
    with monkeypatch.context() as patch:
        patch.setattr(place, name, die)
        with pytest.raises(Died):
            erasure.run()
    assert house.post(back).code == "link_invalid"
    assert not count(User) or house.login(email).code == "account_disabled"
    erasure.run()
    with reading() as db:
        assert erasure.leftovers(db, erasure.Person(due, (email,))) == {}
    assert (count(User), stored(due), list((config.settings.INSTANCE_DIR / "outbox").glob("*.eml"))) == (0, [], [])
    assert count(AuditEvent, AuditEvent.action == "account.erased") == 1


def test_what_is_left_is_told_without_a_name_and_nothing_is_half_gone(email, due, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_deletions", lambda _: [])
        caplog.clear()
        assert erasure.run() == 0
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "mails" in line
    assert "sign_up_attempts" in line
    assert not {email, due} & set(line.replace(",", " ").split())
    assert (user_of(email).erase_at, count(AuditEvent, AuditEvent.action == "account.erased")) == (EVER, 0)
    assert erasure.run() == 1


def test_one_that_fails_holds_up_no_other(house, due, monkeypatch):
    other = house.member()
    house.delete("/profile", token=other["access_token"])
    with transaction() as db:
        db.execute(update(User).where(User.id == other["user"]["id"]).values(erase_at=EVER))
    discard_all = pictures.discard_all

    def fail(user_id):
        if user_id == other["user"]["id"]:
            raise PermissionError
        discard_all(user_id)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "discard_all", fail)
        assert erasure.run() == 1
    assert count(User, User.id == due) == 0
    assert erasure.run() == 1


def test_an_address_that_the_account_had_before_goes_too_unless_it_is_anothers_by_now(house, email, moved_clock):
    tokens = house.member(email)
    for number in (1, 2):
        house.post("/profile/email", {"email": f"{number}.{email}"}, token=tokens["access_token"])
        assert house.post(house.mailbox.last(f"{number}.{email}").path).status == 200
    house.join(email)
    before = count(Mail, Mail.to == email)
    house.delete("/profile", token=tokens["access_token"])
    moved_clock(8 * 86400)
    assert erasure.run() == 1
    assert count(Mail, Mail.to.in_((f"1.{email}", f"2.{email}"))) == 0
    assert count(AuditEvent, AuditEvent.name.in_((f"1.{email}", f"2.{email}"))) == 0
    assert count(Mail, Mail.to == email) >= before > 0
    assert house.login(email).status == 200


def test_who_asks_for_somebodys_address_and_leaves_takes_nothing_of_theirs_along(house, email, moved_clock):
    victim = f"victim.{email}"
    house.join(victim)
    house.login(victim, "a wrong password")
    house.sign_up(f"new.{email}")
    eve = house.member(email)
    for address in (victim, f"new.{email}"):
        house.post("/profile/email", {"email": address}, token=eve["access_token"])
    link = house.mailbox.of(f"new.{email}")[0].path
    user_id = user_of(victim).id
    with reading() as db:
        theirs = select(AuditEvent.id, AuditEvent.ip).where(AuditEvent.user_id == user_id).order_by(AuditEvent.id)
        before = db.execute(theirs).all()
        house.delete("/profile", token=eve["access_token"])
        with transaction() as act:
            act.execute(update(User).where(User.email == email).values(erase_at=EVER))
        assert erasure.run() == 1
        assert db.execute(theirs).all() == before
    assert house.post(link).json == {"status": "confirmed"}


def visit(**said):
    """Somebody has come back from a provider, which said this of them, and has not been let in yet."""
    now, marks = clock.now(), {"state_hash": new_id(), "nonce": "x", "verifier_encrypted": b"x", "code_hash": new_id()}
    with transaction() as db:
        db.add(SocialFlow(id=new_id(), provider="google", created_at=now, expires_at=now, identity=said, **marks))


def test_an_address_that_only_a_provider_has_said_takes_nothing_of_anybodys_along(email, due):
    with transaction() as db:
        db.add(Identity(id=new_id(), user_id=due, provider="x", issuer="i", sub="s", email=f"bob.{email}", linked_at=clock.now()))
    audit.note_alone("sign_in", None, HERE, result="invalid_credentials", name=f"bob.{email}")
    visit(issuer="i", sub="bob", email=f"bob.{email}")
    visit(issuer="i", sub="s", email=None)
    visit(issuer="j", sub="s", email=email)
    assert erasure.run() == 1
    with reading() as db:
        assert [one.identity["sub"] for one in db.scalars(select(SocialFlow))] == ["bob"]
        assert db.scalars(select(AuditEvent.ip).where(AuditEvent.name == f"bob.{email}")).all() == [HERE.ip]


@pytest.mark.once
def test_every_column_that_says_whose_a_row_is_is_looked_at_when_leftovers_are_looked_for():
    person = erasure.Person("x", ("x",))
    columns = {str(one): one for table in Base.metadata.sorted_tables if table.name != "audit_events" for one in table.columns}
    looked = {name for name, one in columns.items() if erasure.says(one, person) is not None}
    ends = ("user_id", ".email", ".recipient", ".about", ".actor", ".created_by")
    assert looked == {name for name in columns if name.endswith(ends)} | {"users.id", "budgets.account"}


def test_no_stranger_stops_an_erasure_by_what_they_write_of_themselves(house, email, due):
    now, other = clock.now(), "eve@example.net"
    times = {"created_at": now, "expires_at": now}
    for word in (due, email):
        told = {"issuer": word, "sub": word, "name": word, "provider": word}
        visit(email=other, **told)
        with transaction() as db:
            mine = {"username": word[:32], "name": word, "user_agent": f'"{word}"', "password_hash": "x"}
            db.add(SignUpAttempt(id=new_id(), email=other, **mine, **times))
            for address in (other, email):
                marks = {"stage": "email_proven", "amr": "", "ticket_hash": new_id()}
                db.add(PendingLogin(id=new_id(), email=other, identity=told | {"email": address}, **marks, **times))
    assert erasure.run() == 1
    assert (count(SignUpAttempt), count(PendingLogin), count(SocialFlow)) == (2, 2, 2)


def test_letters_to_others_stay_whatever_is_in_them_and_whatever_address_was_asked_for(house, email):
    """Such as those to an address that ends alike; and all others, which are from no-reply@localhost."""
    ann, bob, eve = f"ann.{email}", f"bob.{email}", house.member(email)
    house.join(ann)
    house.sign_up(bob)
    theirs = {one: house.mailbox.subjects(one) for one in (ann, bob)}
    message = files.store(f"To: +436641239876\n\nTo: {email}\n".encode(), ".txt")
    for address in ("no-reply@localhost", bob):
        house.post("/profile/email", {"email": address}, token=eve["access_token"])
        assert house.mailbox.last(address).subject == "Confirm your new address"
    house.delete("/profile", token=eve["access_token"])
    house.mailbox.of(email)
    with transaction() as db:
        db.execute(update(User).where(User.email == email).values(erase_at=EVER))
    assert erasure.run() == 1
    assert {one: house.mailbox.subjects(one) for one in (ann, bob)} == theirs
    assert (message.exists(), house.mailbox.of(email), house.mailbox.of("no-reply@localhost")) == (True, [], [])


def test_what_keeps_ended_sessions_ended_stays_in_redis_and_the_card_goes(house, email):
    if cache.client is None:
        pytest.skip("needs Redis")
    admin, tokens = an_admin(house), house.member(email)
    user_id = tokens["user"]["id"]
    house.get("/profile", token=tokens["access_token"])
    cache.count(f"{user_id}:1", 60)

    def kinds():
        names = [one.decode() for one in cache.client.scan_iter("gatehouse:*")]
        return {one.split(":")[1] for one in names if user_id in one}

    with reading() as db:
        sessions = [one.id for one in db.scalars(select(Session).where(Session.user_id == user_id))]
    assert {"card", "count"} <= kinds()
    assert house.delete(f"/api/admin/users/{user_id}", token=admin["access_token"]).status == 204
    assert kinds() == {"card-state"}
    epoch = cache.client.get(cache.EPOCH).decode()
    assert [cache.client.get(f"{revocation.SESSION}{epoch}:{one}") for one in sessions] == [revocation.ASK] * len(sessions) != []


def test_from_where_an_administrator_removed_somebody_stays_in_the_trail(house, email):
    admin, tokens = an_admin(house), house.member(email)
    at = f"/api/admin/users/{tokens['user']['id']}"
    assert house.delete(at, token=admin["access_token"], headers={"User-Agent": "Admin/1.0"}).status == 204
    with reading() as db:
        removed = db.scalars(select(AuditEvent).where(AuditEvent.action == "account.removed")).one()
        others = db.scalars(select(AuditEvent.ip).where(AuditEvent.user_id == tokens["user"]["id"], AuditEvent.action != "account.removed"))
        assert (removed.user_agent, set(others)) == ("Admin/1.0", {None})
    seals.seal()
    assert seals.verify().broken is None


def test_what_a_request_under_way_wrote_afterwards_goes_with_the_next_run(due):
    assert erasure.run() == 1
    now = clock.now()
    audit.note_alone("sign_in", due, HERE, result="invalid_credentials", name="robin")
    with transaction() as db:
        db.add(Alert(key="x", rule="password_changes", user_id=due, raised_at=now))
        code = Code(id=new_id(), purpose="sign_in", subject="x", email="jo@example.com", user_id=due, code_hash="x", tries=0)
        code.created_at, code.expires_at = now, now
        db.add(code)
    assert erasure.run() == 0
    assert (count(Alert), count(Code)) == (0, 0)
    assert count(AuditEvent, AuditEvent.ip.is_not(None)) + count(AuditEvent, AuditEvent.name.is_not(None)) == 0
    assert count(AuditEvent, AuditEvent.action == "account.erased") == 1


def test_who_can_not_be_decrypted_any_more_is_erased_all_the_same(house, email, moved_clock, monkeypatch):
    tokens = house.member(email, PASSWORD)
    house.turn_on_totp(tokens["access_token"])
    house.delete("/profile", token=tokens["access_token"])
    with transaction() as db:
        user = user_of(email)
        factor = erasure.Factor(id=new_id(), user_id=user.id, type="sms", name="+43 … 11", secret_encrypted=b"lost", last_step=0)
        factor.created_at = factor.proven_at = clock.now()
        db.add(factor)
    moved_clock(8 * 86400)
    assert erasure.run() == 1
    assert count(Link) == 0
