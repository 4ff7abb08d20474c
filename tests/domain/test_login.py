"""Sign-in and step-up as the domain judges them: what each proof has to be, what it costs, what it leaves behind, and what it lacks."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, select, update

from domain import accounts, budgets, clock, factors, login, passwords, secrets, sessions, sign_up, stages, tickets
from domain.caller import Client
from domain.database import changed, new_id, reading, transaction
from domain.errors import (
    AccountDisabled,
    EmailNotConfirmed,
    InvalidCredentials,
    MfaInvalidCode,
    MfaTicketExpired,
    PasswordExpired,
    ReauthenticationRequired,
    Refused,
    TooManyAttempts,
    ValidationFailed,
)
from model import Budget, Factor, Mail, Passkey, PendingLogin, SignUpAttempt, User
from tests.attacks.acts import account
from tests.sign_ins import HERE, caller, opened, put, row, told

pytestmark = pytest.mark.settings(BCRYPT_ROUNDS=4)
PASSWORD, WRONG = "correct horse battery staple", "another long password"
THERE = Client("198.51.100.9", "curl/8", None)


@pytest.fixture(autouse=True)
def time_that_stands_still(cellar, still_clock):
    still_clock()


@pytest.fixture
def user(email):
    return accounts.get(account(email, PASSWORD))


def change(user, **columns):
    with transaction() as db:
        db.execute(update(User).where(User.id == user.id).values(**columns))


def add_factor(user, kind="totp"):
    """A factor that is on; of TOTP the secret."""
    secret, now = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", clock.now()
    with transaction() as db:
        kept = secrets.encrypt(secret) if kind == "totp" else None
        db.add(Factor(id=new_id(), user_id=user.id, type=kind, name="x", secret_encrypted=kept, last_step=0, created_at=now, proven_at=now))
        db.execute(update(User).where(User.id == user.id).values(mfa_enabled=True))
        return factors.renew_recovery_codes(db, user.id)


def add_passkey(user):
    columns = {"sign_count": 0, "aaguid": "", "transports": [], "backup_eligible": False, "backed_up": False, "created_at": clock.now()}
    with transaction() as db:
        db.add(Passkey(id=new_id(), user_id=user.id, credential_hash="x", credential_id=b"x", public_key=b"x", name="x", **columns))


def refusal(act, *args, **named):
    """The refusal of an act, which has to come."""
    with pytest.raises(Refused) as refused:
        act(*args, **named)
    return refused.value


def spent():
    """How many tries every budget has had since its last success, by its account and caller."""
    with reading() as db:
        return {one.key: one.in_a_row for one in db.scalars(select(Budget))}


def key(kind, user, whose=""):
    return secrets.hashed(f"{kind}\0{accounts.budget_name(user, user.email)}\0{whose}")


def events(action):
    return [(one.result, one.user_id, one.facts) for one in told(action)]


# The first factor


def test_the_right_password_opens_a_session_and_clears_its_budget(user):
    refusal(login.begin, user.email, WRONG, HERE)
    grant = login.begin(user.email, PASSWORD, HERE)
    assert (grant.user.id, grant.session.amr, grant.session.ip) == (user.id, "pwd", HERE.ip)
    assert spent() == {key("password", user): 0}
    assert [one.result for one in told("sign_in")] == ["invalid_credentials", "success"]
    change(user, username="pat")
    assert login.begin("pat", PASSWORD, HERE).user.id == user.id


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=2)
def test_wrong_ones_are_counted_told_and_soon_not_judged_while_a_known_device_is_apart(user):
    device = login.begin(user.email, PASSWORD, HERE).device_token
    for _ in range(2):
        refused = refusal(login.begin, user.email, WRONG, THERE)
        assert (type(refused), refused.detail) == (InvalidCredentials, login.LOOK_INTO_MAILBOX)
    assert type(refusal(login.begin, user.email, PASSWORD, THERE)) is TooManyAttempts
    assert [one.user_id for one in told("account.locked")] == [user.id]
    at_home = HERE._replace(device_token=device)
    again = login.begin(user.email, PASSWORD, at_home)
    assert again.device_token == device
    assert spent()[key("password", user, again.session.device_id)] == 0
    assert spent()[key("password", user)] == 2, "the success on a known device clears nobody else's count"
    results = [(one.result, one.user_id) for one in told("sign_in")]
    assert results.count(("invalid_credentials", user.id)) == 2


def test_a_name_that_nobody_has_is_counted_and_told_just_the_same(user):
    assert type(refusal(login.begin, "nobody@example.com", PASSWORD, HERE)) is InvalidCredentials
    assert list(spent().values()) == [1]
    (event,) = told("sign_in")
    assert (event.result, event.user_id, event.name) == ("invalid_credentials", None, "nobody@example.com")


def test_an_account_without_a_password_has_none(email):
    account(email, None)
    for password in ("", PASSWORD, " "):
        assert type(refusal(login.begin, email, password, HERE)) is InvalidCredentials


@pytest.mark.parametrize(
    ("hidden", "right", "wrong"), [(True, InvalidCredentials, InvalidCredentials), (False, EmailNotConfirmed, InvalidCredentials)]
)
def test_who_has_only_signed_up_is_mailed_the_link_again_and_told_no_more_than_may_be(email, monkeypatch, hidden, right, wrong):
    login.config.settings = login.config.settings.model_copy(update={"PREVENT_ENUMERATION": hidden})
    sign_up.begin(email, PASSWORD, HERE)

    def leaving():
        with reading() as db:
            return len([one for one in db.scalars(select(Mail).where(Mail.to == email)) if one.state != "withheld"])

    before = leaving()
    assert type(refusal(login.begin, email, WRONG, HERE)) is wrong
    assert leaving() == before
    assert type(refusal(login.begin, email, PASSWORD, HERE)) is right
    assert leaving() == before + 1
    with reading() as db:
        assert db.scalar(select(User)) is None
        assert db.scalar(select(SignUpAttempt)) is not None


@pytest.mark.parametrize(
    ("columns", "error"),
    [({"status": "inactive"}, AccountDisabled), ({"status": ""}, AccountDisabled), ({"password_changed_at": "old"}, PasswordExpired)],
)
def test_an_account_that_may_not_in_is_told_so_after_the_right_password_only(user, columns, error):
    login.config.settings = login.config.settings.model_copy(update={"PASSWORD_MAX_AGE_DAYS": 10})
    change(user, **{name: clock.now() - timedelta(days=10) if value == "old" else value for name, value in columns.items()})
    assert type(refusal(login.begin, user.email, WRONG, HERE)) is InvalidCredentials
    assert type(refusal(login.begin, user.email, PASSWORD, HERE)) is error
    assert list(spent().values()) == [2], "it is no success"
    assert [one.result for one in told("sign_in")] == ["invalid_credentials", error.code]


def test_an_old_password_does_not_keep_out_who_comes_by_another_way(user):
    login.config.settings = login.config.settings.model_copy(update={"PASSWORD_MAX_AGE_DAYS": 10})
    change(user, password_changed_at=clock.now() - timedelta(days=11))
    assert login.enter(accounts.get(user.id), [login.MAILED_CODE], HERE).session.amr == "email"


@pytest.mark.parametrize("gone", [True, False])
def test_what_changes_while_the_password_is_hashed_counts(user, monkeypatch, gone):
    before = accounts.get(user.id)
    if gone:
        with transaction() as db:
            db.execute(delete(User))
    else:
        change(user, password_changed_at=clock.now() + timedelta(seconds=1))
    refused = refusal(login.enter, before, ["pwd"], HERE)
    assert (type(refused), refused.detail) == (InvalidCredentials, login.LOOK_INTO_MAILBOX)


def test_a_right_password_under_an_old_scheme_is_hashed_anew(user):
    login.config.settings = login.config.settings.model_copy(update={"BCRYPT_ROUNDS": 5})
    old = user.password_hash
    refusal(login.begin, user.email, WRONG, HERE)
    assert accounts.get(user.id).password_hash == old
    login.begin(user.email, PASSWORD, HERE)
    assert accounts.get(user.id).password_hash != old
    assert passwords.verify(accounts.get(user.id).password_hash, PASSWORD)


def test_a_known_device_is_recognised_by_whatever_way_its_user_comes(user):
    device = login.begin(user.email, PASSWORD, HERE).device_token
    grant = login.enter(accounts.get(user.id), [login.SOCIAL], HERE._replace(device_token=device))
    assert (grant.device_token, grant.session.amr) == (device, "social")


def test_a_proof_that_refuses_opens_nothing_and_undoes_what_it_wrote(user):
    asked = []

    def refuse(db):
        asked.append(changed(db, update(User).values(username="pat")))
        raise MfaInvalidCode

    for status in ("inactive", accounts.ACTIVE):  # Who has no proof isn't told how the account is, either.
        change(user, status=status)
        assert type(refusal(login.enter, user, ["hwk", "mfa"], HERE, proof=refuse)) is MfaInvalidCode
    assert (asked, accounts.get(user.id).username) == ([1, 1], None)
    with reading() as db:
        assert db.scalar(select(sessions.Session)) is None
    assert login.enter(user, ["hwk", "mfa"], HERE, proof=lambda db: None).session.amr == "hwk mfa"


def test_who_comes_by_a_password_proves_no_mailbox(user):
    """A link that waits there, such as somebody's who wants this address for another account, is not theirs to end."""
    with transaction() as db:
        waiting = tickets.make_link(db, tickets.EMAIL_CONFIRM, user.email, 60)
    login.begin(user.email, PASSWORD, HERE)
    with reading() as db:
        tickets.check_link(db, tickets.EMAIL_CONFIRM, waiting)


