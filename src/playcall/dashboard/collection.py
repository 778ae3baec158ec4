"""A collection (playbooks, runs, agents, tasks, tools) as it stands: read once, then moved by the events of its topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Generic, TypeVar

from playcall import Playcall
from playcall.dashboard.finding import PlaybookWish, RunWish, TaskWish
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
"""Items that are kept, the newest; what is older is to be asked for with a wish."""

FOUND_AT_MOST: Final = 200
"""Of those that fit a wish, where it has to be asked for."""

STEPS_KEPT: Final = 50
"""Of a playbook; one may have 2,000."""

ANY_PLAYBOOK: Final = PlaybookWish()
ANY_RUN: Final = RunWish()
ANY_TASK: Final = TaskWish()

ItemT = TypeVar("ItemT", bound=Resource)
WishT = TypeVar("WishT")


class Collection(Followed, Generic[ItemT]):
    """The newest items of a collection, or of those in it that fit."""

    def __init__(
        self,
        topic: str,
        read: Callable[[Playcall, int], Iterable[ItemT]],
        kind: type[ItemT],
        *,
        most: int,
        fits: Callable[[ItemT], bool] = lambda item: True,
        slim: Callable[[ItemT], ItemT] = lambda item: item,
    ) -> None:
        """The collection behind `topic`.

        Args:
            read: Gives the newest items that fit, at most so many.
            fits: By what an event says of an item, whether it belongs here.
            slim: Leaves out of an item what is not shown and may be large.
        """
        super().__init__()
        self._topic = topic
        self._read = read
        self._kind = kind
        self._most = most
        self._fits = fits
        self._slim = slim
        self._items: dict[str, ItemT] = {}
        self._end: tuple[datetime, str] | None = None
        """Where what is kept ends: there may be items with an earlier place. None: they are all here."""
        self._ordered: tuple[int, tuple[ItemT, ...]] = (-1, ())

    def items(self) -> tuple[ItemT, ...]:
        """The newest first."""
        with self.lock:
            if self._ordered[0] != self.version:
                self._ordered = self.version, tuple(sorted(self._items.values(), key=_place_of, reverse=True))
            return self._ordered[1]

    def get(self, id: str) -> ItemT | None:
        """None where it is not known, or not any more; it may be older than what is kept."""
        with self.lock:
            return self._items.get(id)

    @property
    def full(self) -> bool:
        """Whether there may be older ones than these."""
        with self.lock:
            return self._end is not None

    @property
    def thin(self) -> bool:
        """Whether so many have gone that older ones are to be read."""
        with self.lock:
            return self.full and len(self._items) < self._most // 2

    # --- feeding ------------------------------------------------------------------------------------------------------

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        # Subscribed before it is read: what happens in between comes as an event, and a version tells which is newer.
        with client.events.subscribe(self._topic, on_gap="yield") as feed:
            closing(feed)
            self.replace(self._read(client, self._most))
            for item in feed:
                if not isinstance(item, Gap):
                    self.take(item)
                if isinstance(item, Gap) or self.thin:
                    self.replace(self._read(client, self._most))

    def replace(self, items: Iterable[ItemT]) -> None:
        """What is known so far is forgotten."""
        read = {_id_of(item): self._slim(item) for item in items}
        with self.lock:
            self._items = read
            self._end = min(map(_place_of, read.values())) if len(read) >= self._most else None
            self.moved()

    def take(self, event: AnyEvent) -> None:
        with self.lock:
            key, item = change_of(event)
            if key is None:
                return
            known = self._items.get(key)
            if item is None:
                self._leave_out(key)
            elif not isinstance(item, self._kind) or (known is not None and known.version >= item.version):
                return
            elif not self._fits(item) or (self._end is not None and _place_of(item) < self._end):
                self._leave_out(key)
            else:
                self._items[key] = self._slim(item)
                if len(self._items) > self._most:
                    oldest = min(self._items, key=lambda each: _place_of(self._items[each]))
                    self._end = _place_of(self._items.pop(oldest))
                self.moved()

    def _leave_out(self, key: str) -> None:
        if self._items.pop(key, None) is not None:
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


def _place_of(item: Resource) -> tuple[datetime, str]:
    """In the order in which a collection is listed, the oldest first."""
    return item.created_at, _id_of(item)


def _without_values(run: Run) -> Run:
    return run.model_copy(update={"inputs": {}, "output": None})


def _without_output(task: Task) -> Task:
    return task.model_copy(update={"parameters": {}, "output": None})


def _without_many_steps(playbook: Playbook) -> Playbook:
    return playbook if len(playbook.steps) <= STEPS_KEPT else playbook.model_copy(update={"steps": []})


def playbooks(following: Following, wish: PlaybookWish = ANY_PLAYBOOK) -> Collection[Playbook]:
    """Without steps where they are many: an event of such a one has none either. It is to be read by itself, then.

    With what fits the wish, as `runs`.
    """

    def that_fit(wish: PlaybookWish, most: int) -> Collection[Playbook]:
        return Collection(
            "playbooks",
            lambda client, most: client.playbooks.list(
                text=wish.text.strip() or None, tag=wish.tag, agent=wish.agent, newest_first=True, max_items=most
            ),
            Playbook,
            most=most,
            fits=wish.fits,
            slim=_without_many_steps,
        )

    return _found(following, "playbooks", wish, ANY_PLAYBOOK, that_fit)


def runs(following: Following, wish: RunWish = ANY_RUN) -> Collection[Run]:
    """Without inputs and outputs, which may be large.

    What fits the wish is in it, or the newest of that. Where all runs are known it has the others as well; where there
    may be older ones, those that fit are a collection of their own.
    """

    def that_fit(wish: RunWish, most: int) -> Collection[Run]:
        return Collection(
            "runs",
            lambda client, most: client.runs.list(
                status=wish.status, playbook=wish.playbook_id, newest_first=True, max_items=most
            ),
            Run,
            most=most,
            fits=wish.fits,
            slim=_without_values,
        )

    return _found(following, "runs", wish, ANY_RUN, that_fit)


def agents(following: Following) -> Collection[Agent]:
    return following.look(
        "agents",
        lambda: Collection(
            "agents", lambda client, most: client.agents.list(newest_first=True, max_items=most), Agent, most=MOST
        ),
    )


def tasks(following: Following, wish: TaskWish = ANY_TASK) -> Collection[Task]:
    """Without parameters and outputs, which may be large. With what fits the wish, as `runs`."""

    def that_fit(wish: TaskWish, most: int) -> Collection[Task]:
        return Collection(
            "tasks",
            lambda client, most: client.tasks.list(
                status=wish.status, agent=wish.agent_id, run=wish.run_id, newest_first=True, max_items=most
            ),
            Task,
            most=most,
            fits=wish.fits,
            slim=_without_output,
        )

    return _found(following, "tasks", wish, ANY_TASK, that_fit)


def tools(following: Following) -> Collection[Tool]:
    return following.look(
        "tools",
        lambda: Collection(
            "tools", lambda client, most: client.tools.list(newest_first=True, max_items=most), Tool, most=MOST
        ),
    )


def _found(
    following: Following,
    topic: str,
    wish: WishT,
    everything: WishT,
    that_fit: Callable[[WishT, int], Collection[ItemT]],
) -> Collection[ItemT]:
    known = following.look(topic, lambda: that_fit(everything, MOST))
    if wish == everything or not known.full:
        return known
    return following.look(f"{topic}: {wish}", lambda: that_fit(wish, FOUND_AT_MOST))
