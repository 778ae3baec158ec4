"""The events that a log keeps, read over HTTP: what happened before, without a subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ..checks import check_whole_number
from ..errors import EventGapError, InvalidArgumentError, PermissionDeniedError, TopicForbiddenError
from ..http.answers import unreadable
from ..models.cursor import Cursor
from ..models.frames import Ended, Events
from ..models.frames import Gap as GapFrame
from ..models.struct import reader
from ..realtime.codec import ServerFrame, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..answer import Answer
    from ..faces import Awaiting
    from ..models.event import AnyEvent
    from .api_client import APIClient

__all__ = ["DEFAULT_PAGE_EVENTS", "MAX_PAGE_EVENTS", "read_history"]

DEFAULT_PAGE_EVENTS: Final = 256
MAX_PAGE_EVENTS: Final = 1_000
_PATH: Final = "/events"


async def read_history(
    api: APIClient[Awaiting],
    topic: str,
    *,
    start: Cursor | Literal["start"] = "start",
    end: Cursor | None = None,
    types: Sequence[str] | None = None,
    page_size: int | None = None,
) -> AsyncIterator[AnyEvent]:
    """The events of a topic after `start`, up to and with `end`, oldest first; the client's deadline holds for each page.

    Args:
        end: None for the end that the log had when reading began, so that it ends however much is added meanwhile.
        page_size: Events to ask for at once, up to 1,000.

    Raises:
        TopicForbiddenError: there is no such topic for this caller.
        EventGapError: events after `start` are not kept any more, or `start` is of another log.
        InvalidArgumentError: `end` is of another epoch than the log.
        UnreadableAnswerError: a page does not follow on from the one before, or leads no further: what came is not all.
        RequestError: a page could not be had.
    """
    if page_size is not None:
        check_whole_number(page_size, "page_size", least=1)
    size = min(page_size or DEFAULT_PAGE_EVENTS, MAX_PAGE_EVENTS)
    reached: Cursor | None = start if isinstance(start, Cursor) else None
    last: int | None = None
    while True:
        answer = await _ask(api, topic, reached, types, size)
        page, frames = _page(answer)
        if last is None:
            if end is not None and end.epoch != page.epoch:
                raise InvalidArgumentError(f"end is a cursor of epoch {end.epoch}, the log of {topic} is {page.epoch}")
            last = page.head if end is None else min(end.seq, page.head)
        if reached is None:
            reached = Cursor(page.epoch, page.seq)
        before = reached.seq
        for frame in frames:
            if isinstance(frame, GapFrame):
                raise _gone(topic, frame)
            if isinstance(frame, Ended) and frame.reason == "forbidden":
                raise _forbidden(topic)
            if isinstance(frame, Events):
                _refuse_hole(answer, page.epoch, frame, reached, every=types is None)
                for event in frame.events:
                    if event.seq > last:
                        return
                    if event.seq > reached.seq:
                        yield event
                if frame.to > reached.seq:
                    reached = Cursor(page.epoch, frame.to, frame.id_at_end)
        _refuse_epoch(answer, page.epoch, reached)
        if reached.seq >= last:
            return
        if reached.seq == before:  # asked again it would say the same, for ever
            raise unreadable(answer, f"but it leads no further than {reached}, and the log goes on to {last}")


async def _ask(
    api: APIClient[Awaiting], topic: str, after: Cursor | None, types: Sequence[str] | None, size: int
) -> Answer:
    params: dict[str, str | int | Sequence[str]] = {
        "topic": topic,
        "from": "start" if after is None else str(after),
        "limit": size,
    }
    if after is not None and after.event_id is not None:
        params["from_id"] = after.event_id
    if types is not None:
        params["types"] = list(types)
    try:
        return await api.answer("GET", _PATH, params=params)
    except PermissionDeniedError as error:
        if error.code != "forbidden":
            raise
        raise _forbidden(topic) from error


class _Page(msgspec.Struct):
    """`EventPage`, its frames still as they came."""

    epoch: str
    seq: int
    head: int
    frames: list[msgspec.Raw]


_read_page: Final = reader(_Page)


def _page(answer: Answer) -> tuple[_Page, list[ServerFrame]]:
    """A page and its frames, which are read as those of a socket are."""
    try:
        page = _read_page(answer.body)
        return page, [decode(bytes(frame)) for frame in page.frames]
    except (ValueError, RecursionError) as error:  # UnreadableFrameError is a ValueError
        raise unreadable(answer, f"but its body is no page of events: {error}") from None


def _refuse_hole(answer: Answer, epoch: str, frame: Events, reached: Cursor, *, every: bool) -> None:
    """Raises UnreadableAnswerError unless the frame goes on from `reached`; `every` where nothing was filtered out."""
    _refuse_epoch(answer, epoch, reached)
    if frame.prev > reached.seq:
        raise unreadable(answer, f"but with events after {frame.prev}, where those after {reached} are due")
    seqs = [event.seq for event in frame.events if event.seq > reached.seq]
    in_order = all(one < other for one, other in pairwise(seqs)) and (not seqs or seqs[-1] <= frame.to)
    if not in_order or (every and len(seqs) != max(0, frame.to - reached.seq)):
        raise unreadable(answer, f"but with events that are not all of those after {reached} up to {frame.to}")


def _refuse_epoch(answer: Answer, epoch: str, reached: Cursor) -> None:
    if epoch != reached.epoch:
        raise unreadable(answer, f"but of epoch {epoch}, where what follows {reached} was asked for")


def _forbidden(topic: str) -> TopicForbiddenError:
    return TopicForbiddenError(f"there is no topic {topic!r}, or it is not for this caller", topic=topic)


def _gone(topic: str, frame: GapFrame) -> EventGapError:
    lost_after, resume = frame.lost_after.cursor, frame.resume.cursor
    return EventGapError(
        f"events of {topic} after {lost_after} are gone ({frame.reason}); what is kept begins after {resume}",
        topic=topic,
        reason=frame.reason,
        lost_after=lost_after,
        resume=resume,
    )
