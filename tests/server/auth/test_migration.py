"""A database of before there were sign-in counts keeps its users and keys."""

from __future__ import annotations

from alembic import command
from sqlalchemy import Connection, text

from playcall.server.auth.gate import Gate
from playcall.server.auth.secrets import hash_secret
from playcall.server.auth.tokens import TokenIssuer
from playcall.server.store.database import Database
from playcall.server.store.migrate import migration_config

NOW = "2026-01-02 03:04:05.000006"


def before(connection: Connection) -> None:
    config = migration_config(connection)
    command.upgrade(config, "0004")
    command.downgrade(config, "0003")
    connection.execute(text(f"INSERT INTO users (id, username, created_at) VALUES ('usr_1', 'ann', '{NOW}')"))
    connection.execute(
        text(
            "INSERT INTO api_keys (id, user_id, name, scope, hint, secret_hash, created_at) "
            f"VALUES ('key_1', 'usr_1', 'k', 'read', 'pk_', '{hash_secret('pk_old')}', '{NOW}')"
        )
    )
    connection.execute(
        text(
            "INSERT INTO refresh_tokens (id, user_id, scope, secret_hash, created_at, expires_at) "
            f"VALUES ('rft_1', 'usr_1', 'full', '{hash_secret('rt_old')}', '{NOW}', '{NOW}')"
        )
    )


async def test_users_and_keys_of_before_are_good_afterwards(database_url: str) -> None:
    old = Database.at(database_url)
    async with old.engine.begin() as connection:
        await connection.run_sync(before)
    await old.close()
    database = await Database.create(database_url)
    try:
        gate = Gate(database, TokenIssuer("k" * 64, access_seconds=1, refresh_seconds=1))
        caller = await gate.caller("pk_old")
        assert (caller.username, caller.scope, caller.credential_id) == ("ann", "read", "key_1")
        assert not await gate.is_revoked(caller)
    finally:
        await database.close()
