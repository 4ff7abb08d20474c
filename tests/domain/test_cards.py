"""What Redis keeps of a user is what the database says: whatever changes, slowly or at once, and whatever fails meanwhile."""

from contextlib import suppress

import pytest

from domain import accounts, cache, cards
from domain.caller import Caller, Client
from domain.database import transaction
from domain.errors import NotFound, Unavailable
from model import User
from tests.visitor import PASSWORD


@pytest.fixture
def user(house, email):
    if cache.client is None:
        pytest.skip("needs Redis")
    return accounts.create(email, PASSWORD)


def caller(user):
    return Caller(user.id, "", 0, 0, (), Client())


def shown(user):
    return cards.profile(caller(user)).name


def rename(user, name, *, mark=True):
    with transaction() as db:
        db.get(User, user.id).name = name
        if mark:
            cards.mark(db, user.id)


def kept():
    return list(cache.client.scan_iter(f"{cards.CARD}*"))


def test_a_card_is_kept_and_found(user):
    assert shown(user) is None
    assert len(kept()) == 1
    rename(user, "Behind its back", mark=False)
    assert shown(user) is None


def test_a_change_is_seen_at_once_and_kept_again(user):
    shown(user)
    rename(user, "New")
    assert shown(user) == "New"
    rename(user, "Behind its back", mark=False)
    assert shown(user) == "New"


def test_a_card_holds_every_column_as_the_database_has_it(user):
    assert cards.of_caller(caller(user)) == cards.of_caller(caller(user))
    assert len(kept()) == 1
    assert cards.of_caller(caller(user)).profile == cards._read_profile(user.id)


def test_nothing_is_kept_while_a_change_is_under_way(user):
    with transaction() as db:
        cards.mark(db, user.id)
        shown(user)
        assert kept() == []
    shown(user)
    assert len(kept()) == 1


def test_of_two_changes_at_once_the_first_that_ends_does_not_open_the_door(user):
    users = (user.id,)
    cards._change(1, users)
    cards._change(1, users)
    cards._change(-1, users)
    shown(user)
    assert kept() == []
    cards._change(-1, users)
    shown(user)
    assert len(kept()) == 1


@pytest.mark.parametrize("whom", ["one", "everybody"])
def test_a_slow_reader_does_not_bring_back_what_was_changed(user, whom):
    _, state = cards._look(user.id)
    old = cards.Card(cards._read_profile(user.id), {})
    with transaction() as db:
        db.get(User, user.id).name = "New"
        cards.mark(db, *([user.id] if whom == "one" else []))
    cards._keep(user.id, state, old)
    assert shown(user) == "New"


def test_nor_does_one_that_began_while_the_change_was_under_way_and_redis_was_emptied(user):
    with transaction() as db:
        db.get(User, user.id).name = "New"
        cards.mark(db, user.id)
        cache.client.flushdb()
        _, state = cards._look(user.id)
        old = cards.Card(cards._read_profile(user.id)._replace(name="Old"), {})
    cards._keep(user.id, state, old)
    assert shown(user) == "New"


def test_a_card_that_outlives_what_tells_of_changes_is_never_found_again(user):
    rename(user, "Old")
    assert shown(user) == "Old"
    for name in cache.client.scan_iter(f"{cards.STATE}*"):
        cache.client.delete(name)  # It was there for as long as the card would have been, from an earlier moment on.
    rename(user, "New")
    assert shown(user) == "New"


def test_a_change_that_is_given_up_leaves_the_card_usable(user):
    with suppress(NotFound), transaction() as db:
        cards.mark(db, user.id)
        raise NotFound
    shown(user)
    assert len(kept()) == 1


def test_a_change_for_everybody_takes_every_card(user):
    shown(user)
    rename(user, "Behind its back", mark=False)
    with transaction() as db:
        cards.mark(db)
    assert shown(user) == "Behind its back"


def test_a_change_that_redis_can_not_be_told_of_does_not_happen(user, monkeypatch):
    shown(user)
    monkeypatch.setattr(cache.client, "eval", away)
    with pytest.raises(Unavailable):
        rename(user, "New")
    assert shown(user) is None
    monkeypatch.undo()
    assert shown(user) is None


@pytest.mark.settings(USER_CACHE_SECONDS=0)
def test_without_it_the_database_is_asked_each_time(user):
    shown(user)
    rename(user, "Behind its back", mark=False)
    assert (shown(user), kept()) == ("Behind its back", [])


def away(*_):
    raise ConnectionError
