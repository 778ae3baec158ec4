"""The one deadline of a call, and what is noted of a call that does not come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from ..alarms import NEVER, Alarm
from ..errors import DeadlineExceededError, PlaycallError
from .call import Progress

__all__ = ["Within"]


class Within:
    """Everything that a call does is done in here.

    Args:
        too_late: Makes the error of a call whose deadline has come.
    """

    __slots__ = ("_alarm", "_progress", "_too_late")

    def __init__(self, progress: Progress, too_late: Callable[[Progress], DeadlineExceededError]) -> None:
        self._alarm = Alarm(NEVER if progress.ends_at is None else progress.ends_at)
        self._progress = progress
        self._too_late = too_late

    def __enter__(self) -> None:
        self._alarm.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._alarm.__exit__(kind, error, traceback)
        except TimeoutError:
            raise self._too_late(self._progress) from None
        if error is None:
            return
        # A TimeoutError of somebody else's (a user's code in a stream, say) is not our deadline.
        if isinstance(error, TimeoutError):
            if self._alarm.rang and not isinstance(error, PlaycallError):
                raise self._too_late(self._progress) from None
        elif self._progress.attempt_began_at is not None:
            why = "the caller was cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
            self._progress.note(f"unfinished, {self._progress.doing}", f"stopped: {why}")
