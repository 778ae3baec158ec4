"""The error tree: what each answer becomes, and that every error survives a pickle, a copy and a report."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from playcall import errors
from playcall.errors import PlaycallError, RequestError, StatusError, UnreadableAnswerError, error_for_status
from playcall.models.cursor import Cursor
from playcall.models.problem import FieldProblem, Problem
from playcall.realtime.plain_items import PlainGap
from playcall.timeline import Attempt, Timeline
from tests.models.examples import RUN

TIMELINE = Timeline(
    "POST",
    "/playbooks",
    30.0,
    (
        Attempt(1, 0.0, 0.1, "the connection was lost", "retry in 0.2 s", sent=False),
        Attempt(2, 0.3, 0.1, "503", "give up", status=503, waited_seconds=0.2, slot_wait_seconds=0.5, request_id="r"),
    ),
    0.4,
    "key-1",
)

BY_STATUS = [
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (402, "StatusError"),
    (403, "PermissionDeniedError"),
    (404, "NotFoundError"),
    (405, "MethodNotAllowedError"),
    (408, "StatusError"),
    (409, "ConflictError"),
    (410, "StatusError"),
    (412, "VersionMismatchError"),
    (413, "PayloadTooLargeError"),
    (415, "UnsupportedMediaTypeError"),
    (418, "StatusError"),
    (422, "InvalidRequestError"),
    (425, "StatusError"),
    (429, "RateLimitedError"),
    (500, "ServerError"),
    (501, "ServerError"),
    (502, "ServerError"),
    (503, "ServiceUnavailableError"),
    (504, "ServerDeadlineError"),
    (599, "ServerError"),
    (101, "StatusError"),
]
BY_CODE = [
    (403, "read_only", "ReadOnlyCredentialsError"),
    (404, "playbook_not_found", "PlaybookNotFoundError"),
    (404, "run_not_found", "RunNotFoundError"),
    (404, "agent_not_found", "AgentNotFoundError"),
    (404, "task_not_found", "TaskNotFoundError"),
    (404, "tool_not_found", "ToolNotFoundError"),
    (404, "artifact_not_found", "ArtifactNotFoundError"),
    (409, "name_taken", "NameTakenError"),
    (412, "version_mismatch", "VersionMismatchError"),
    (409, "idempotency_in_progress", "IdempotencyInProgressError"),
    (409, "agent_busy", "AgentBusyError"),
    (409, "task_not_cancellable", "TaskNotCancellableError"),
    (409, "task_not_editable", "TaskNotEditableError"),
    (409, "run_ended", "RunEndedError"),
    (409, "run_not_ended", "RunNotEndedError"),
    (409, "tool_builtin", "BuiltinToolError"),
    (422, "playbook_invalid", "PlaybookInvalidError"),
    (422, "inputs_invalid", "InputsInvalidError"),
    (422, "idempotency_key_reused", "IdempotencyKeyReusedError"),
    (502, "tool_failed", "ToolFailedError"),
]


@pytest.mark.parametrize(("status", "name"), BY_STATUS)
def test_a_status_is_a_class(status: int, name: str) -> None:
    assert error_for_status(status, None).__name__ == name
    assert error_for_status(status, "a_code_of_the_future").__name__ == name


@pytest.mark.parametrize(("status", "code", "name"), BY_CODE)
def test_a_code_is_a_class_below_that_of_its_status(status: int, code: str, name: str) -> None:
    kind = error_for_status(status, code)
    assert kind.__name__ == name
    if code != "tool_failed":
        assert issubclass(kind, error_for_status(status, None))


def test_the_tables_are_whole() -> None:
    assert {status for status, _ in BY_STATUS} >= set(errors._BY_STATUS)
    assert {code for _, code, _ in BY_CODE} == set(errors._BY_CODE)
    assert len({name for *_, name in [*BY_STATUS, *BY_CODE]}) >= 15


def every_class() -> list[type[PlaycallError]]:
    found: list[type[PlaycallError]] = [PlaycallError]
    for kind in found:
        found += [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__ and sub not in found]
    return found


def an(kind: type[PlaycallError]) -> PlaycallError:
    """An error of the class with everything it can carry."""
    carried: dict[str, Any] = {
        "timeline": TIMELINE,
        "may_have_happened": True,
        "status": 409,
        "code": "c",
        "problem": Problem(title="t", status=409, errors=[FieldProblem(loc=["a"], msg="m", type="x")]),
        "request_id": "r",
        "retry_after_seconds": 1.5,
        "field": "a.0",
        "run": RUN,
        "topic": "run:1",
        "reason": "expired",
        "lost_after": Cursor("e", 1),
        "resume": Cursor("e", 9),
        "gap": PlainGap("orders", "overflow", datetime(2026, 1, 1, tzinfo=UTC), 1.5, 3),
    }
    takes = set(inspect.signature(kind).parameters)
    return kind("what happened", **{name: given for name, given in carried.items() if name in takes})


EVERY = pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)


@EVERY
def test_every_error_pickles_and_copies_whole(kind: type[PlaycallError]) -> None:
    error = an(kind)
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert twin.__dict__ == error.__dict__
        assert twin.args == error.args
        assert str(twin) == "what happened"
        assert twin.explain() == error.explain()


@EVERY
def test_every_error_explains_itself_and_is_exported(kind: type[PlaycallError]) -> None:
    story = an(kind).explain()
    assert story.startswith(f"{kind.__name__}: what happened")
    if issubclass(kind, RequestError):
        assert "It may have happened all the same" in story
        assert "POST /playbooks: 2 attempt(s) in 0.400 s, deadline 30 s, idempotency key key-1" in story
        assert "[not sent] -> retry in 0.2 s" in story
        assert "after a pause of 0.200 s, after 0.500 s in the queue" in story
        assert "[request id r] -> give up" in story
    assert kind.__name__ in errors.__all__


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    drawing = errors.__doc__ or ""
    for kind in every_class():
        name = kind.__name__
        short = re.sub(r"^(Playbook|Run|Agent|Task|Tool|Artifact)(?=NotFoundError)", r"\1-", name)
        assert (
            re.search(rf"\b{name}\b", drawing)
            or short.split("-")[0] + "-" in drawing
            or "ArtifactNotFoundError" in name
        )
    drawn = set(re.findall(r"── (\w+Error)", drawing))
    assert drawn <= {kind.__name__ for kind in every_class()}


def test_the_shortcuts_of_a_request_error() -> None:
    error = an(errors.ConnectionLostError)
    assert isinstance(error, RequestError)
    assert (error.method, error.path, len(error.attempts)) == ("POST", "/playbooks", 2)
    status = an(errors.InvalidRequestError)
    assert isinstance(status, StatusError)
    assert [each.msg for each in status.errors] == ["m"]
    plain = StatusError("x", timeline=TIMELINE, status=400)
    assert plain.errors == ()
    assert UnreadableAnswerError("x", timeline=TIMELINE).may_have_happened is False


@pytest.mark.parametrize("name", ["DeadlineExceededError", "NoSlotError", "RealtimeTimeoutError"])
def test_what_ran_out_of_time_is_a_timeout_error_too(name: str) -> None:
    assert issubclass(getattr(errors, name), TimeoutError)


@pytest.mark.parametrize("name", ["ConfigurationError", "InvalidArgumentError"])
def test_what_was_wrong_from_the_start_is_a_value_error_too(name: str) -> None:
    assert issubclass(getattr(errors, name), ValueError)


def test_a_timeline_without_a_deadline_says_so() -> None:
    assert Timeline("GET", "/x", None).explain() == "GET /x: 0 attempt(s) in 0.000 s, without a deadline"
