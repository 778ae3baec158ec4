"""What time it is, for rows and events."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_now"]


def utc_now() -> datetime:
    """The wall clock, aware, in UTC; to the microsecond, which is what both databases keep."""
    return datetime.now(UTC)
