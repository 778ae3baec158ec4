"""The one error tree.

    PlaycallError
    ├── ConfigurationError            a setting is wrong; nothing was sent
    ├── InvalidArgumentError          an argument is wrong; nothing was sent
    ├── ClientClosedError             the client was used after close(), or closed under the call
    ├── RequestError                  an HTTP call did not give its value; has the timeline
    │   ├── TransportError            no answer came
    │   │   ├── ConnectFailedError    no connection: nothing was sent
    │   │   └── ConnectionLostError   it broke after something may have been sent
    │   ├── DeadlineExceededError     the time was used up (also a TimeoutError)
    │   │   └── NoSlotError           … while waiting for a free slot
    │   ├── CredentialsError          the provider of credentials failed, or gave none (also a ConfigurationError)
    │   ├── RedirectRefusedError      a redirect that may not be followed
    │   ├── UnreadableAnswerError     the answer does not fit what was asked for
    │   └── StatusError               the backend answered, and said no
    │       ├── BadRequestError                 400
    │       ├── AuthenticationError             401
    │       ├── PermissionDeniedError           403
    │       │   └── ReadOnlyCredentialsError
    │       ├── NotFoundError                   404
    │       │   └── Playbook-, Run-, Agent-, Task-, Tool-, ArtifactNotFoundError
    │       ├── MethodNotAllowedError           405
    │       ├── ConflictError                   409, 412
    │       │   ├── NameTakenError
    │       │   ├── VersionMismatchError        412: somebody else changed it first
    │       │   ├── IdempotencyInProgressError
    │       │   ├── AgentBusyError
    │       │   ├── TaskNotCancellableError
    │       │   ├── TaskNotEditableError
    │       │   ├── RunEndedError
    │       │   ├── RunNotEndedError
    │       │   └── BuiltinToolError
    │       ├── PayloadTooLargeError            413
    │       ├── UnsupportedMediaTypeError       415
    │       ├── InvalidRequestError             422
    │       │   ├── PlaybookInvalidError
    │       │   ├── InputsInvalidError
    │       │   └── IdempotencyKeyReusedError
    │       ├── RateLimitedError                429
    │       ├── ToolFailedError                 a tool was called directly, and failed
    │       ├── EnvelopeError                   2xx, but the envelope in it says that it failed
    │       └── ServerError                     5xx
    │           ├── ServiceUnavailableError     503
    │           └── ServerDeadlineError         504
    ├── RunFailedError                a run that was waited for did not complete
    └── RealtimeError                 the stream of events cannot go on
        ├── RealtimeConnectError      no connection, and another try would not help
        ├── RealtimeAuthError         the credentials were refused
        ├── RealtimeTimeoutError      no answer to a subscription, or no event, in time (also a TimeoutError)
        ├── RealtimeProtocolError     the other end does not keep the contract
        ├── TopicForbiddenError       no such topic, or not for this caller
        ├── EventGapError             events were lost, and the subscription asked to be told by an error
        └── EventsMissedError         events of a server that cannot resume may be lost, and the same was asked

An error says what happened, to what, and what to try; it pickles; it never holds a secret.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from .timeline import Attempt, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models.cursor import Cursor
    from .models.problem import FieldProblem, Problem
    from .models.run import Run
    from .realtime.plain_items import PlainGap

__all__ = [
    "AgentBusyError",
    "AgentNotFoundError",
    "ArtifactNotFoundError",
    "AuthenticationError",
    "BadRequestError",
    "BuiltinToolError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "ConnectFailedError",
    "ConnectionLostError",
    "CredentialsError",
    "DeadlineExceededError",
    "EnvelopeError",
    "EventGapError",
    "EventsMissedError",
    "IdempotencyInProgressError",
    "IdempotencyKeyReusedError",
    "InputsInvalidError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "MethodNotAllowedError",
    "NameTakenError",
    "NoSlotError",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PlaybookInvalidError",
    "PlaybookNotFoundError",
    "PlaycallError",
    "RateLimitedError",
    "ReadOnlyCredentialsError",
    "RealtimeAuthError",
    "RealtimeConnectError",
    "RealtimeError",
    "RealtimeProtocolError",
    "RealtimeTimeoutError",
    "RedirectRefusedError",
    "RequestError",
    "RunEndedError",
    "RunFailedError",
    "RunNotEndedError",
    "RunNotFoundError",
    "ServerDeadlineError",
    "ServerError",
    "ServiceUnavailableError",
    "StatusError",
    "TaskNotCancellableError",
    "TaskNotEditableError",
    "TaskNotFoundError",
    "ToolFailedError",
    "ToolNotFoundError",
    "TopicForbiddenError",
    "TransportError",
    "UnreadableAnswerError",
    "UnsupportedMediaTypeError",
    "VersionMismatchError",
    "error_for_status",
]


def _rebuild(cls: type[PlaycallError], message: str, state: dict[str, Any]) -> PlaycallError:
    """Makes an unpickled error anew without its constructor, whose arguments it no longer needs."""
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class PlaycallError(Exception):
    """The root. `except PlaycallError` catches everything that this library raises on purpose."""

    message: str

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))

    def explain(self) -> str:
        """More than the message, where there is more to tell; fit to paste into a report."""
        return f"{type(self).__name__}: {self.message}"


class ConfigurationError(PlaycallError, ValueError):
    """A setting is wrong. Nothing was sent."""


class InvalidArgumentError(PlaycallError, ValueError):
    """An argument is wrong. Nothing was sent."""


class ClientClosedError(PlaycallError):
    """The client was used after `close()`, or closed while the call was under way."""


# --- HTTP -------------------------------------------------------------------------------------------------------------


class RequestError(PlaycallError):
    """An HTTP call did not give its value.

    `may_have_happened` is True when the backend may have done what was asked although no answer says so; then call
    again with the same idempotency key (`timeline.idempotency_key`), or look before you repeat it.
    """

    timeline: Timeline
    may_have_happened: bool

    def __init__(self, message: str, *, timeline: Timeline, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.timeline = timeline
        self.may_have_happened = may_have_happened

    @property
    def method(self) -> str:
        return self.timeline.method

    @property
    def path(self) -> str:
        return self.timeline.path

    @property
    def attempts(self) -> Sequence[Attempt]:
        return self.timeline.attempts

    def explain(self) -> str:
        """The message, then every attempt: when, how it ended, and why it was retried or not."""
        maybe = ""
        if self.may_have_happened:
            key = self.timeline.idempotency_key
            then = "Look before you repeat it." if key is None else f"Make it again with idempotency_key={key!r}."
            maybe = f"\nIt may have happened all the same: no answer says that it did not. {then}"
        return f"{super().explain()}{maybe}\n{self.timeline.explain()}"


class TransportError(RequestError):
    """No answer came."""


class ConnectFailedError(TransportError):
    """No connection could be made, so nothing was sent: check the address, and that the backend runs."""


class ConnectionLostError(TransportError):
    """The connection broke after something may have been sent, or before the answer was complete."""


class DeadlineExceededError(RequestError, builtins.TimeoutError):
    """The call's time was used up; `timeline` says on what."""