def test_who_was_invited_proves_the_mailbox_by_the_code_that_came_there(email):
    with transaction() as db:
        invited = accounts.add_invited(db, email, None)
    sign_up.begin("other@example.com", PASSWORD, HERE)
    sign_up.begin(email, PASSWORD, HERE)
    grant = login.enter(accounts.get(invited.id), [login.MAILED_CODE], HERE)
    assert grant.user.invited_at is None
    assert accounts.get(invited.id).invited_at is None
    assert [one.user_id for one in told("account.confirmed")] == [invited.id]
    with reading() as db:
        open_ones = db.scalars(select(SignUpAttempt.email).where(SignUpAttempt.slot.is_not(None))).all()
    assert open_ones == ["other@example.com"]


def test_acts_on_an_invited_address_go_one_by_one(email, monkeypatch):
    """Before the account is held: the same order as sign-up has it, or the two could wait for each other for ever."""
    order, lock, hold = [], sign_up.lock, accounts.hold
    monkeypatch.setattr(sign_up, "lock", lambda *args: (order.append("address"), lock(*args)))
    monkeypatch.setattr(accounts, "hold", lambda *args: (order.append("account"), hold(*args))[1])
    with transaction() as db:
        invited = accounts.add_invited(db, email, None)
    login.enter(accounts.get(invited.id), [login.MAILED_CODE], HERE)
    assert order == ["address", "account"]
    order.clear()
    login.enter(accounts.get(invited.id), [login.MAILED_CODE], HERE)
    assert order == ["account"]


