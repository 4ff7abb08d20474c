"""Threat 8 against the real server: nothing tells whether an address has an account.

Every pair of `strangers` is compared: what is asked, and what the address has. The work behind the answers is counted in
`test_equal_work`, the limits by address are compared in `test_rate_limits`; `test_enumeration_without_mail` is the same while
the mail server is away.
"""

import pytest

from tests.attacks.acts import OTHER
from tests.attacks.strangers import FLOWS, everybody, told
from tests.visitor import PASSWORD

ROUNDS = 7  # Past the limit of wrong guesses.


@pytest.mark.parametrize("flow", FLOWS)
def test_an_answer_tells_nothing_nor_does_its_refusal_when_there_were_too_many(server, email, flow):
    act, status, code, limit = FLOWS[flow]
    whos = everybody(server, email)
    for number in range(ROUNDS):
        late = limit is not None and number >= limit
        assert told(whos, lambda who: act(server, who)) == ((429, "too_many_attempts") if late else (status, code)), number


def test_one_flow_after_the_other_tells_nothing(server, email):
    whos = everybody(server, email)
    for name, flow in FLOWS.items():
        # A name and the address that it stands for have one budget, where they are one account's.
        if name != "login by username":
            told(whos, lambda who: flow.act(server, who))  # noqa: B023


def test_two_addresses_with_one_username_tell_nothing(server, email):
    whos = everybody(server, email)
    wanted = whos["known"].username
    taken = told(whos, lambda who: server.sign_up(who.email, OTHER, username=wanted))
    free = told(whos, lambda who: server.sign_up(who.email, OTHER, username=f"{who.username}-free"))
    assert taken == free == (201, None)
    answers = [server.post("/login", {"username": name, "password": OTHER}) for name in (wanted, f"{wanted}-free")]
    assert answers[0].json | {"request_id": ""} == answers[1].json | {"request_id": ""}


def test_a_disabled_account_is_told_only_to_who_knows_its_password(server, email):
    disabled = everybody(server, email)["disabled"].email
    assert server.login(disabled, OTHER).code == "invalid_credentials"
    answer = server.login(disabled, PASSWORD)
    assert (answer.status, answer.code) == (403, "account_disabled")