class NoSlotError(DeadlineExceededError):
    """The time was used up while waiting for a free slot; the message names what was in flight."""


class CredentialsError(RequestError, ConfigurationError):
    """The provider of credentials raised, or gave none. Nothing was sent."""


class RedirectRefusedError(RequestError):
    """A redirect that may not be followed: to another origin, in circles, or of a request that must not be repeated."""


class UnreadableAnswerError(RequestError):
    """The answer does not fit what was asked for; `field` is the path of the first wrong field, if it has one."""

    field: str | None
    status: int | None
    request_id: str | None

    def __init__(
        self,
        message: str,
        *,
        timeline: Timeline,
        may_have_happened: bool = False,
        field: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, timeline=timeline, may_have_happened=may_have_happened)
        self.field = field
        self.status = status
        self.request_id = request_id


class StatusError(RequestError):
    """The backend answered, and said no.

    `code` is the problem's stable code, None where the far end gives none. `problem` is the parsed body (RFC 9457), or
    None when it was something else. `retry_after_seconds` is what the answer asked for.
    """

    status: int
    code: str | None
    problem: Problem | None
    request_id: str | None
    retry_after_seconds: float | None

    def __init__(
        self,
        message: str,
        *,
        timeline: Timeline,
        status: int,
        code: str | None = None,
        problem: Problem | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        may_have_happened: bool = False,
    ) -> None:
        super().__init__(message, timeline=timeline, may_have_happened=may_have_happened)
        self.status = status
        self.code = code
        self.problem = problem
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    @property
    def errors(self) -> Sequence[FieldProblem]:
        """Each thing that was wrong with what was sent (422), with the path of the field."""
        return () if self.problem is None or self.problem.errors is None else self.problem.errors


