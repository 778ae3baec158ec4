"""Hooks around each attempt: for metrics, tracing and headers of one's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..checks import check_header
from ..timeline import Attempt

__all__ = ["AttemptEnd", "AttemptHook", "AttemptStart", "begin", "end"]

log = logging.getLogger("playcall.http")


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """An attempt that is about to be sent. What a hook puts into `headers` goes with it; credentials are not shown.

    `path` is what is sent, `template` names the route (`/playbooks/{id}`). `number` counts from 1, over retries,
    redirects and renewals.
    """

    method: str
    path: str
    template: str
    host: str
    port: int
    number: int
    request_id: str
    idempotency_key: str | None
    headers: dict[str, str] = field(default_factory=dict[str, str])


AttemptEnd: TypeAlias = Callable[[Attempt], object]
AttemptHook: TypeAlias = Callable[[AttemptStart], AttemptEnd | None]
"""Called before each attempt; what it returns is called with the attempt once that has ended, whatever ended it.

On the blocking face both run on playcall's own thread, so they must not block. What a hook raises is logged, and stops
nothing."""


def begin(hooks: Sequence[AttemptHook], start: AttemptStart) -> list[AttemptEnd]:
    """Calls the hooks, in order; gives what they want called at the end, in the opposite order."""
    ends: list[AttemptEnd] = []
    for hook in hooks:
        before = dict(start.headers)
        try:
            end = hook(start)
            for name, value in start.headers.items():
                check_header(name, value)
        except Exception:
            log.exception("a hook raised before an attempt", extra={"event": "hook"})
            start.headers.clear()
            start.headers.update(before)
        else:
            if end is not None:
                ends.insert(0, end)
    return ends


def end(ends: Sequence[AttemptEnd], attempt: Attempt) -> None:
    """Tells those who wanted to know."""
    for each in ends:
        try:
            each(attempt)
        except Exception:
            log.exception("a hook raised after an attempt", extra={"event": "hook"})
