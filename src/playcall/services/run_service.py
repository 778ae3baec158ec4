"""Runs: how a playbook's execution stands, and everything that happens in it."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any, Final, Literal, Protocol, TypeAlias, overload

from ..deadline import check_seconds
from ..errors import InvalidArgumentError, RunFailedError
from ..faces import Awaiting, Blocking, FaceT, call, stream
from ..http.bodies import BodySource, OnProgress
from ..http.paths import Path, path
from ..models.cursor import Cursor
from ..models.event import AnyEvent, RunData
from ..models.run import Artifact, LogLevel, LogLine, Run, RunStatus, RunStep
from ..models.topic import run_topic
from ..realtime.items import Snapshot
from .api_client import APIClient
from .live import BlockingLive, EventFeed, Live, LiveSource
from .paging import order_of, pages
from .resource import Resource
from .states import read_resource

__all__ = ["EventSource", "OnRunGap", "RunItem", "RunService", "RunSnapshot"]


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """The run as a GET gave it, and its place in the run's log: events that follow come after `cursor`."""

    data: RunData
    cursor: Cursor
    type: Literal["run.snapshot"] = "run.snapshot"
    terminal: bool = False


RunItem: TypeAlias = RunSnapshot | AnyEvent

_ENDINGS: Final = ("run.completed", "run.failed", "run.cancelled")


OnRunGap: TypeAlias = Literal["raise", "snapshot"]

_CHANGING_TYPES: Final = ("run.created", "run.started", "run.changed", "run.paused", "run.resumed", *_ENDINGS)
"""What carries the whole run. The log lines and tasks of a run, which are many, do not."""


class EventSource(Protocol):
    """What this service needs of realtime: the events of a topic after a place, ended by the last one."""

    def events_of(
        self,
        topic: str,
        *,
        start: Cursor | Literal["start"],
        types: Sequence[str] | None = None,
        on_gap: OnRunGap = "raise",
    ) -> AbstractAsyncContextManager[EventFeed]:
        """Raises: RealtimeError; TopicForbiddenError; EventGapError, unless gaps are to become snapshots."""
        ...