class BadRequestError(StatusError):
    """400: the request could not be understood."""


class AuthenticationError(StatusError):
    """401: no credentials, or refused ones."""


class PermissionDeniedError(StatusError):
    """403: known, but not allowed."""


class ReadOnlyCredentialsError(PermissionDeniedError):
    """A read-only API key was used to change something."""


class NotFoundError(StatusError):
    """404: nothing has this id, or nothing that this caller may see."""


class PlaybookNotFoundError(NotFoundError):
    pass


class RunNotFoundError(NotFoundError):
    pass


class AgentNotFoundError(NotFoundError):
    pass


class TaskNotFoundError(NotFoundError):
    pass


class ToolNotFoundError(NotFoundError):
    pass


class ArtifactNotFoundError(NotFoundError):
    pass


class MethodNotAllowedError(StatusError):
    """405."""


class ConflictError(StatusError):
    """409 or 412: it does not go with how things stand. Read again, then decide."""


class NameTakenError(ConflictError):
    """Another resource of yours has this name."""


class VersionMismatchError(ConflictError):
    """412: somebody else changed it first.

    `expected_etag` is what was sent as `If-Match`, `current_etag` what the backend has now, None where it does not say.
    """

    expected_etag: str | None = None
    current_etag: str | None = None

    @property
    def expected(self) -> int | None:
        """The version you had; None where versions are no numbers."""
        return _version(self.expected_etag)

    @property
    def current(self) -> int | None:
        """The version that the backend has now; None where it does not say, or versions are no numbers."""
        return _version(self.current_etag)


def _version(etag: str | None) -> int | None:
    text = "" if etag is None else etag.strip().removeprefix("W/").strip('"')
    return int(text) if text.isascii() and text.isdecimal() else None


class IdempotencyInProgressError(ConflictError):
    """The first call with this key is still being worked on, and was so until the deadline."""


class AgentBusyError(ConflictError):
    """The agent has work, so it cannot be deleted."""


class TaskNotCancellableError(ConflictError):
    """The task has ended."""


class TaskNotEditableError(ConflictError):
    """The task is no longer queued."""


class RunEndedError(ConflictError):
    """The run has ended: it can no longer be cancelled, paused or resumed."""


class RunNotEndedError(ConflictError):
    """The run has not ended: cancel it, or wait, before it is deleted or retried."""


class BuiltinToolError(ConflictError):
    """A built-in tool belongs to the backend: it cannot be changed or deleted."""


class PayloadTooLargeError(StatusError):
    """413."""


class UnsupportedMediaTypeError(StatusError):
    """415."""


class InvalidRequestError(StatusError):
    """422: understood, but wrong; `errors` names the fields."""


class PlaybookInvalidError(InvalidRequestError):
    """The playbook has mistakes; `errors` has each, with line and column where it was sent as YAML."""


class InputsInvalidError(InvalidRequestError):
    """The values for the playbook's inputs do not fit; `errors` has each."""


class IdempotencyKeyReusedError(InvalidRequestError):
    """This key was used before, for something else: give each command its own."""


class RateLimitedError(StatusError):
    """429: too many requests; `retry_after_seconds` says when."""


class ToolFailedError(StatusError):
    """A tool was called directly, and failed; the message is the tool's."""


