"""Threats 8 and 9, where a stopwatch would tell: how much work an answer costs, counted in statements, commits and hashes.

Every pair of `strangers`: the same statements, in the same order, whatever the address has.
"""

import bcrypt
import pytest
from sqlalchemy import Engine, event

from resources.base import operation_of
from resources.routes import ROUTES
from tests.attacks.acts import OTHER, while_open
from tests.attacks.strangers import FLOWS, STATES, Who, everybody
from tests.captchas import person
from tests.visitor import PASSWORD, Visitor

ROUNDS = 7  # Past the limit of wrong guesses, and past the three sign-ups that an address may have open.


@pytest.fixture
def work(monkeypatch):
    """Every SQL statement, every end of a transaction and every password hash from now on, in their order."""
    done = []

    def executed(_connection, _cursor, statement, *_):
        done.append(statement)

    def ended(word):
        return lambda _connection: done.append(word)

    def counting(hash_once):
        def counted(*given):
            done.append("hash")
            return hash_once(*given)

        return counted

    heard = {"before_cursor_execute": executed, "commit": ended("commit"), "rollback": ended("rollback")}
    for name in ("hashpw", "checkpw"):
        monkeypatch.setattr(bcrypt, name, counting(getattr(bcrypt, name)))
    for name, listener in heard.items():
        event.listen(Engine, name, listener)
    yield done
    for name, listener in heard.items():
        event.remove(Engine, name, listener)


@pytest.mark.parametrize("flow", FLOWS)
def test_an_answer_costs_the_same_work_whatever_the_address_has(house, email, work, flow):
    whos = everybody(house, email)
    for number in range(ROUNDS):
        _costs_the_same(work, whos, lambda who: FLOWS[flow].act(house, who), f"{flow}, round {number}")


def test_one_flow_after_the_other_costs_the_same_work_whatever_the_address_has(house, email, work):
    whos = everybody(house, email)
    # A name and the address that it stands for have one budget, where they are one account's.
    flows = [name for name in FLOWS if name != "login by username"]
    for number in range(2):
        for flow in flows if number else reversed(flows):
            _costs_the_same(work, whos, lambda who: FLOWS[flow].act(house, who), f"{flow}, round {number}")  # noqa: B023


@pytest.mark.settings(CAPTCHA="after_failures", CAPTCHA_DIFFICULTY=1, FAILED_ATTEMPTS_LIMIT=20)
def test_counting_failures_and_asking_for_a_captcha_cost_the_same_work_too(house, email, work):
    whos = everybody(house, email)
    for visitor in (house, person(house)):
        for flow in ("login", "signup", "forgot-password"):
            _costs_the_same(work, whos, lambda who: FLOWS[flow].act(visitor, who), flow)  # noqa: B023
        for number in range(20):
            house.login(f"{number}.{email}", OTHER)
        assert house.login(email, OTHER).code == "captcha_required"


@pytest.mark.settings(SIGN_UP="invited")
def test_where_nobody_may_sign_up_the_work_is_the_same_too(house, email, work, monkeypatch):
    def begun_before(visitor, who):
        with while_open():
            assert visitor.sign_up(who.email, username=who.username).status == 201

    monkeypatch.setitem(STATES, "unconfirmed", begun_before)
    whos = everybody(house, email)
    for flow in FLOWS:
        if flow not in ("login by username", "signup and login"):
            _costs_the_same(work, whos, lambda who: FLOWS[flow].act(house, who), flow)  # noqa: B023


@pytest.mark.parametrize(("flow", "hashes"), [("login", 1), ("login by username", 1), ("signup", 1), ("signup and login", 2)])
def test_an_answer_costs_one_hash_for_each_password(house, email, work, flow, hashes):
    for who in everybody(house, email).values():
        assert _cost(work, lambda: FLOWS[flow].act(house, who)).count("hash") == hashes  # noqa: B023


def test_whatever_strangers_may_ask_about_an_address_is_compared_here(house):
    """A new operation of that kind gets a row in `strangers`."""
    asked = set()
    noting = Visitor(lambda method, path, **more: asked.add(path) or house._send(method, path, **more), house.mailbox)
    for flow in FLOWS.values():
        flow.act(noting, Who("nobody@example.com", "nobody"))
    open_to_all = [
        row for row in ROUTES if row.access.name in ("anyone", "perhaps_signed_in", "perhaps_signed_in_or_finishing", "whoever_signed_in")
    ]
    fields = {row.urls[0]: {name for shape in operation_of(row).shapes for name in shape.model_fields} for row in open_to_all}
    assert {path for path, names in fields.items() if names & {"email", "username", "otp_token"}} <= asked


@pytest.mark.parametrize("size", [4097, 60_000, 1_000_000])
def test_a_huge_password_is_refused_before_any_hash(house, email, work, size):
    house.join(email)
    token = house.login(email).json["access_token"]
    del work[:]
    huge = "x" * size
    answers = [
        house.sign_up(email, huge),
        house.login(email, huge),
        house.post("/reset-password/some-token", {"password": huge}),
        house.post("/reset-password/some-token", data={"password": huge}),
        house.post("/api/password/reset", {"token": "some-token", "password": huge}),
        house.post("/change-password", {"current_password": huge, "new_password": PASSWORD}, token=token),
        house.post("/change-password", {"current_password": PASSWORD, "new_password": huge}, token=token),
        house.post("/reauthenticate", {"password": huge}, token=token),
        house.post("/mfa", {"current_password": huge}, token=token),
    ]
    assert {one.status for one in answers} == {400 if size < 65_000 else 413}
    assert "hash" not in work


def test_a_reset_with_a_link_that_is_none_costs_no_hash(house, work):
    assert house.post("/reset-password/some-token", {"password": PASSWORD}).code == "link_invalid"
    assert "hash" not in work


def _costs_the_same(work, whos, act, when):
    """Whom it is about does not show in the work; where it does, the first step that differs is told."""
    costs = {state: _cost(work, lambda: act(who)) for state, who in whos.items()}  # noqa: B023
    usual = costs["unknown"]
    for state, cost in costs.items():
        differs = next((step for step in zip(cost, usual, strict=False) if step[0] != step[1]), None)
        assert cost == usual, (when, state, len(cost), len(usual), differs)


def _cost(work, act):
    del work[:]
    act()
    return tuple(work)
