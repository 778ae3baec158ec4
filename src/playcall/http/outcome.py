"""The error of a call, made from how far it came. Nothing here decides, logs or tells the status."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ..errors import (
    AuthenticationError,
    ClientClosedError,
    ConnectFailedError,
    ConnectionLostError,
    CredentialsError,
    DeadlineExceededError,
    NoSlotError,
    PlaycallError,
    RedirectRefusedError,
    RequestError,
    StatusError,
    VersionMismatchError,
)
from .call import Doing, Progress
from .paths import origin
from .problems import Said, status_error
from .retry import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .limits import Limiter
    from .redirects import Redirect
    from .transport import TransportFault, WireAnswer

__all__ = [
    "grant_refused",
    "lost",
    "no_credentials",
    "pause_too_long",
    "redirect_refused",
    "refused",
    "refuses_grant",
    "too_late",
]


def too_late(progress: Progress, limiter: Limiter) -> DeadlineExceededError:
    """The deadline came, while doing whatever it was."""
    call = progress.call
    kind = DeadlineExceededError
    doing: str = progress.doing
    if progress.doing is Doing.SLOT:
        kind = NoSlotError
        doing = f"{doing} ({limiter.describe()})"
    if progress.deadline_seconds:
        said = f"the deadline of {progress.deadline_seconds:.3g} s came while {doing}"
    else:
        said = "the deadline had passed before it began"
    return kind(
        f"{call.method} {call.path.text}: {said}",
        timeline=progress.timeline(),
        may_have_happened=progress.may_have_happened,
    )


def pause_too_long(progress: Progress, pause_seconds: float) -> DeadlineExceededError:
    """The pause that the backend asked all callers for would outlast the call."""
    return DeadlineExceededError(
        f"{progress.call.method} {progress.call.path.text}: the backend asked this client to wait another "
        f"{pause_seconds:.3g} s, which is past the deadline",
        timeline=progress.timeline(),
        may_have_happened=progress.may_have_happened,
    )


def lost(progress: Progress, fault: TransportFault) -> RequestError:
    """No answer came."""
    call = progress.call
    kind = ConnectFailedError if fault.kind is FailureKind.NOT_SENT else ConnectionLostError
    scheme, host, port = origin(progress.url)
    tries = f", after {progress.tried} attempts" if progress.tried > 1 else ""
    hint = ": is the backend running there?" if fault.kind is FailureKind.NOT_SENT else ""
    return kind(
        f"{call.method} {call.path.text} on {scheme}://{host}:{port} got no answer{tries}: {fault.text}{hint}",
        timeline=progress.timeline(),
        may_have_happened=progress.may_have_happened,
    )


def refused(progress: Progress, answer: WireAnswer, said: Said | None = None) -> StatusError:
    """The backend said no."""
    error = status_error(
        answer,
        progress.timeline(),
        progress.request_id,
        may_have_happened=progress.may_have_happened,
        said=said,
        own=progress.call.errors,
    )
    if isinstance(error, VersionMismatchError):
        error.expected_etag = _header(progress.call.headers, "if-match")
        if error.problem is not None and error.problem.current_version is not None:
            error.current_etag = f'"{error.problem.current_version}"'
        else:
            error.current_etag = answer.headers.get("ETag")
    return error


def redirect_refused(progress: Progress, redirect: Redirect) -> RedirectRefusedError:
    call = progress.call
    return RedirectRefusedError(
        f"{call.method} {call.path.text} was redirected ({redirect.where}), and that is not followed: "
        f"{redirect.refusal}. Check the base URL",
        timeline=progress.timeline(),
        may_have_happened=progress.may_have_happened,
    )


def no_credentials(progress: Progress, error: Exception) -> PlaycallError:
    """The error of this call, for one that all who waited for the credentials share."""
    if isinstance(error, ClientClosedError):
        return error
    where = f"{progress.call.method} {progress.call.path.text}: no credentials could be had: "
    timeline = progress.timeline()
    own: RequestError
    if isinstance(error, AuthenticationError):
        own = grant_refused(error)
        own.message = where + error.message
        own.args = (own.message,)
        own.timeline = timeline
    elif isinstance(error, RequestError):
        own = copy.copy(error)
        own.message = where + error.message
        own.args = (own.message,)
        own.timeline = timeline
    else:
        # Only the class of a foreign error: its text may hold the secret.
        said = error.message if isinstance(error, PlaycallError) else type(error).__name__
        own = CredentialsError(where + said, timeline=timeline)
    own.may_have_happened = progress.may_have_happened
    return own


def grant_refused(error: StatusError) -> AuthenticationError:
    """The refusal of a login or a refresh, whichever status the backend has for it."""
    return AuthenticationError(
        error.message,
        timeline=error.timeline,
        status=error.status,
        code=error.code,
        problem=error.problem,
        request_id=error.request_id,
    )


def refuses_grant(error: Exception) -> bool:
    """Which of its statuses refuse, a scheme has told the token endpoint; one that asks elsewhere may raise the same."""
    return isinstance(error, AuthenticationError)


def _header(headers: Mapping[str, str] | None, wanted: str) -> str | None:
    return next((value for name, value in (headers or {}).items() if name.lower() == wanted), None)