class EnvelopeError(StatusError):
    """The status was a success, but the envelope says that it failed, for a reason that no other class is for.

    `code` and the message are the envelope's; `status` is what HTTP said.
    """


class ServerError(StatusError):
    """5xx: the backend's fault."""


class ServiceUnavailableError(ServerError):
    """503."""


class ServerDeadlineError(ServerError):
    """504: the backend, or something before it, ran out of time."""


_BY_STATUS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    412: VersionMismatchError,
    413: PayloadTooLargeError,
    415: UnsupportedMediaTypeError,
    422: InvalidRequestError,
    429: RateLimitedError,
    503: ServiceUnavailableError,
    504: ServerDeadlineError,
}

_BY_CODE: dict[str, type[StatusError]] = {
    "read_only": ReadOnlyCredentialsError,
    "playbook_not_found": PlaybookNotFoundError,
    "run_not_found": RunNotFoundError,
    "agent_not_found": AgentNotFoundError,
    "task_not_found": TaskNotFoundError,
    "tool_not_found": ToolNotFoundError,
    "artifact_not_found": ArtifactNotFoundError,
    "name_taken": NameTakenError,
    "version_mismatch": VersionMismatchError,
    "idempotency_in_progress": IdempotencyInProgressError,
    "agent_busy": AgentBusyError,
    "task_not_cancellable": TaskNotCancellableError,
    "task_not_editable": TaskNotEditableError,
    "run_ended": RunEndedError,
    "run_not_ended": RunNotEndedError,
    "tool_builtin": BuiltinToolError,
    "playbook_invalid": PlaybookInvalidError,
    "inputs_invalid": InputsInvalidError,
    "idempotency_key_reused": IdempotencyKeyReusedError,
    "tool_failed": ToolFailedError,
}


def error_for_status(status: int, code: str | None) -> type[StatusError]:
    """The class for an error answer: by its code where we know it, else by its status, else by its hundred."""
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServerError if status >= 500 else StatusError


# --- runs -------------------------------------------------------------------------------------------------------------


class RunFailedError(PlaycallError):
    """A run that was waited for ended otherwise than completed; `run` is its last state."""

    run: Run

    def __init__(self, message: str, *, run: Run) -> None:
        super().__init__(message)
        self.run = run


# --- realtime ---------------------------------------------------------------------------------------------------------


class RealtimeError(PlaycallError):
    """The stream of events cannot go on. `code` is the contract's, where there is one (a close code or an error's)."""

    code: str | int | None

    def __init__(self, message: str, *, code: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RealtimeConnectError(RealtimeError):
    """No connection, and another try would not help: check the address and the backend's version."""


class RealtimeAuthError(RealtimeError):
    """The credentials were refused, also after a refresh."""


class RealtimeTimeoutError(RealtimeError, builtins.TimeoutError):
    """No answer to a subscription came in time, and it was withdrawn; or a `with deadline(…)` ended the wait for events."""


class RealtimeProtocolError(RealtimeError):
    """The other end does not keep the contract (docs/realtime-protocol.md), and did not when tried again."""


class TopicForbiddenError(RealtimeError):
    """There is no such topic, or it is not for this caller: the backend says the same of both."""

    topic: str

    def __init__(self, message: str, *, topic: str, code: str | int | None = "forbidden") -> None:
        super().__init__(message, code=code)
        self.topic = topic


class EventGapError(RealtimeError):
    """Events after `lost_after` are gone; `resume` is where the log can be read again."""

    topic: str
    lost_after: Cursor
    resume: Cursor

    def __init__(self, message: str, *, topic: str, reason: str, lost_after: Cursor, resume: Cursor) -> None:
        super().__init__(message, code=reason)
        self.topic = topic
        self.lost_after = lost_after
        self.resume = resume


class EventsMissedError(RealtimeError):
    """Events may be missing of a server that does not send again what it has sent once; `gap` says since when."""

    gap: PlainGap

    def __init__(self, message: str, *, gap: PlainGap) -> None:
        super().__init__(message, code=gap.reason)
        self.gap = gap
