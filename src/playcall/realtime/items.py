"""What a subscription wants, and what it gives beside events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..models.agent import Agent
from ..models.cursor import Cursor
from ..models.playbook import Playbook
from ..models.run import Run
from ..models.task import Task
from ..models.tool import Tool
from .plain_items import PlainOnGap

__all__ = ["DEFAULT_WINDOW", "Gap", "OnGap", "Snapshot", "Start", "TopicState", "Want"]

Start: TypeAlias = Cursor | Literal["start", "head"]
"""After this cursor; from the oldest event still kept; or only what comes from now on."""

OnGap: TypeAlias = Literal["raise", "yield", "snapshot"]

TopicState: TypeAlias = (
    Run
    | Task
    | Agent
    | tuple[Run, ...]
    | tuple[Task, ...]
    | tuple[Agent, ...]
    | tuple[Playbook, ...]
    | tuple[Tool, ...]
)
"""What a topic's events change: one resource, or all of a collection."""

DEFAULT_WINDOW = 1_000
"""Events that may wait for a consumer; the server is given no more credit than fits."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Events after `lost_after` are gone, and the next item follows `resume`.

    `reason` is open: `expired` (older than what is kept), `epoch` (a new or restored database) or `ahead` (the log is
    shorter than what we had) today. Stands in the stream where the events would have stood.
    """

    topic: str
    reason: str
    lost_after: Cursor
    resume: Cursor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """After `gap`, the state that stood at `cursor`, read over HTTP; the next event follows `cursor`.

    Stands in the stream where the lost events would have stood: what is known from before is to be replaced by `state`.
    """

    gap: Gap
    state: TopicState
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Want:
    """One subscription as the user asked for it. `types` are patterns, None means all."""

    topic: str
    types: tuple[str, ...] | None = None
    start: Start = "head"
    on_gap: OnGap | PlainOnGap = "raise"
    window: int = DEFAULT_WINDOW
