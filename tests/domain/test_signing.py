"""Key pairs: one is made at the first need, whoever asks; a new one is told before it signs, an old one ends by itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import jwt
import pytest
from cryptography.fernet import Fernet
from joserfc.jwk import import_key
from sqlalchemy import func, select, update

import config
from domain import clock, database, keys, lifetimes, signing
from domain.database import reading, transaction
from domain.errors import Conflict, Unavailable
from model import Base, SigningKey
from tests import databases


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        use("ES256")
        signing.forget()
        yield
        signing.forget()


def use(algorithm, **more):
    config.settings = config.settings.model_copy(update={"JWT_ALGORITHM": algorithm, **more})


def stored():
    with reading() as db:
        return db.scalar(select(func.count()).select_from(SigningKey))


def kids():
    return [one["kid"] for one in signing.published()]


@pytest.mark.parametrize(("algorithm", "curve"), [("ES256", "P-256"), ("EdDSA", "Ed25519")])
def test_the_first_need_makes_a_key_and_its_public_half_verifies(algorithm, curve):
    use(algorithm)
    pair = signing.current()
    (public,) = signing.published()
    assert public["crv"] == curve
    assert (public["alg"], public["use"], public["kid"]) == (algorithm, "sig", import_key(public).thumbprint())
    assert "d" not in public
    token = jwt.encode({"sub": "x"}, pair.private, algorithm)
    assert jwt.decode(token, jwt.PyJWK(public), algorithms=[algorithm]) == {"sub": "x"}
    with reading() as db:
        row = db.scalars(select(SigningKey)).one()
    assert b'"d"' not in row.private_encrypted
    assert "d" not in row.public


def test_of_many_processes_that_need_the_first_key_one_makes_it():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: signing._make_first(), range(8)))
    assert stored() == 1


def test_hs256_has_no_pairs():
    use("HS256")
    signing.prepare()
    assert signing.published() == []
    with pytest.raises(Conflict, match="HS256"):
        signing.rotate()
    assert stored() == 0


def test_a_new_key_is_told_before_it_signs_and_the_old_one_verifies_until_its_last_token_is_over(moved_clock):
    old = signing.current().kid
    moved_clock(1)
    new = signing.rotate()
    assert kids() == [new, old]
    assert signing.current().kid == old
    moved_clock(1 + signing.PUBLISHED_SECONDS)
    assert signing.current().kid == new
    assert signing.find(old)
    longest = lifetimes.of_tokens().total_seconds()
    moved_clock(signing.PUBLISHED_SECONDS + longest)  # The last token that the old one may have signed is not over yet.
    assert kids() == [new, old]
    moved_clock(1 + signing.LAST_USE_SECONDS + longest)
    assert kids() == [new]
    assert signing.find(old) is None


def test_another_process_knows_a_new_key_at_once_when_it_meets_it_and_else_soon(moved_clock):
    signing.current()
    known, read_at = signing._known, signing._read_at
    new = signing.rotate()
    signing._known, signing._read_at = known, read_at  # As another process has it.
    moved_clock(signing.ASK_SECONDS)
    assert signing.find(new)
    signing._known, signing._read_at = known, read_at
    moved_clock(signing.READ_SECONDS)
    assert new in {one.kid for one in signing.known()}


def test_names_that_are_made_up_do_not_bring_a_question_each(monkeypatch):
    signing.current()
    monkeypatch.setattr(clock, "epoch", lambda: 2_000_000_000)
    signing.known()
    asked = []
    real = signing._read
    monkeypatch.setattr(signing, "_read", lambda: asked.append(1) or real())
    for number in range(100):
        assert signing.find(f"nobody{number}") is None
    assert asked == []
    monkeypatch.setattr(clock, "epoch", lambda: 2_000_000_001)
    for number in range(100):
        assert signing.find(f"nobody{number}") is None
    assert asked == [1]


def test_while_the_database_is_away_what_is_known_goes_on(monkeypatch, moved_clock):
    pair = signing.current()

    def away():
        raise Unavailable

    monkeypatch.setattr(signing, "reading", away)
    moved_clock(100)
    assert signing.current() == pair
    assert signing.find(pair.kid)
    signing.forget()
    with pytest.raises(Unavailable):
        signing.current()


def test_another_algorithm_lets_the_key_of_the_one_before_run_out(moved_clock):
    old = signing.current().kid
    use("EdDSA")
    signing.prepare()
    assert signing.current().algorithm == "EdDSA"
    assert signing.find(old)
    use("HS256")
    signing.prepare()
    assert signing.find(old)  # Tokens of before go on until they are over.
    moved_clock(lifetimes.of_tokens().total_seconds() + signing.LAST_USE_SECONDS + 1)
    assert signing.find(old) is None
    with reading() as db:
        assert db.scalar(select(func.count()).where(SigningKey.ends_at.is_(None))) == 0
    use("ES256")
    signing.prepare()
    assert signing.current().kid != old


def test_a_key_that_no_fernet_key_opens_only_verifies():
    old = signing.current().kid
    use("ES256", FERNET_KEY=Fernet.generate_key().decode())
    signing.forget()
    assert signing.current().kid != old
    assert signing.find(old)
    assert set(kids()) == {old, signing.current().kid}


def test_the_private_half_moves_under_a_new_fernet_key():
    kid, old, new = signing.current().kid, config.settings.FERNET_KEY, Fernet.generate_key().decode()
    use("ES256", FERNET_KEY=f"{new},{old}")
    assert keys.rotate_encryption() == (1, 0, 0)
    use("ES256", FERNET_KEY=new)
    signing.forget()
    assert signing.current().kid == kid


def test_without_tables_a_process_starts_all_the_same():
    Base.metadata.drop_all(database.engine)
    signing.prepare()


def test_a_key_from_a_host_whose_clock_is_ahead_signs_where_there_is_no_other():
    signing.current()
    with transaction() as db:
        db.execute(update(SigningKey).values(created_at=clock.now() + timedelta(minutes=5)))
    signing.forget()
    assert signing.current()
    assert stored() == 1