# The second


@pytest.fixture
def codes(user):
    return add_factor(user)


def begun(user, *amr, client=HERE):
    return login.enter(accounts.get(user.id), list(amr or ["pwd"]), client)


def test_where_a_factor_is_on_there_is_a_ticket_and_no_session(user, codes):
    refusal(login.begin, user.email, WRONG, HERE)
    pending = login.begin(user.email, PASSWORD, HERE)
    assert (pending.status, pending.methods) == ("mfa_required", ["totp", "recovery_code"])
    assert spent() == {key("password", user): 0}, "the password was right"
    assert events("sign_in")[-1] == ("mfa_required", user.id, {"amr": ["pwd"]})
    with reading() as db:
        assert db.scalar(select(sessions.Session)) is None


def test_a_mailed_code_keeps_its_count_until_the_second_factor_too(user, codes):
    tried = budgets.spend("code", accounts.budget_name(user, user.email))
    login.enter(accounts.get(user.id), [login.MAILED_CODE], HERE, None, tried)
    assert spent() == {key("code", user): 1}
    change(user, mfa_enabled=False)
    login.enter(accounts.get(user.id), [login.MAILED_CODE], HERE, None, tried)
    assert spent() == {key("code", user): 0}


def test_the_second_factor_makes_the_session_with_both_proofs(user, codes):
    pending = begun(user)
    assert type(refusal(login.finish, pending.ticket, "recovery_code", "0000-0000", HERE)) is MfaInvalidCode
    grant = login.finish(pending.ticket, "recovery_code", codes[0], HERE)
    assert (grant.user.id, grant.session.amr, grant.session.ip) == (user.id, "pwd kba mfa", HERE.ip)
    assert spent() == {key("code", user): 0}
    assert ("mfa_invalid_code", user.id, {"method": "recovery_code"}) in events("sign_in.second_factor")
    assert type(refusal(login.finish, pending.ticket, "recovery_code", codes[1], HERE)) is MfaTicketExpired
    with reading() as db:
        assert factors.recovery_codes_left(db, user.id) == 9, "a dead ticket costs nobody a code"


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=2)
def test_the_guesses_at_second_factors_are_one_budget_whatever_ticket_while_a_known_device_is_apart(user, codes):
    device = login.finish(begun(user).ticket, "recovery_code", codes[0], HERE, trust=False).device_token
    for _ in range(2):
        assert type(refusal(login.finish, begun(user).ticket, "totp", "000000", THERE)) is MfaInvalidCode
    assert type(refusal(login.finish, begun(user).ticket, "recovery_code", codes[1], THERE)) is TooManyAttempts
    assert [one.user_id for one in told("account.locked")] == [user.id]
    at_home = HERE._replace(device_token=device)
    again = login.finish(begun(user, client=at_home).ticket, "recovery_code", codes[1], at_home)
    assert again.device_token == device
    assert (spent()[key("code", user)], spent()[key("code", user, again.session.device_id)]) == (2, 0)


