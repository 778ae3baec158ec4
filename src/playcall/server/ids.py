"""Ids: opaque, never reused, and their first letters say what they name."""

from __future__ import annotations

import secrets

__all__ = ["new_id"]


def new_id(kind: str) -> str:
    """`run` gives `run_` and 96 random bits. Not sortable: order comes from `created_at`."""
    return f"{kind}_{secrets.token_hex(12)}"
