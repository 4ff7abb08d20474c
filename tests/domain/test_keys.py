"""Stored secrets move under the newest key, and an older key can be thrown away."""

import pytest
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select, update

import config
from domain import canaries, clock, database, keys, secrets
from domain.database import new_id, reading, transaction
from domain.errors import Unavailable
from model import Base, Factor, Mail, SocialFlow, User
from tests import databases

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def tables(tmp_path):
    with databases.connected(tmp_path):
        Base.metadata.create_all(database.engine)
        use(OLD)
        yield


def use(*fernet_keys):
    config.settings = config.settings.model_copy(update={"FERNET_KEY": ",".join(fernet_keys)})


def store(count=1):
    now = clock.now()
    with transaction() as db:
        if db.get(User, "u") is None:
            db.add(User(id="u", email="jo@example.com", status="active", mfa_enabled=False, created_at=now, email_confirmed_at=now))
            db.flush()
        for _ in range(count):
            db.add(
                Factor(
                    id=new_id(), user_id="u", type="totp", name="t", secret_encrypted=secrets.encrypt("seed"), last_step=0, created_at=now
                )
            )
        flow = SocialFlow(id=new_id(), provider="google", state_hash=new_id(), nonce="n", created_at=now, expires_at=now)
        flow.verifier_encrypted = secrets.encrypt("verifier")
        mail = Mail(id=new_id(), state="queued", template="code", to="jo@example.com", tries=0, created_at=now, next_try_at=now)
        mail.values_encrypted = secrets.encrypt("{}")
        gone = Mail(id=new_id(), state="sent", template="code", to="jo@example.com", tries=0, created_at=now, next_try_at=now)
        db.add_all([flow, mail, gone])


def stored():
    with reading() as db:
        found = [db.scalars(select(column)).all() for _, column in keys.ENCRYPTED]
    return [value for values in found for value in values if value is not None]


def test_after_the_rotation_the_old_key_can_go():
    store()
    use(NEW, OLD)
    assert keys.rotate_encryption() == (3, 0, 0)
    use(NEW)
    assert sorted(map(secrets.decrypt, stored())) == ["seed", "verifier", "{}"]
    use(OLD)
    with pytest.raises(InvalidToken):
        secrets.decrypt(stored()[0])


def test_more_than_one_batch_is_rotated(monkeypatch):
    monkeypatch.setattr(keys, "BATCH", 2)
    store(count=5)
    use(NEW, OLD)
    assert keys.rotate_encryption() == (7, 0, 0)
    use(NEW)
    assert len(list(map(secrets.decrypt, stored()))) == 7


def test_a_secret_that_no_key_opens_is_left_and_told():
    store()
    with transaction() as db:
        db.execute(update(Factor).values(secret_encrypted=b"garbage"))
    use(NEW, OLD)
    assert keys.rotate_encryption() == (2, 1, 0)
    assert b"garbage" in stored()


def test_a_rotation_that_was_cut_short_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr(keys, "BATCH", 2)
    store(count=5)
    canaries.keep()
    use(NEW, OLD)
    with monkeypatch.context() as short:
        short.setattr(keys, "_next", away_after(2, keys._next))
        with pytest.raises(Unavailable):
            keys.rotate_encryption()
    under_newest = [value for value in stored() if secrets.is_newest(value)]
    assert len(under_newest) == 4
    use(NEW)
    assert canaries.faults() == [canaries.WRONG_FERNET_KEY]  # The mark is the last to be rotated.
    use(NEW, OLD)
    assert keys.rotate_encryption() == (6, 0, 0)
    assert {*under_newest} <= {*stored()}
    use(NEW)
    assert canaries.faults() == []
    assert keys.rotate_encryption() == (0, 0, 0)


def test_what_a_server_with_the_old_list_writes_meanwhile_is_told(monkeypatch):
    store()
    use(NEW, OLD)
    rotate = keys._rotate

    def late(key, column):
        done = rotate(key, column)
        if column is Factor.secret_encrypted:
            use(OLD)
            store()
            use(NEW, OLD)
        return done

    monkeypatch.setattr(keys, "_rotate", late)
    assert keys.rotate_encryption() == (5, 0, 1)
    assert keys.rotate_encryption().older == 1  # `late` writes again.


def away_after(batches, looking):
    def look(*where):
        nonlocal batches
        if batches == 0:
            raise Unavailable
        batches -= 1
        return looking(*where)

    return look


def test_every_encrypted_column_of_the_model_is_rotated():
    encrypted = {column for table in Base.metadata.tables.values() for column in table.columns if column.name.endswith("_encrypted")}
    assert encrypted == {column.property.columns[0] for _, column in keys.ENCRYPTED}