@pytest.mark.parametrize(("asked", "trust"), [({"trust": True}, True), ({"trust": False}, False), ({}, False)])
def test_a_device_that_is_trusted_stands_for_the_factor_the_next_time(user, codes, asked, trust):
    grant = login.finish(begun(user).ticket, "recovery_code", codes[0], HERE, **asked)
    again = begun(user, client=HERE._replace(device_token=grant.device_token))
    assert hasattr(again, "session") == trust
    assert not hasattr(begun(user), "session")


@pytest.mark.parametrize("ticket", ["made up", "", "of another stage", "over", "used", "of nobody"])
def test_a_ticket_that_is_no_good_costs_no_guess(user, codes, moved_clock, ticket):
    stage = stages.ENROLMENT if ticket == "of another stage" else stages.SECOND_FACTOR
    with transaction() as db:
        real = tickets.make_pending(db, stage, user.email, ["pwd"], None if ticket == "of nobody" else user.id)
    if ticket == "over":
        moved_clock(300)
    if ticket == "used":
        login.finish(real, "recovery_code", codes[1], HERE)
    before = spent()
    given = ticket if ticket in ("made up", "") else real
    assert type(refusal(login.finish, given, "recovery_code", codes[0], HERE)) is MfaTicketExpired
    assert spent() == before


@pytest.mark.parametrize(("amr", "method"), [(["pwd"], "sms"), (["pwd"], "pwd"), (["email"], "email")])
def test_only_a_method_that_is_on_is_taken_and_no_mailbox_twice(user, codes, amr, method):
    add_factor(user, "email")
    pending = begun(user, *amr)
    assert type(refusal(login.finish, pending.ticket, method, "123456", HERE)) is ValidationFailed
    assert spent() == {}


