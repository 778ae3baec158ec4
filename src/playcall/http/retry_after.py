"""When an answer asks to be asked again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_seconds"]


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What the answer asks for: `Retry-After-Ms`, or `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).

    A date in the past means at once; what cannot be read counts as not there.
    """
    milliseconds = headers.get("Retry-After-Ms")
    if milliseconds is not None and (parsed := _number(milliseconds)) is not None:
        return parsed / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # RFC 9110 section 5.6.7: always GMT
    return max(0.0, (moment - now).total_seconds())


def _number(text: str) -> float | None:
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
