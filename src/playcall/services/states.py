"""What a topic's events change, read over HTTP with its place in the log: both of one moment, so that events go on from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ..answer import Answer, heard
from ..errors import InvalidArgumentError, UnreadableAnswerError
from ..faces import Awaiting
from ..http.paths import Path, path
from ..models import topic as topics
from ..models.agent import Agent
from ..models.cursor import Cursor
from ..models.playbook import Playbook
from ..models.run import Run
from ..models.task import Task
from ..models.tool import Tool
from .paging import pages

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from ..realtime.items import TopicState
    from .api_client import APIClient

__all__ = ["CURSOR_HEADER", "read_place", "read_resource", "read_topic_state"]

T = TypeVar("T")

CURSOR_HEADER: Final = "X-Event-Cursor"


async def read_topic_state(api: APIClient[Awaiting], topic: str) -> tuple[TopicState, Cursor]:
    """The resource of `run:ID`, `task:ID` or `agent:ID`; or all of a collection, as a tuple, oldest first.

    A collection's cursor is of its first page: what was read from later pages may be newer than an event after it says.
    So take the higher `version`.

    Raises:
        InvalidArgumentError: nothing is known of such a topic.
        NotFoundError: its resource is gone.
        RequestError: it could not be read.
    """
    kind, _, id_ = topic.partition(":")
    match kind, id_:
        case topics.RUNS, "":
            return await _read_all(api, topic, Run)
        case topics.TASKS, "":
            return await _read_all(api, topic, Task)
        case topics.AGENTS, "":
            return await _read_all(api, topic, Agent)
        case topics.PLAYBOOKS, "":
            return await _read_all(api, topic, Playbook)
        case topics.TOOLS, "":
            return await _read_all(api, topic, Tool)
        case "run", id_ if id_:
            return await read_resource(api, path("/runs/{id}", id=id_), Run)
        case "task", id_ if id_:
            return await read_resource(api, path("/tasks/{id}", id=id_), Task)
        case "agent", id_ if id_:
            return await read_resource(api, path("/agents/{id}", id=id_), Agent)
        case _:
            message = f"no state is known that goes with the topic {topic!r}: use on_gap='yield' there"
            raise InvalidArgumentError(message)


async def read_resource(api: APIClient[Awaiting], where: Path, model: TypeForm[T]) -> tuple[T, Cursor]:
    """One resource and the place in its own topic's log at which it stood so.

    Raises:
        UnreadableAnswerError: the answer carries no cursor.
        RequestError: as any GET.
    """
    answer = await api.answer("GET", where)
    return api.read(answer, model), read_place(answer)


async def _read_all(api: APIClient[Awaiting], topic: str, model: TypeForm[T]) -> tuple[tuple[T, ...], Cursor]:
    answers: list[Answer] = []
    token = heard.set(answers)
    try:
        items = tuple([item async for item in pages(api, f"/{topic}", model, None, None, {})])
    finally:
        heard.reset(token)
    return items, read_place(answers[0])


def read_place(answer: Answer) -> Cursor:
    """Raises: UnreadableAnswerError: the answer carries no cursor."""
    try:
        return Cursor.parse(answer.headers.get(CURSOR_HEADER, ""))
    except ValueError as error:
        raise UnreadableAnswerError(
            f"GET {answer.timeline.path} gave no usable {CURSOR_HEADER}: {error}",
            timeline=answer.timeline,
            field=CURSOR_HEADER,
        ) from None
