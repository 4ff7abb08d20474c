"""The second peer: fastapi-users with SQLAlchemy and JWT bearer tokens, as its full example sets it up.

Apart from the example: PostgreSQL through asyncpg, bcrypt at cost 4 instead of Argon2, and only the routers that are
measured. It has no refresh tokens.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = os.environ["SECRET_KEY"]
engine = create_async_engine(os.environ["DATABASE_URI"].replace("postgresql:", "postgresql+asyncpg:"), pool_size=16)
open_session = async_sessionmaker(engine, expire_on_commit=False)
passwords = PasswordHelper(PasswordHash((BcryptHasher(rounds=4),)))


class Base(DeclarativeBase):
    """Its tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """Its accounts, in the table `user`."""


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """What the example does with accounts; it mails nothing."""

    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def session() -> AsyncIterator[AsyncSession]:
    """One database session a request."""
    async with open_session() as opened:
        yield opened


async def manager(opened: Annotated[AsyncSession, Depends(session)]) -> AsyncIterator[Manager]:
    """One manager a request."""
    yield Manager(SQLAlchemyUserDatabase(opened, User), passwords)


def strategy() -> JWTStrategy[User, uuid.UUID]:
    """Signed tokens for an hour."""
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table at the start."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


bearer = AuthenticationBackend(name="jwt", transport=BearerTransport(tokenUrl="auth/jwt/login"), get_strategy=strategy)
users = FastAPIUsers[User, uuid.UUID](manager, [bearer])
app = FastAPI(lifespan=lifespan)
app.include_router(users.get_auth_router(bearer), prefix="/auth/jwt")
app.include_router(users.get_register_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserCreate), prefix="/auth")
app.include_router(users.get_users_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserUpdate), prefix="/users")
