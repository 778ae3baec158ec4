"""Passwords: argon2, in a thread, because hashing is meant to be slow."""

from __future__ import annotations

import asyncio
from functools import cache

from pwdlib import PasswordHash

__all__ = ["hash_password", "prepare_passwords", "verify_password"]


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _nobodys_hash() -> str:
    """Verified against when there is no such user, so that the answer takes as long as for one there is."""
    return _hasher().hash("nobody has this password")


async def prepare_passwords() -> None:
    """Before the first login: whoever makes that hash would wait longer, and so learn that there is no such user."""
    await asyncio.to_thread(_nobodys_hash)


async def hash_password(password: str) -> str:
    return await asyncio.to_thread(_hasher().hash, password)


async def verify_password(password: str, stored: str | None) -> bool:
    """False for a user without a password, and for no user (`stored` None): both take the usual time."""
    matches = await asyncio.to_thread(lambda: _hasher().verify(password, stored or _nobodys_hash()))
    return matches and stored is not None
