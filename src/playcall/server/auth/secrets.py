"""Secrets that we make: shown once, kept as a hash.

They carry 256 random bits, so SHA-256 is the right hash: there is no guessing to slow down, and every request looks one
up. Passwords, which people choose, are another matter (`passwords`).
"""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["API_KEY_PREFIX", "REFRESH_PREFIX", "hash_secret", "hint_of", "new_secret"]

API_KEY_PREFIX = "pk_"
REFRESH_PREFIX = "rt_"


def new_secret(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def hint_of(secret: str) -> str:
    """Enough to tell one's keys apart, too little to guess from."""
    return secret[: len(API_KEY_PREFIX) + 5]
