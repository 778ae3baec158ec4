"""The events that a log keeps, read over HTTP: what happened before, without a subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Literal

from ..checks import check_whole_number
from ..errors import EventGapError, InvalidArgumentError, PermissionDeniedError, TopicForbiddenError
from ..models.cursor import Cursor
from ..models.frames import Ended, EventPage, Events
from ..models.frames import Gap as GapFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        RequestError: a page could not be read.
    """
    if page_size is not None:
        check_whole_number(page_size, "page_size", least=1)
    size = min(page_size or DEFAULT_PAGE_EVENTS, MAX_PAGE_EVENTS)
    reached: Cursor | None = start if isinstance(start, Cursor) else None
    last: int | None = None
    while True:
        page = await _page(api, topic, reached, types, size)
        if last is None:
            if end is not None and end.epoch != page.epoch:
                raise InvalidArgumentError(f"end is a cursor of epoch {end.epoch}, the log of {topic} is {page.epoch}")
            last = page.head if end is None else min(end.seq, page.head)
        before = page.seq
        reached = Cursor(page.epoch, page.seq)
        over = False
        for frame in page.frames:
            if isinstance(frame, GapFrame):
                raise _gone(topic, frame)
            if isinstance(frame, Ended):
                over = True
            if isinstance(frame, Events):
                for event in frame.events:
                    if event.seq > last:
                        return
                    yield event
                at_id = frame.events[-1].id if frame.events and frame.events[-1].seq == frame.to else frame.at_id
                reached = Cursor(page.epoch, frame.to, at_id)
        # An answer that does not move on would be asked for ever.
        if over or reached.seq >= last or reached.seq <= before:
            return


async def _page(
    api: APIClient[Awaiting], topic: str, after: Cursor | None, types: Sequence[str] | None, size: int
) -> EventPage:
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
        return await api.get(_PATH, into=EventPage, params=params)
    except PermissionDeniedError as error:
        if error.code != "forbidden":
            raise
        message = f"there is no topic {topic!r}, or it is not for this caller"
        raise TopicForbiddenError(message, topic=topic) from error


def _gone(topic: str, frame: GapFrame) -> EventGapError:
    lost_after, resume = frame.lost_after.cursor, frame.resume.cursor
    return EventGapError(
        f"events of {topic} after {lost_after} are gone ({frame.reason}); what is kept begins after {resume}",
        topic=topic,
        reason=frame.reason,
        lost_after=lost_after,
        resume=resume,
    )
