"""The deletion of one run or task. Its own topic ends with it and says nothing later; only that of all of them does."""

from __future__ import annotations

from collections.abc import Callable

from playcall import Playcall
from playcall.dashboard.following import Closable
from playcall.models.event import RunDeletedData, TaskDeletedData
from playcall.realtime.items import Gap

__all__ = ["until_deleted"]


def until_deleted(
    client: Playcall, topic: str, id: str, read: Callable[[], object], closing: Callable[[Closable], None]
) -> None:
    """Returns when the feed is closed.

    Args:
        topic: Of all runs, or all tasks.
        read: Is called once the deletion would be heard, and again when it was, or may have been missed. It reads the
            resource, so it raises NotFoundError then.
    """
    with client.events.subscribe(topic, types=["*.deleted"], on_gap="yield") as feed:
        closing(feed)
        read()
        for item in feed:
            if isinstance(item, Gap):
                read()
                continue
            match item.data:
                case RunDeletedData(run_id=deleted) | TaskDeletedData(task_id=deleted) if deleted == id:
                    read()
                case _:
                    pass
