"""A collection (playbooks, runs, agents, tasks, tools) as it stands: read once, then moved by the events of its topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from playcall import Playcall
from playcall.dashboard.following import Closable, Followed, Following
from playcall.models import Agent, AnyEvent, Playbook, Resource, Run, Task, Tool
from playcall.models.event import (
    AgentData,
    AgentDeletedData,
    PlaybookData,
    PlaybookDeletedData,
    RunData,
    RunDeletedData,
    TaskData,
    TaskDeletedData,
    ToolData,
    ToolDeletedData,
)
from playcall.realtime.items import Gap

__all__ = ["Collection", "agents", "playbooks", "runs", "tasks", "tools"]

MOST: Final = 1_000
"""Items that are kept, the newest; what is older is to be asked for with a filter."""

STEPS_KEPT: Final = 50
"""Of a playbook; one may have 2,000."""

ItemT = TypeVar("ItemT", bound=Resource)


class Collection(Followed, Generic[ItemT]):
    """The newest items of a collection."""

    def __init__(
        self,
        topic: str,
        read: Callable[[Playcall, int], Iterable[ItemT]],
        kind: type[ItemT],
        *,
        most: int = MOST,
        slim: Callable[[ItemT], ItemT] = lambda item: item,
    ) -> None:
        """The collection behind `topic`.

        Args:
            read: Gives the newest items, at most so many.
            slim: Leaves out of an item what is not shown and may be large.
        """
        super().__init__()
        self._topic = topic
        self._read = read
        self._kind = kind
        self._most = most
        self._slim = slim
        self._items: dict[str, ItemT] = {}
        self._ordered: tuple[int, tuple[ItemT, ...]] = (-1, ())

    def items(self) -> tuple[ItemT, ...]:
        """The newest first."""
        with self.lock:
            if self._ordered[0] != self.version:
                ordered = sorted(self._items.items(), key=lambda each: (each[1].created_at, each[0]), reverse=True)
                self._ordered = self.version, tuple(item for _, item in ordered)
            return self._ordered[1]

    def get(self, id: str) -> ItemT | None:
        """None where it is not known, or not any more; it may be older than what is kept."""
        with self.lock:
            return self._items.get(id)

    @property
    def full(self) -> bool:
        """Whether there may be older ones than these."""
        with self.lock:
            return len(self._items) >= self._most

    # --- feeding ------------------------------------------------------------------------------------------------------

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        # Subscribed before it is read: what happens in between comes as an event, and a version tells which is newer.
        with client.events.subscribe(self._topic, on_gap="yield") as feed:
            closing(feed)
            self.replace(self._read(client, self._most))
            for item in feed:
                if isinstance(item, Gap):
                    self.replace(self._read(client, self._most))
                else:
                    self.take(item)

    def replace(self, items: Iterable[ItemT]) -> None:
        """What is known so far is forgotten."""
        read = {_id_of(item): self._slim(item) for item in items}
        with self.lock:
            self._items = read
            self.moved()

    def take(self, event: AnyEvent) -> None:
        with self.lock:
            key, item = change_of(event)
            if key is None:
                return
            if item is None:
                if self._items.pop(key, None) is not None:
                    self.moved()
                return
            known = self._items.get(key)
            if not isinstance(item, self._kind) or (known is not None and known.version >= item.version):
                return
            self._items[key] = self._slim(item)
            if len(self._items) > self._most:
                del self._items[min(self._items, key=lambda each: (self._items[each].created_at, each))]
            self.moved()


def change_of(event: AnyEvent) -> tuple[str | None, Resource | None]:
    """What an event says of which item: as it is now, or None where it is deleted. No id: nothing of an item as a whole."""
    match event.data:
        case RunData(run=item) | TaskData(task=item) | AgentData(agent=item):
            return item.id, item
        case PlaybookData(playbook=item) | ToolData(tool=item):
            return item.id, item
        case RunDeletedData(run_id=key) | TaskDeletedData(task_id=key) | AgentDeletedData(agent_id=key):
            return key, None
        case PlaybookDeletedData(playbook_id=key) | ToolDeletedData(tool_id=key):
            return key, None
        case _:
            return None, None


def _id_of(item: Resource) -> str:
    return str(getattr(item, "id"))  # noqa: B009 - every resource of a collection has one; their base class does not


def _without_values(run: Run) -> Run:
    return run.model_copy(update={"inputs": {}, "output": None})


def _without_output(task: Task) -> Task:
    return task.model_copy(update={"parameters": {}, "output": None})


def _without_many_steps(playbook: Playbook) -> Playbook:
    return playbook if len(playbook.steps) <= STEPS_KEPT else playbook.model_copy(update={"steps": []})


def playbooks(following: Following) -> Collection[Playbook]:
    """Without steps where they are many: an event of such a one has none either. It is to be read by itself, then."""
    return following.look(
        "playbooks",
        lambda: Collection(
            "playbooks",
            lambda client, most: client.playbooks.list(newest_first=True, max_items=most),
            Playbook,
            slim=_without_many_steps,
        ),
    )


def runs(following: Following) -> Collection[Run]:
    """Without inputs and outputs, which may be large."""
    return following.look(
        "runs",
        lambda: Collection(
            "runs",
            lambda client, most: client.runs.list(newest_first=True, max_items=most),
            Run,
            slim=_without_values,
        ),
    )


def agents(following: Following) -> Collection[Agent]:
    return following.look(
        "agents",
        lambda: Collection("agents", lambda client, most: client.agents.list(newest_first=True, max_items=most), Agent),
    )


def tasks(following: Following) -> Collection[Task]:
    """Without parameters and outputs, which may be large."""
    return following.look(
        "tasks",
        lambda: Collection(
            "tasks",
            lambda client, most: client.tasks.list(newest_first=True, max_items=most),
            Task,
            slim=_without_output,
        ),
    )


def tools(following: Following) -> Collection[Tool]:
    return following.look(
        "tools",
        lambda: Collection("tools", lambda client, most: client.tools.list(newest_first=True, max_items=most), Tool),
    )
