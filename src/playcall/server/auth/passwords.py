"""Passwords: what is taken for one, and argon2, in a thread, because hashing is meant to be slow."""

from __future__ import annotations

import asyncio
import unicodedata
from functools import cache
from typing import Final

from pwdlib import PasswordHash

__all__ = [
    "MAX_BYTES",
    "MIN_CHARACTERS",
    "UnfitPasswordError",
    "hash_password",
    "new_password",
    "normal_password",
    "prepare_passwords",
    "verify_password",
]

MIN_CHARACTERS: Final = 8
"""NIST SP 800-63B section 5.1.1.2. Nothing is asked of their kinds: that makes passwords no better."""
MAX_BYTES: Final = 4_096
"""Nobody types so many; it only bounds what is hashed."""


class UnfitPasswordError(ValueError):
    """It cannot be anybody's password; the message says why, and nothing of it."""


def normal_password(text: str) -> str:
    """The one form of what may be typed in several: RFC 8265's OpaqueString (section 4.2.2), spaces of all kinds as one
    and characters composed (NFC)."""
    return unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in text))


def new_password(text: str) -> str:
    """A password that is to be set, in its one form.

    Raises:
        UnfitPasswordError: See there.
    """
    password = normal_password(text)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        raise UnfitPasswordError("a password has no control characters")
    if len(password) < MIN_CHARACTERS:
        raise UnfitPasswordError(f"a password has {MIN_CHARACTERS} characters at least")
    if len(password.encode()) > MAX_BYTES:
        raise UnfitPasswordError(f"a password has {MAX_BYTES:,} bytes at most")
    return password


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
    """Of a password as `new_password` gave it."""
    return await asyncio.to_thread(_hasher().hash, password)


async def verify_password(password: str, stored: str | None) -> bool:
    """False for a user without a password, and for no user (`stored` None): both take the usual time.

    Each takes 64 MiB meanwhile; whoever calls this bounds how many do so at once.
    """
    matches = await asyncio.to_thread(lambda: _hasher().verify(password, stored or _nobodys_hash()))
    return matches and stored is not None
