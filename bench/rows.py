"""Accounts and sessions by the thousand, each a copy of one that the server itself has made."""

from collections.abc import Callable
from typing import Any

import psycopg

SEED, SEED_ATTEMPT = "seed@example.com", "attempt@example.com"
STATES = ("known", "unconfirmed", "disabled", "social only", "second factor")
WITH_PASSWORD = ("known", "disabled", "second factor")
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


def fill_services(database: str, accounts: int, keys: int, roles: int) -> None:
    """So many API keys, spread over the accounts, as many application tokens, and so many roles, of which every account has three:
    each a copy of one that the server has made.
    """
    hashed = "md5('one' || n) || md5('other' || n)"
    owner = "'user_id', md5('account' || (1 + mod(n, %(accounts)s)))"
    given = "SELECT md5('account' || n), md5('role' || (1 + mod(3 * n + m, %(roles)s))), now() AT TIME ZONE 'UTC'"
    with psycopg.connect(database) as db:
        for table, changes in (("api_keys", f"'key_hash', {hashed}, {owner}"), ("app_tokens", f"'token_hash', {hashed}")):
            seed = f"id = (SELECT min(id) FROM {table})"
            _copy(db, table, seed, f"'id', md5('key' || n), {changes}", many=keys, accounts=accounts)
        _copy(db, "roles", "name = 'reader'", "'id', md5('role' || n), 'name', 'role-' || n", many=roles)
        db.execute(
            f"INSERT INTO assignments {given} FROM generate_series(1, %(accounts)s) AS n, generate_series(1, 3) AS m",
            {"accounts": accounts, "roles": roles},
        )
    _settle(database)


def fill_states(database: str, addresses: dict[str, list[str]]) -> None:
    """Accounts with these addresses, copies of the seed; of the state `unconfirmed` open attempts to sign up."""
    ids = "'id', md5('state' || n || %(state)s), 'email', (%(emails)s::text[])[n]"
    with psycopg.connect(database) as db:
        for state, emails in addresses.items():
            table, seed = ("sign_up_attempts", SEED_ATTEMPT) if state == "unconfirmed" else ("users", SEED)
            _copy(db, table, "email = %(seed)s", f"{ids}, 'bio', %(state)s::text", seed, many=len(emails), emails=emails, state=state)


def change_states(database: str) -> None:
    """What comes after a first sign-in: some accounts are disabled, have no password any more, or a second factor."""
    with psycopg.connect(database) as db:
        db.execute("UPDATE users SET status = 'inactive' WHERE bio = 'disabled'")
        db.execute("UPDATE users SET password_hash = NULL WHERE bio = 'social only'")
        db.execute("UPDATE users SET mfa_enabled = true WHERE bio = 'second factor'")
        db.execute(
            "INSERT INTO factors (id, user_id, type, name, last_step, created_at, proven_at) "
            "SELECT id, id, 'totp', 'app', 0, created_at, created_at FROM users WHERE mfa_enabled"
        )
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


def _copy(db: psycopg.Connection, table: str, which: str, changes: str, seed: str = SEED, **values: Any) -> None:
    statement = COPIES.format(table=table, seed=which, changes=changes)
    db.execute(statement, {"seed": seed, **values})  # type: ignore[arg-type]


def _settle(database: str) -> None:
    """Let PostgreSQL know its tables before anything is measured, rather than in the middle of it."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
