"""`client.status`: the picture, its changes, waiting for the backend to be there, and keeping the picture true."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, overload

from ..blocking_iterator import nothing_came
from ..deadline import check_seconds, deadline, nearest
from ..errors import AuthenticationError, DeadlineExceededError, RequestError
from ..faces import Awaiting, Blocking, FaceT, Service, call, stream
from ..home_process import HomeProcess
from .board import StatusBoard
from .monitor import DEFAULT_IDLE_SECONDS, BlockingMonitor, Monitor, Probe
from .picture import ConnectionState, Status

__all__ = ["ConnectionStatus"]

CHANGES_KEPT: Final = 64
"""Changes that a slow reader of `changes()` may lag behind before the oldest is dropped."""
LEAST_SECONDS: Final = 0.02
"""With less time left, `wait_until_ready` does not try again: an answer would hardly come in it."""


class ConnectionStatus(HomeProcess, Service[FaceT]):
    """What a client shows of its connection."""

    def __init__(self, board: StatusBoard, probe: Probe, *, blocking: bool = False) -> None:
        super().__init__(blocking=blocking)
        self._board = board
        self._probe = probe

    @property
    def current(self) -> Status:
        """The picture now; costs no request."""
        return self._board.current

    def subscribe(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Calls `callback` at each change of state, in order, on a thread where one was noticed: it must not block.

        Returns a function that ends it. An exception in the callback is logged.
        """
        return self._board.subscribe(callback)

    @stream
    async def changes(self: ConnectionStatus[Awaiting]) -> AsyncIterator[Status]:
        """The picture now, then at each change of state, until the client is closed.

        Raises:
            DeadlineExceededError: no change came before a `with deadline(…)` around the iteration has passed.
        """
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        pictures: deque[Status] = deque(maxlen=CHANGES_KEPT)

        def on_change(picture: Status) -> None:
            pictures.append(picture)
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:
                pass  # the loop has closed, and with it this iteration

        remove = self._board.listen(on_change)
        try:
            while True:
                while pictures:
                    picture = pictures.popleft()
                    yield picture
                    if picture.state is ConnectionState.CLOSED:
                        return
                await _before_deadline(changed)
                changed.clear()
        finally:
            remove()

    @call
    async def wait_until_ready(self: ConnectionStatus[Awaiting], timeout_seconds: float = 60.0) -> Status:
        """Asks the backend until it answers that it is ready; for programs that start beside it.

        Raises:
            DeadlineExceededError: it was not, in time. The message says what the last try met.
            AuthenticationError: it is there, but refuses the credentials.
        """
        began_at = time.monotonic()
        # An outer deadline may be nearer.
        ends_at = nearest(check_seconds(timeout_seconds, "timeout_seconds"))
        assert ends_at is not None  # noqa: S101 - it is bounded by its own time at least
        pause = 0.05
        while True:
            try:
                with deadline(max(0.001, ends_at - time.monotonic())):
                    await self._probe()
            except AuthenticationError:
                raise
            except RequestError as error:
                left = ends_at - time.monotonic()
                if left <= LEAST_SECONDS:
                    raise DeadlineExceededError(
                        f"the backend was not ready within {max(0.0, ends_at - began_at):.3g} s: {error.message}",
                        timeline=error.timeline,
                    ) from error
                await asyncio.sleep(min(pause, left / 2))  # so that the end of a long pause is no lost time
                pause = min(1.0, pause * 1.5)
            else:
                return self._board.current

    @overload
    def monitor(self: ConnectionStatus[Awaiting], idle_seconds: float = ...) -> Monitor: ...
    @overload
    def monitor(self: ConnectionStatus[Blocking], idle_seconds: float = ...) -> BlockingMonitor: ...
    def monitor(
        self: ConnectionStatus[Awaiting] | ConnectionStatus[Blocking], idle_seconds: float = DEFAULT_IDLE_SECONDS
    ) -> Monitor | BlockingMonitor:
        """Keeps the picture true while nothing is called: `with client.status.monitor(): …`, or until its `close()`.

        It begins at once, and ends with the client at the latest. A probe is one GET of the health path, without a
        repeat.

        Args:
            idle_seconds: Probes when nothing has been heard of the backend for this long, good or bad, and up to a fifth
                longer; more often while the state is OFFLINE or DEGRADED, seldom while it is AUTH_FAILED.

        Raises:
            InvalidArgumentError: that is no number of seconds, or less than a tenth.
            ClientClosedError: the client is closed.
            RuntimeError: on the async client, no event loop is running.
        """
        kind = BlockingMonitor if self._blocking else Monitor
        return kind(self._board, self._probe, idle_seconds)


async def _before_deadline(changed: asyncio.Event) -> None:
    """Waits as long as the context's deadline allows. Raises: DeadlineExceededError."""
    began_at, ends_at = time.monotonic(), nearest(None)
    try:
        async with asyncio.timeout(None if ends_at is None else ends_at - began_at):
            await changed.wait()
    except TimeoutError:
        raise nothing_came("status.changes()", began_at) from None
