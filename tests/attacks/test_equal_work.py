"""Threats 8 and 9, where a stopwatch would tell: how much work an answer costs, counted in statements and hashes."""

import bcrypt
import pytest
from sqlalchemy import Engine, event

from domain import accounts, outbox
from tests.attacks.acts import OTHER, account
from tests.visitor import PASSWORD

STATES = ("unknown", "known", "unconfirmed", "disabled", "social only")


@pytest.fixture
def addresses(house, email):
    """An address in each of the five states."""
    found = {state: f"{number}.{email}" for number, state in enumerate(STATES)}
    account(found["known"])
    account(found["disabled"])
    accounts.deactivate(found["disabled"])
    account(found["social only"], None)
    assert house.sign_up(found["unconfirmed"]).status == 201
    return found


@pytest.fixture
def work(monkeypatch):
    """Every SQL statement and every password hash from now on, in their order."""
    done = []

    def executed(_connection, _cursor, statement, *_):
        done.append(statement)

    def counting(hash_once):
        def counted(*given):
            done.append("hash")
            return hash_once(*given)

        return counted

    monkeypatch.setattr(bcrypt, "hashpw", counting(bcrypt.hashpw))
    monkeypatch.setattr(bcrypt, "checkpw", counting(bcrypt.checkpw))
    event.listen(Engine, "before_cursor_execute", executed)
    yield done
    event.remove(Engine, "before_cursor_execute", executed)


ACTS = {
    "login": lambda house, email: house.login(email, OTHER),
    "signup": lambda house, email: house.sign_up(email, OTHER),
    "forgot": lambda house, email: house.post("/forgot-password", {"email": email}),
    "resend": lambda house, email: house.post("/resend-confirmation", {"email": email}),
    "send-otp": lambda house, email: house.post("/send-otp", {"email": email}),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_answer_costs_the_same_work_whatever_the_address_has(house, addresses, work, act):
    for _ in range(6):
        outbox.deliver(now=True)
        costs = {state: _cost(work, lambda: act(house, email)) for state, email in addresses.items()}  # noqa: B023
        assert len(set(costs.values())) == 1, {state: (len(cost), cost.count("hash")) for state, cost in costs.items()}


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


def _cost(work, act):
    del work[:]
    act()
    return tuple(work)