class RunService(Resource[Run, FaceT]):
    """`client.runs`. Beside the general errors: RunNotFoundError, RunEndedError, RunNotEndedError, ArtifactNotFoundError."""

    def __init__(self, api: APIClient[FaceT], events: EventSource) -> None:
        super().__init__(api, "/runs", Run)
        self._events = events

    @stream
    async def list(
        self: RunService[Awaiting],
        *,
        status: RunStatus | str | None = None,
        playbook: str | None = None,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Run]:
        """Your runs, oldest first unless told: with a status, of a playbook (its id)."""
        filters = {"status": status, "playbook": playbook, "order": order_of(newest_first)}
        async for run in pages(self._api, self._path, Run, page_size, max_items, filters):
            yield run

    @call
    async def cancel(self: RunService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Run:
        """Asks for the run to be stopped; it is `cancelled` once its step has really ended. Raises RunEndedError."""
        return await self._act(id, "cancel", Run, idempotency_key)

    @call
    async def pause(self: RunService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Run:
        """Asks for the run to be paused; it is `paused` before its next step. Raises RunEndedError."""
        return await self._act(id, "pause", Run, idempotency_key)

    @call
    async def resume(self: RunService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Run:
        """Lets a paused run go on. Raises RunEndedError."""
        return await self._act(id, "resume", Run, idempotency_key)

    @call
    async def retry(self: RunService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Run:
        """A new run (`retry_of` this one) that reuses the outputs of its finished steps. Raises RunNotEndedError."""
        return await self._act(id, "retry", Run, idempotency_key)

    @stream
    async def steps(
        self: RunService[Awaiting], id: str, *, page_size: int | None = None, max_items: int | None = None
    ) -> AsyncIterator[RunStep]:
        """The run's steps, in the playbook's order."""
        async for step in pages(self._api, self._item(id, "/steps"), RunStep, page_size, max_items, {}):
            yield step

    @stream
    async def logs(
        self: RunService[Awaiting],
        id: str,
        *,
        level: LogLevel | str | None = None,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[LogLine]:
        """What the run has logged so far, oldest first; of a level and above."""
        async for line in pages(self._api, self._item(id, "/logs"), LogLine, page_size, max_items, {"level": level}):
            yield line

    @stream
    async def artifacts(
        self: RunService[Awaiting], id: str, *, page_size: int | None = None, max_items: int | None = None
    ) -> AsyncIterator[Artifact]:
        """The run's files so far: what its steps made, and what was uploaded (`step_id` is None)."""
        async for artifact in pages(self._api, self._item(id, "/artifacts"), Artifact, page_size, max_items, {}):
            yield artifact

    @call
    async def read_artifact(self: RunService[Awaiting], id: str, name: str) -> bytes:
        """An artifact's content, in memory; for a large one use `download_artifact`.

        Raises:
            ArtifactNotFoundError: the run has no such file.
        """
        answer = await self._api.answer("GET", _artifact(id, name), headers={"Accept": "*/*"})
        return answer.body

    @call
    async def upload_artifact(
        self: RunService[Awaiting],
        id: str,
        name: str,
        source: BodySource,
        *,
        media_type: str | None = None,
        if_match: str | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Puts a file into the run's workspace, piece by piece, where its steps find it by its name.

        A file of that name is replaced. It is there whole or not at all, and once, however often it has to be sent: what
        can be read again (a path, bytes, a file that can seek) is, an iterator is sent once only.

        Args:
            name: Its path within the workspace, `data/input.csv`.
            source: A `pathlib.Path`, bytes, a binary file, or an iterable of bytes, sync or async.
            media_type: Guessed from the name unless given.
            if_match: Only while the file of that name has this content: the `sha256` of its `Artifact`.
            on_progress: Called with the bytes sent so far and how many there will be (None for an iterator). With a
                repeated attempt it begins anew.

        Raises:
            RunNotFoundError: there is no such run.
            RunEndedError: it has ended, and takes no more files.
            PayloadTooLargeError: it is larger than the backend takes.
            VersionMismatchError: `if_match` is not the content that is stored.
            InvalidArgumentError: `source` gives no bytes, or `name` is no path within a folder.
        """
        if isinstance(source, str):
            raise InvalidArgumentError(
                "an artifact is uploaded from a pathlib.Path, bytes, a binary file or an iterable"
            )
        return await self._api.put(
            _artifact(id, name),
            into=Artifact,
            content=source,
            content_type=media_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
            on_progress=on_progress,
            if_match=if_match,
            idempotency_key=idempotency_key,
        )

    @call
    async def download_artifact(
        self: RunService[Awaiting],
        id: str,
        name: str,
        to: str | FilePath,
        *,
        on_progress: OnProgress | None = None,
    ) -> FilePath:
        """Writes an artifact to the file `to`, piece by piece, and returns its path.

        The file is there whole or not at all: it is written beside its place and moved there at the end. Where the
        content breaks off, it goes on from there, within the one deadline (see `BaseAPIClient.download`).

        Args:
            on_progress: Called with the bytes so far and how many there will be (None where the backend does not say).

        Raises:
            ArtifactNotFoundError: the run has no such file.
            InvalidArgumentError: `to` cannot be written.
            ConnectionLostError: the content broke off, again and again.
        """
        return await self._api.download(_artifact(id, name), to, on_progress=on_progress)

    @stream
    async def watch(
        self: RunService[Awaiting],
        id: str,
        *,
        start: Cursor | Literal["snapshot", "start"] = "snapshot",
        on_gap: OnRunGap = "raise",
    ) -> AsyncIterator[RunItem]:
        """Everything that happens in the run, each event once and in order, until it ends; across any disconnect.

        Args:
            start: `snapshot` yields a `RunSnapshot` first, then what follows it; `start` yields every event from the
                first; a `Cursor` yields what comes after it.
            on_gap: Where events were lost for good: `raise`, or yield another `RunSnapshot` in their place.

        Raises:
            RunNotFoundError: there is no such run.
            EventGapError: events were lost for good (their retention had passed).
            RealtimeError: the stream cannot go on.
        """
        run, cursor = await self._snapshot(id)
        if start == "snapshot":
            yield _shown(run, cursor)
            if run.ended_at is not None:
                return  # state and cursor are of one moment, so the terminal event is not after it
            start = cursor
        elif isinstance(start, Cursor) and run.ended_at is not None and start == cursor:
            return
        async with self._events.events_of(run_topic(id), start=start, on_gap=on_gap) as events:
            async for item in events:
                if isinstance(item, Snapshot):
                    run = _run_of(item)
                    yield _shown(run, item.cursor)
                    if run.ended_at is not None:
                        return
                else:
                    yield item

    @overload
    def live(self: RunService[Awaiting], id: str) -> Live[Run]: ...
    @overload
    def live(self: RunService[Blocking], id: str) -> BlockingLive[Run]: ...
    def live(self: RunService[Any], id: str) -> Live[Run] | BlockingLive[Run]:
        """A run that stays current: `with client.runs.live(id) as live:`, then `live.value` and `live.changes()`.

        Raises:
            RunNotFoundError: on entering: there is no such run.
        """
        awaiting = self._awaiting()
        source = LiveSource(
            f"the run {id}",
            read=partial(awaiting._snapshot, id),
            follow=lambda start: self._events.events_of(
                run_topic(id), start=start, types=_CHANGING_TYPES, on_gap="snapshot"
            ),
            pick=_run_of,
            is_newer=_is_newer,
            is_over=_is_over,
        )
        return BlockingLive(source) if self._blocking else Live(source)

    @call
    async def wait(
        self: RunService[Awaiting], id: str, *, timeout_seconds: float | None = None, check: bool = False
    ) -> Run:
        """Waits until the run has ended, and returns how it did.

        Raises:
            RunFailedError: with `check`, when it ended otherwise than completed.
            TimeoutError: it had not, after `timeout_seconds` (None: no bound). The run goes on.
        """
        seconds = None if timeout_seconds is None else check_seconds(timeout_seconds, "timeout_seconds")
        async with asyncio.timeout(seconds):
            run, cursor = await self._snapshot(id)
            if run.ended_at is None:
                topic = run_topic(id)
                async with self._events.events_of(topic, start=cursor, types=_ENDINGS, on_gap="snapshot") as events:
                    async for item in events:
                        if isinstance(item, Snapshot) and _run_of(item).ended_at is not None:
                            break
                run, _ = await self._snapshot(id)
        if check and run.status != RunStatus.COMPLETED:
            why = "" if run.error is None else f": {run.error.message}"
            raise RunFailedError(f"the run {id} of {run.playbook_name!r} ended as {run.status}{why}", run=run)
        return run

    async def _snapshot(self: RunService[Awaiting], id: str) -> tuple[Run, Cursor]:
        return await read_resource(self._api, self._item(id), Run)


def _shown(run: Run, cursor: Cursor) -> RunSnapshot:
    return RunSnapshot(RunData(run=run), cursor, terminal=run.ended_at is not None)


@overload
def _run_of(item: Snapshot) -> Run: ...
@overload
def _run_of(item: AnyEvent | Snapshot) -> Run | None: ...
def _run_of(item: AnyEvent | Snapshot) -> Run | None:
    if isinstance(item, Snapshot):
        assert isinstance(item.state, Run)  # noqa: S101 - a run's topic has no other state
        return item.state
    return item.data.run if isinstance(item.data, RunData) else None


def _is_newer(one: Run, other: Run) -> bool:
    return one.version > other.version


def _is_over(run: Run) -> bool:
    return run.ended_at is not None


def _artifact(id: str, name: str) -> Path:
    return path("/runs/{id}/artifacts/{name_}", id=id, name_=name)
