"""Accounts and sessions by the thousand, each a copy of one that the server itself has made."""

from collections.abc import Callable

import psycopg

SEED = "seed@example.com"
Fill = Callable[[str, int], None]

# A row for each number from 1 to %(many)s: like the seed's, but for the columns named here.
COPIES = """
INSERT INTO {table} SELECT copy.* FROM {table} AS seed, generate_series(1, %(many)s) AS n,
LATERAL jsonb_populate_record(seed, jsonb_build_object({changes})) AS copy WHERE seed.{seed}
"""


def fill_gatehouse(database: str, accounts: int, sessions: int = 0) -> None:
    """So many accounts; of sessions as many open ones and as many ended ones, spread over the accounts."""
    owner = "'user_id', md5('account' || (1 + mod(n, %(accounts)s)))"
    open_session = f"'id', md5('open' || n), {owner}"
    ended = f"'id', md5('ended' || n), {owner}, 'ended_at', now() AT TIME ZONE 'UTC', 'end_reason', 'revoked'"
    with psycopg.connect(database) as db:
        _copy(db, "users", "email = %(seed)s", "'id', md5('account' || n), 'email', 'account-' || n || '@example.com'", many=accounts)
        if sessions:
            _copy(db, "sessions", "id = (SELECT min(id) FROM sessions)", open_session, many=sessions, accounts=accounts)
            _copy(db, "sessions", "id = (SELECT min(id) FROM sessions)", ended, many=sessions, accounts=accounts)
    _settle(database)


def fill_flask_security(database: str, accounts: int) -> None:
    """So many accounts of Flask-Security-Too."""
    unique = "'fs_uniquifier', md5('account' || n), 'fs_webauthn_user_handle', md5('handle' || n)"
    changes = f"'id', n + 1000, 'email', 'account-' || n || '@example.com', {unique}"
    with psycopg.connect(database) as db:
        _copy(db, '"user"', "email = %(seed)s", changes, many=accounts)
        db.execute("SELECT setval('user_id_seq', (SELECT max(id) FROM \"user\"))")
    _settle(database)


def fill_fastapi_users(database: str, accounts: int) -> None:
    """So many accounts of fastapi-users."""
    with psycopg.connect(database) as db:
        _copy(db, '"user"', "email = %(seed)s", "'id', gen_random_uuid(), 'email', 'account-' || n || '@example.com'", many=accounts)
    _settle(database)


def _copy(db: psycopg.Connection, table: str, seed: str, changes: str, **numbers: int) -> None:
    statement = COPIES.format(table=table, seed=seed, changes=changes)
    db.execute(statement, {"seed": SEED, **numbers})  # type: ignore[arg-type]


def _settle(database: str) -> None:
    """Let PostgreSQL know its tables before anything is measured, rather than in the middle of it."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
