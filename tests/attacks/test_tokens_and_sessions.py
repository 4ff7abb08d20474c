"""Threats 24 to 30 against the real server."""

from tests.serving import at_once


def test_a_burst_of_refreshes_gets_one_successor(server, email):
    tokens = server.member(email)
    answers = at_once(20, lambda _: server.post("/refresh", token=tokens["refresh_token"]))
    assert {one.status for one in answers} == {200}