def test_what_happens_to_the_account_or_the_ticket_before_the_code_is_judged_counts(user, codes, monkeypatch):
    def meanwhile(act):
        pending = begun(user)
        real = factors.accept

        def accept(db, *args, **named):
            act(db, pending)
            return real(db, *args, **named)

        monkeypatch.setattr(factors, "accept", accept)
        said = type(refusal(login.finish, pending.ticket, "recovery_code", codes[0], HERE))
        monkeypatch.setattr(factors, "accept", real)
        return said

    taken = update(PendingLogin).values(used_at=clock.now())
    assert meanwhile(lambda db, _: db.execute(taken)) is MfaTicketExpired
    hold = accounts.hold
    for now in (None, SimpleNamespace(status="inactive")):
        with monkeypatch.context() as patch:
            pending = begun(user)
            patch.setattr(accounts, "hold", lambda *_, now=now: now)
            assert type(refusal(login.finish, pending.ticket, "recovery_code", codes[0], HERE)) is MfaTicketExpired
        assert accounts.hold is hold
    with reading() as db:
        assert factors.recovery_codes_left(db, user.id) == 10, "an act that is refused is undone as a whole"


# Once more, in a running session


def by(user, *amr):
    grant = opened(user.id, *amr)
    return grant, caller(grant)


def test_the_password_steps_a_session_up(user, moved_clock):
    grant, who = by(user, "email")
    moved_clock(9)
    made = login.reauthenticate(who, password=PASSWORD)
    assert (made.generation, made.session.id, made.session.amr, made.session.authenticated_at) == (2, grant.session.id, "pwd", clock.now())
    assert spent() == {key("password", user, login.known_as(who)): 0}


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=2)
def test_guesses_in_a_session_are_counted_by_device_apart_from_the_strangers(user):
    grant, who = by(user)
    for _ in range(2):
        assert type(refusal(login.reauthenticate, who, password=WRONG)) is InvalidCredentials
    assert type(refusal(login.reauthenticate, who, password=PASSWORD)) is TooManyAttempts
    assert [(one.user_id, one.session_id) for one in told("step_up")] == [(user.id, grant.session.id)] * 2
    assert len(told("account.locked")) == 1
    assert login.begin(user.email, PASSWORD, HERE).user.id == user.id
    same_device = opened(user.id, client=HERE._replace(device_token=grant.device_token))
    assert type(refusal(login.reauthenticate, caller(same_device), password=PASSWORD)) is TooManyAttempts
    assert login.reauthenticate(by(user)[1], password=PASSWORD).generation == 2
    assert row(grant).floor == 0


def test_where_a_factor_is_on_it_is_the_factor_that_steps_up(user, codes):
    grant, who = by(user, "pwd", "otp")
    assert refusal(login.reauthenticate, who, password=PASSWORD).methods == ["totp", "recovery_code"]
    assert type(refusal(login.reauthenticate, who, method="recovery_code", code="0000")) is MfaInvalidCode
    assert [(one.result, one.session_id, one.facts) for one in told("step_up")] == [
        ("mfa_invalid_code", grant.session.id, {"method": "recovery_code"})
    ]
    assert spent() == {key("code", user, login.known_as(who)): 1}
    assert login.reauthenticate(who, method="recovery_code", code=codes[0]).session.amr == "pwd otp kba mfa"
    assert spent() == {key("code", user, login.known_as(who)): 0}


@pytest.mark.parametrize("given", [{}, {"method": "totp"}, {"code": "123456"}])
def test_half_a_proof_is_none(user, given):
    assert refusal(login.reauthenticate, by(user)[1], **given).methods == ["password"]
    add_factor(user)
    assert refusal(login.reauthenticate, by(user)[1], **given).methods == ["totp", "recovery_code"]
    assert spent() == {}


@pytest.mark.settings(FAILED_ATTEMPTS_LIMIT=1)
def test_the_last_guess_at_a_factor_in_a_session_is_told_as_one(user, codes):
    assert type(refusal(login.reauthenticate, by(user)[1], method="totp", code="000000")) is MfaInvalidCode
    assert [(one.user_id, one.facts["secret"]) for one in told("account.locked")] == [(user.id, "code")]


