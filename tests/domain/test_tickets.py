"""Links, codes and tickets: each acts once, in time, for its purpose and its request, and ends with what makes it pointless."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from domain import clock, limits, secrets, tickets
from domain.database import reading, transaction
from domain.errors import LinkInvalid, Refused, TokenUsed
from model import Code, Link, PendingLogin, User
from tests.attacks.acts import account

TO, OTHER = "jo@example.com", "al@example.com"
RESET, CONFIRM, NOT_ME, UNDO = tickets.RESET, tickets.CONFIRM, tickets.NOT_ME, tickets.EMAIL_UNDO


@pytest.fixture(autouse=True)
def time_that_stands_still(cellar, still_clock):
    still_clock()


@pytest.fixture
def user_id(email):
    return account(TO, None)


def test_purposes_are_kept_in_rows_that_outlive_a_release():
    links = (tickets.CONFIRM, tickets.RESET, tickets.EMAIL_CONFIRM, tickets.EMAIL_UNDO, tickets.NOT_ME, tickets.RESTORE)
    assert links == ("confirm", "reset", "email_confirm", "email_undo", "not_me", "restore")
    codes = (tickets.SIGN_IN, tickets.SECOND_FACTOR, tickets.STEP_UP, tickets.ENROL, tickets.PROVE)
    assert codes == ("sign_in", "second_factor", "step_up", "enrol", "prove")


def link(purpose=RESET, email=TO, seconds=60, **more):
    with transaction() as db:
        return tickets.make_link(db, purpose, email, seconds, **more)


def links(*which):
    with reading() as db:
        return list(db.scalars(select(Link).where(*which).order_by(Link.created_at)))


def of(token):
    return links(Link.token_hash == secrets.hashed(token))[0]


def act(do, purpose, token):
    """The class of the refusal, or None."""
    try:
        with transaction() as db:
            do(db, purpose, token)
    except Refused as refusal:
        return type(refusal)
    return None


def verdicts(token, purpose=RESET):
    """What a look and then a use of a link say."""
    return act(tickets.check_link, purpose, token), act(tickets.take_link, purpose, token)


def test_a_link_is_kept_hashed_with_all_that_it_is_for(user_id):
    token = link(RESET, TO, 90, attempt_id="a", user_id=user_id)
    kept, now = of(token), clock.now()
    assert (kept.purpose, kept.email, kept.attempt_id, kept.user_id) == (RESET, TO, "a", user_id)
    assert (kept.created_at, kept.expires_at, kept.used_at, kept.ended_at) == (now, now + timedelta(seconds=90), None, None)
    assert kept.token_hash == secrets.hashed(token) != token
    assert link() != token


def test_a_link_acts_once_and_a_second_time_is_told(user_id):
    token, other = link(user_id=user_id), link()
    with transaction() as db:
        taken = tickets.take_link(db, RESET, token)
        assert (taken.email, taken.user_id, taken.used_at) == (TO, user_id, clock.now())
    assert verdicts(token) == (TokenUsed, TokenUsed)
    assert verdicts(other) == (None, None)


def test_a_link_of_one_purpose_is_none_of_another():
    token = link(RESET)
    assert verdicts(token, CONFIRM) == (LinkInvalid, LinkInvalid)
    assert verdicts(token, RESET) == (None, None)
    assert verdicts("", RESET) == verdicts("\ud800", RESET) == verdicts(secrets.hashed(token), RESET) == (LinkInvalid, LinkInvalid)


@pytest.mark.parametrize(("later", "said"), [(59, None), (60, LinkInvalid), (61, LinkInvalid)])
def test_a_link_is_good_for_its_time_whether_it_was_used_or_not(moved_clock, later, said):
    token, used = link(), link()
    act(tickets.take_link, RESET, used)
    moved_clock(later)
    assert verdicts(token) == (said, said)
    assert act(tickets.take_link, RESET, used) == (said or TokenUsed)


def test_a_link_that_was_ended_is_invalid_and_stays_unused():
    token = link()
    with transaction() as db:
        tickets.end_links(db, TO)
    assert verdicts(token) == (LinkInvalid, LinkInvalid)
    assert of(token).used_at is None


def test_a_link_tells_whose_it_is_for_its_own_purpose_only(user_id):
    token, nobodys = link(user_id=user_id), link(email=OTHER)
    with reading() as db:
        assert tickets.address_of(db, RESET, token) == TO
        assert tickets.address_of(db, RESET, nobodys) == OTHER
        assert (tickets.account_of(db, RESET, token), tickets.account_of(db, RESET, nobodys)) == (user_id, "")
        assert tickets.account_of(db, CONFIRM, token) == tickets.account_of(db, RESET, "x") == ""
        for purpose, one in ((CONFIRM, token), (RESET, "x")):
            with pytest.raises(LinkInvalid):
                tickets.address_of(db, purpose, one)


def test_the_link_that_is_found_is_the_oldest_that_would_act(user_id, moved_clock):
    def found(purpose=RESET, email=TO, user=user_id):
        with reading() as db:
            one = tickets.find_link(db, purpose, email, user)
            return one and one.token_hash

    spent = link(user_id=user_id)
    link(seconds=5, user_id=user_id)
    moved_clock(1)
    first = link(user_id=user_id)
    moved_clock(5)
    link(user_id=user_id)
    act(tickets.take_link, RESET, spent)
    assert found() == secrets.hashed(first)
    assert found(CONFIRM) is found(RESET, OTHER) is found(RESET, TO, "another") is None
    with transaction() as db:
        tickets.end_links_of(db, user_id)
    assert found() is None


@pytest.fixture
def several(user_id):
    """Open links of two addresses and purposes, of an account and of nobody, and the remedies; by names."""
    return {
        "reset": link(user_id=user_id),
        "confirm": link(CONFIRM),
        "reset of another": link(email=OTHER),
        "elsewhere": link(email=OTHER, user_id=user_id),
        "not me": link(NOT_ME, user_id=user_id),
        "undo": link(UNDO, email=OTHER, user_id=user_id),
        "restore": link(tickets.RESTORE, user_id=user_id),
    }


@pytest.mark.parametrize(
    ("end", "gone"),
    [
        (lambda db, _: tickets.end_links(db, TO), {"reset", "confirm"}),
        (lambda db, _: tickets.end_links(db, TO, RESET), {"reset"}),
        (lambda db, _: tickets.end_links(db, TO, NOT_ME), {"not me"}),
        (tickets.end_links_of, {"reset", "elsewhere"}),
        (lambda db, user: tickets.end_links_of(db, user, UNDO), {"undo"}),
    ],
)
def test_ends_reach_what_they_are_for_and_no_remedy_that_they_do_not_name(several, user_id, end, gone):
    act(tickets.take_link, RESET, used := link(user_id=user_id))
    with transaction() as db:
        end(db, user_id)
    assert {name for name, token in several.items() if of(token).ended_at == clock.now()} == gone
    assert of(used).ended_at is None
    assert {one.used_at for one in links() if one.id != of(used).id} == {None}


def test_who_takes_an_account_back_ends_the_remedies_that_went_elsewhere_since(user_id, moved_clock):
    before = link(UNDO, OTHER, user_id=user_id)
    moved_clock(1)
    mine = link(NOT_ME, user_id=user_id)
    same = link(UNDO, OTHER, user_id=user_id)
    moved_clock(2)
    later = {
        "not me": link(NOT_ME, OTHER, user_id=user_id),
        "undo": link(UNDO, OTHER, user_id=user_id),
        "restore": link(tickets.RESTORE, OTHER, user_id=user_id),
        "to the same": link(UNDO, TO, user_id=user_id),
        "no remedy": link(RESET, OTHER, user_id=user_id),
        "of nobody": link(UNDO, OTHER),
    }
    with transaction() as db:
        tickets.end_later_remedies(db, of(mine))
    assert {name for name, token in later.items() if of(token).ended_at} == {"not me", "undo", "restore"}
    assert [bool(of(one).ended_at) for one in (before, mine, same)] == [False, False, True]


def test_links_are_held_by_address_and_purpose(user_id):
    with transaction() as db:
        tickets.hold_links(db, TO, RESET)


def code(purpose=tickets.SIGN_IN, subject="request", **more):
    with transaction() as db:
        return tickets.make_code(db, purpose, subject, TO, **more)


def tried(digits, purpose=tickets.SIGN_IN, subject="request"):
    with transaction() as db:
        return tickets.try_code(db, purpose, subject, digits)


def codes():
    with reading() as db:
        return list(db.scalars(select(Code).order_by(Code.created_at)))


def wrong(digits):
    return f"{(int(digits) + 1) % 10**6:06d}"


def test_a_code_is_kept_under_a_key_with_all_that_it_is_for(user_id):
    digits, now = code(user_id=user_id), clock.now()
    (kept,) = codes()
    assert (kept.purpose, kept.subject, kept.email, kept.user_id, kept.tries) == (tickets.SIGN_IN, "request", TO, user_id, 0)
    assert (kept.created_at, kept.expires_at, kept.used_at) == (now, now + timedelta(seconds=600), None)
    assert secrets.matches(kept.code_hash, "code", digits)
    assert kept.code_hash != secrets.hashed(digits)
    assert (len(digits), digits.isdecimal()) == (6, True)


def test_a_right_code_is_good_once_and_tells_its_address(user_id):
    digits = code(user_id=user_id)
    taken = tried(digits)
    assert (taken.email, taken.user_id) == (TO, user_id)
    assert tried(digits) is None
    assert [(one.used_at, one.tries) for one in codes()] == [(clock.now(), 1)]


def test_a_code_of_one_purpose_or_request_is_none_of_another():
    digits = code()
    other = code(subject="another")
    assert tried(digits, tickets.STEP_UP) is tried(digits, subject="x") is tried(digits, subject="another") is None
    assert [one.tries for one in sorted(codes(), key=lambda one: one.subject)] == [1, 0]
    assert tried(digits) is not None
    assert tried(other, subject="another") is not None, "the one did not use the other up"


@pytest.mark.parametrize(("later", "good"), [(599, True), (600, False)])
def test_a_code_is_good_for_its_time(moved_clock, later, good):
    digits = code()
    moved_clock(later)
    assert (tried(digits) is not None) == good


@pytest.mark.parametrize(("guesses", "good"), [(limits.CODE_TRIES - 1, True), (limits.CODE_TRIES, False)])
def test_after_so_many_wrong_guesses_the_right_one_is_wrong_too(guesses, good):
    digits = code()
    assert {tried(wrong(digits)) for _ in range(guesses)} == {None}
    assert (tried(digits) is not None) == good
    assert codes()[0].tries == limits.CODE_TRIES


def test_a_new_code_ends_the_one_before_of_the_same_request_alone(moved_clock):
    began, spent = clock.now(), code()
    assert tried(spent) is not None
    old, elsewhere, otherwise = code(), code(subject="another"), code(tickets.STEP_UP)
    moved_clock(1)
    new = code()
    ends = [(one.subject, one.purpose, one.used_at) for one in codes() if one.used_at]
    assert sorted(ends) == [("request", tickets.SIGN_IN, began), ("request", tickets.SIGN_IN, clock.now())]
    assert old == new or tried(old) is None
    assert tried(new) is not None
    assert tried(elsewhere, subject="another") is not None
    assert tried(otherwise, tickets.STEP_UP) is not None


def test_of_codes_that_were_made_at_once_a_guess_meets_the_newest_only_and_a_right_one_ends_all(moved_clock):
    first = code()
    with transaction() as db:
        db.scalars(select(Code)).one().subject = "set aside"
    moved_clock(1)
    second = code()
    with transaction() as db:
        db.scalars(select(Code).where(Code.subject == "set aside")).one().subject = "request"
    assert first == second or tried(first) is None
    assert [one.tries for one in codes()] == [0, int(first != second)]
    assert tried(second) is not None
    assert {one.used_at for one in codes()} == {clock.now()}
    assert tried(first) is None


@pytest.mark.parametrize(("step", "tries"), [("changed", 0), ("matches", 1)])
def test_who_uses_the_code_up_while_it_is_judged_is_the_only_one(monkeypatch, step, tries):
    """Two with the right code, on two workers: the other one commits between two statements of this one."""
    digits, holder = code(), tickets if step == "changed" else secrets
    real = getattr(holder, step)

    def after_the_other(*args):
        monkeypatch.setattr(holder, step, real)
        others.execute(update(Code).values(used_at=clock.now()))
        return real(*args)

    monkeypatch.setattr(holder, step, after_the_other)
    with transaction() as others:
        assert tickets.try_code(others, tickets.SIGN_IN, "request", digits) is None
    assert codes()[0].tries == tries


def test_the_address_of_a_code_is_that_of_its_request():
    code()
    with reading() as db:
        assert tickets.email_of_code(db, tickets.SIGN_IN, "request") == TO
        assert tickets.email_of_code(db, tickets.STEP_UP, "request") is tickets.email_of_code(db, tickets.SIGN_IN, "x") is None


def pending(user_id=None, **more):
    with transaction() as db:
        return tickets.make_pending(db, "second_factor", TO, ["pwd", "otp"], user_id, **more)


def found(ticket):
    with reading() as db:
        return tickets.find_pending(db, ticket)


def taken(waiting):
    with transaction() as db:
        return tickets.take_pending(db, waiting)


def test_a_ticket_is_kept_hashed_with_all_that_it_is_for(user_id):
    ticket, now = pending(user_id, identity={"sub": "7"}), clock.now()
    kept = found(ticket)
    assert (kept.stage, kept.email, kept.amr, kept.user_id, kept.identity) == ("second_factor", TO, "pwd otp", user_id, {"sub": "7"})
    assert (kept.created_at, kept.expires_at, kept.used_at) == (now, now + timedelta(seconds=300), None)
    assert kept.ticket_hash == secrets.hashed(ticket) != ticket
    assert found(kept.ticket_hash) is found("") is None


def test_a_ticket_gives_one_session_and_leaves_others_alone(user_id):
    waiting, other = found(pending(user_id)), found(ticket := pending(user_id))
    assert [taken(waiting), taken(waiting), taken(other)] == [True, False, True]
    assert found(ticket) is None


@pytest.mark.parametrize(("later", "good"), [(299, True), (300, False)])
def test_a_ticket_is_good_for_its_time(moved_clock, later, good):
    ticket = pending()
    waiting = found(ticket)
    moved_clock(later)
    assert (found(ticket) is not None) == good
    assert taken(waiting) == good


def test_the_end_of_all_that_is_pending_is_of_this_user_alone(user_id, moved_clock):
    other = account(OTHER, None)
    used, mine, theirs = pending(user_id), pending(user_id), pending(other)
    was = found(used)
    assert taken(was)
    moved_clock(1)
    code(user_id=user_id), code(subject="another", user_id=other)
    kept = [link(email=OTHER), link(NOT_ME, user_id=user_id)]
    gone = [link(), link(email="elsewhere@example.com", user_id=user_id)]
    with transaction() as db:
        tickets.end_of_user(db, db.get(User, user_id))
    assert (found(mine), found(theirs) is not None) == (None, True)
    assert [one.user_id for one in codes()] == [other]
    assert [[bool(of(one).ended_at) for one in some] for some in (kept, gone)] == [[False, False], [True, True]]
    with reading() as db:
        ended = db.scalar(select(func.count()).where(PendingLogin.user_id == user_id, PendingLogin.used_at == clock.now()))
    assert ended == 1, "what was over before stays as it was"
