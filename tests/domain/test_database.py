"""The way to the database."""

import config
from domain import database


def test_a_new_database_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "new.db"
    settings = config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, SQLALCHEMY_DATABASE_URI=f"sqlite:///{path}")
    database.connect(settings)
    with database.connection() as connection:
        connection.exec_driver_sql("CREATE TABLE one (id INTEGER)")
        made = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.glob("new.db*")}
    database.disconnect()
    assert made == dict.fromkeys(made, 0o600)
    assert "new.db-wal" in made
