"""What becomes of a start: facts for whoever waits for it, or one sentence on why there is no server."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Started", "StartupError", "reason_of"]


class StartupError(Exception):
    """The server cannot start; the message is one sentence for people, with what to do."""


@dataclass(frozen=True, slots=True)
class Started:
    """`api_key` belongs to the first user, and is there at the first start of a database only."""

    url: str
    port: int
    api_key: str | None = field(repr=False)
    username: str


def reason_of(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
