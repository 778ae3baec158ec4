"""Patterns over event types, and which collection topic carries what they match."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ..errors import InvalidArgumentError
from ..models import topic as topics

__all__ = [
    "COLLECTION_TYPES",
    "HIGH_RATE_TYPES",
    "check_topic",
    "check_types",
    "collection_for",
    "is_unicode",
    "matches",
]

COLLECTION_TYPES: dict[str, tuple[str, ...]] = {
    topics.RUNS: tuple(
        f"run.{what}"
        for what in (
            "created",
            "started",
            "changed",
            "paused",
            "resumed",
            "completed",
            "failed",
            "cancelled",
            "deleted",
        )
    ),
    topics.TASKS: tuple(
        f"task.{what}" for what in ("created", "started", "changed", "completed", "failed", "cancelled", "deleted")
    ),
    topics.PLAYBOOKS: ("playbook.created", "playbook.changed", "playbook.deleted"),
    topics.AGENTS: ("agent.created", "agent.changed", "agent.deleted"),
    topics.TOOLS: ("tool.created", "tool.changed", "tool.deleted"),
}
"""The types that a collection topic carries today (docs/realtime-protocol.md, «The log»)."""

HIGH_RATE_TYPES = (
    "run.step.started",
    "run.step.finished",
    "run.log",
    "run.artifact.created",
    "task.progress",
    "task.output.delta",
)
"""Only in the topic of one run, task or agent."""

_NOUNS = {
    "run": topics.RUNS,
    "task": topics.TASKS,
    "playbook": topics.PLAYBOOKS,
    "agent": topics.AGENTS,
    "tool": topics.TOOLS,
}


MAX_TOPIC_LENGTH = 100
MAX_PATTERNS = 100
MAX_PATTERN_LENGTH = 200
"""What a server takes (docs/realtime-protocol.md, «The server»)."""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def matches(pattern: str, type: str) -> bool:
    """Whether `pattern` matches the whole of `type`; `*` is any run of characters, dots included."""
    return _compiled(pattern).fullmatch(type) is not None


def check_topic(topic: str) -> str:
    """Raises InvalidArgumentError: no text, longer than 100 characters, or not Unicode."""
    if not isinstance(topic, str) or not topic.strip():  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"a topic is a name such as 'tasks' or 'run:ID', got {topic!r}")
    if len(topic) > MAX_TOPIC_LENGTH or not is_unicode(topic):
        raise InvalidArgumentError(f"a topic has at most {MAX_TOPIC_LENGTH} characters of Unicode, got {topic[:120]!r}")
    return topic


def is_unicode(text: str) -> bool:
    """Whether it can be sent: Python's strings may hold halves of surrogate pairs, which UTF-8 does not have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_types(types: Iterable[str] | None) -> tuple[str, ...] | None:
    """The patterns as the wire has them; None means all types.

    Raises:
        InvalidArgumentError: a single string, a pattern that is empty or longer than 200 characters, or more than 100.
    """
    if types is None:
        return None
    if isinstance(types, str):
        raise InvalidArgumentError(f"types is a list of patterns; write types=[{types!r}]")
    checked = tuple(types)
    for pattern in checked:
        if not isinstance(pattern, str) or not pattern or pattern != pattern.strip():  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise InvalidArgumentError(f"a type pattern is a non-empty string such as 'task.*', got {pattern!r}")
        if len(pattern) > MAX_PATTERN_LENGTH or not is_unicode(pattern):
            raise InvalidArgumentError(
                f"a type pattern has at most {MAX_PATTERN_LENGTH} characters of Unicode, got {pattern[:220]!r}"
            )
    if len(checked) > MAX_PATTERNS:
        raise InvalidArgumentError(f"types has at most {MAX_PATTERNS} patterns, got {len(checked)}")
    if not checked:
        raise InvalidArgumentError("types is empty, so nothing would ever match; leave it out for all types")
    return checked


def collection_for(pattern: str) -> str:
    """The collection topic that carries what `pattern` matches.

    A type that this version does not know may come in the topic of its noun, so it is let through.

    Raises:
        InvalidArgumentError: only the topic of one run, task or agent carries it, or several collections do.
    """
    noun = pattern.split(".", 1)[0]
    topic = _NOUNS.get(noun) if "." in pattern else None
    if topic is None:
        raise InvalidArgumentError(
            f"no single collection carries {pattern!r}: say topic= (one of {', '.join(sorted(COLLECTION_TYPES))}, "
            "or run:ID, task:ID, agent:ID)"
        )
    here = any(matches(pattern, each) for each in COLLECTION_TYPES[topic])
    if not here and any(matches(pattern, each) for each in HIGH_RATE_TYPES):
        raise InvalidArgumentError(
            f"{pattern!r} matches only events that come often, which are in the topic of one run or task: "
            f"say topic=, for example topic='{noun}:ID'"
        )
    return topic
