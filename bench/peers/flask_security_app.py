"""The first peer: Flask-Security-Too with Flask-SQLAlchemy, tokens and refresh tokens, as its quick start sets it up.

Apart from its quick start: PostgreSQL, sign-up and refresh tokens switched on, bcrypt at cost 4, no mail at sign-up, and
no CSRF tokens, which callers with a token don't need. All but the first make it faster than it is by itself.
"""

import os

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, auth_required, current_user
from flask_security.models import fsqla_v4
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SECRET_KEY"],
    SECURITY_PASSWORD_SALT=os.environ["SECRET_KEY"][::-1],
    SECURITY_PASSWORD_HASH="bcrypt",
    SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={"bcrypt__rounds": 4},
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    SECURITY_REGISTERABLE=True,
    SECURITY_USE_REGISTER_V2=True,
    SECURITY_SEND_REGISTER_EMAIL=False,
    SECURITY_REFRESH_TOKEN=True,
    SECURITY_REFRESH_TOKEN_COOKIE_NAME=None,
    WTF_CSRF_ENABLED=False,
    SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URI"].replace("postgresql:", "postgresql+psycopg:"),
    SQLALCHEMY_ENGINE_OPTIONS={"pool_pre_ping": True, "pool_size": 16},
    REMEMBER_COOKIE_SAMESITE="strict",
    SESSION_COOKIE_SAMESITE="strict",
)
db = SQLAlchemy(app)
fsqla_v4.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v4.FsRoleMixin):
    """Its roles; nobody has any here."""


class FsRefreshTracker(db.Model, fsqla_v4.FsRefreshTrackerMixin):
    """Its chains of refresh tokens."""


class User(db.Model, fsqla_v4.FsUserMixin):
    """Its accounts."""


security = Security(app, SQLAlchemyUserDatastore(db, User, Role, refresh_tracker_model=FsRefreshTracker))


@app.get("/me")
@auth_required("token")
def me() -> dict[str, object]:
    """The caller, with the fields that the other peer shows too."""
    return {"id": current_user.id, "email": current_user.email, "is_active": current_user.active, "username": current_user.username}


with app.app_context():
    db.create_all()