@pytest.mark.parametrize("method", ["password", "totp", "email", "sms", ""])
def test_a_method_that_is_not_on_proves_nothing_and_costs_nothing(user, method):
    _, who = by(user)
    for act in (lambda: login.reauthenticate(who, method=method, code="123456"), lambda: login.prove_factor(who, method, "123456")):
        assert refusal(act).methods == ["password"]
    assert spent() == {}


def test_a_passkey_is_offered_beside_a_factor_and_no_code_is_one(user, codes):
    _, who = by(user)
    add_passkey(user)
    for code in ("123456", codes[0], ""):
        assert refusal(login.prove_factor, who, "passkey", code).methods == ["totp", "passkey", "recovery_code"]
        assert type(refusal(login.reauthenticate, who, method="passkey", code=code)) is ReauthenticationRequired
    assert spent() == {}


def test_without_factor_or_password_it_is_the_mailbox_and_no_second_factor(email):
    user = accounts.get(account(email, None))
    grant, who = by(user, "social")
    assert refusal(login.reauthenticate, who, password="").methods == ["email"]
    with transaction() as db:
        digits = tickets.make_code(db, tickets.STEP_UP, grant.session.id, user.email, user.id)
    assert login.reauthenticate(who, method="email", code=digits).session.amr == "social email"


@pytest.mark.parametrize(
    ("amr", "methods"),
    [
        (["pwd"], ["totp", "email", "recovery_code"]),
        (["email"], ["totp", "recovery_code"]),
        (["email", "otp", "mfa"], ["totp", "recovery_code"]),
        (["pwd", "email"], ["totp", "recovery_code"]),
        (["pwd", "email", "mfa"], ["totp", "email", "recovery_code"]),
    ],
)
def test_a_mailed_code_is_no_second_proof_of_a_session_that_a_mailed_code_opened(user, codes, amr, methods):
    add_factor(user, "email")
    assert login.step_up_methods(accounts.get(user.id), amr) == methods


# What asks for a recent proof


@pytest.mark.parametrize(("ago", "recent"), [(299, True), (300, False), (301, False)])
def test_a_sign_in_is_recent_for_its_time(user, moved_clock, ago, recent):
    _, who = by(user)
    moved_clock(ago)
    if recent:
        assert login.require_recent(who) is None
    else:
        assert refusal(login.require_recent, who).methods == ["password"]


def test_the_current_password_stands_for_a_recent_sign_in_and_is_judged_even_where_one_is(user, moved_clock):
    _, who = by(user)
    assert type(refusal(login.require_recent, who, WRONG)) is InvalidCredentials
    moved_clock(1000)
    assert login.require_recent(who, PASSWORD) is None


def test_where_a_factor_is_on_only_a_sign_in_with_it_counts_and_no_password_stands_for_it(user, codes, moved_clock):
    lacking, having = by(user)[1], by(user, "pwd", "otp", "mfa")[1]
    for act in (login.require_factor, login.require_recent):
        assert refusal(act, lacking).methods == ["totp", "recovery_code"]
        assert act(having) is None
    assert type(refusal(login.require_recent, lacking, PASSWORD)) is ReauthenticationRequired
    moved_clock(300)
    assert type(refusal(login.require_recent, having, PASSWORD)) is ReauthenticationRequired
    assert login.require_factor(having) is None
    assert spent() == {}


def test_what_the_session_has_by_now_counts_and_not_what_its_token_says(user, codes):
    grant, _ = by(user)
    boasting = caller(grant)._replace(amr=("pwd", "otp", "mfa"))
    assert type(refusal(login.require_factor, boasting)) is ReauthenticationRequired
    put(grant, amr="pwd otp mfa")
    assert login.require_factor(caller(grant)._replace(amr=("pwd",))) is None


def test_where_none_is_on_none_is_asked_for(user):
    assert login.require_factor(by(user)[1]) is None


def test_a_social_account_gives_no_password_for_a_recent_sign_in(email, moved_clock):
    _, who = by(accounts.get(account(email, None)), "social")
    assert login.require_recent(who, "") is None
    moved_clock(300)
    assert refusal(login.require_recent, who, "").methods == ["email"]
    assert spent() == {}
