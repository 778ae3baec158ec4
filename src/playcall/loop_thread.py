"""The event loop behind the blocking face: one background thread a process.

A call costs one hop to the thread and one back. The thread is a daemon, started by the first call, made anew in a forked
child, and closed at interpreter exit. Ctrl-C in a waiting caller cancels the coroutine that it waits for.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  # pyright: ignore[reportUnusedImport] - see the end of this file
import contextlib
import contextvars
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from .errors import ClientClosedError, PlaycallError

__all__ = ["CANCEL_WAIT_SECONDS", "LoopThread", "wait_for"]

P = ParamSpec("P")
T = TypeVar("T")

CANCEL_WAIT_SECONDS = 2.0
"""How long an interrupted caller waits for its coroutine to clean up."""
EXIT_WAIT_SECONDS = 2.0
"""How long the interpreter's exit waits for the loop to end."""
FORK_WAIT_SECONDS = 1.0
"""How long a fork waits for the loop to hold still, and the loop for the fork."""
SIGNAL_POLL_SECONDS = 0.5
"""How late a Ctrl-C may be seen at worst; mostly it is at once."""


class LoopThread:
    """The thread and its loop. Use `LoopThread.shared()`; every blocking client of a process shares it."""

    _shared: ClassVar[LoopThread | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()
    _forking: ClassVar[threading.Event | None] = None
    _parked: ClassVar[list[LoopThread]] = []
    """Loops of the parent process, in a forked child: kept, so that nothing frees what another thread was using."""

    def __init__(self) -> None:
        self._inbox: deque[Callable[[], None]] = deque()
        self._awake = False
        # Reentrant: the garbage collector may run a finaliser that posts while this very thread holds the lock.
        self._inbox_lock = threading.RLock()
        self._loop = _new_loop()
        self._stopping = False
        self._pid = os.getpid()
        started = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(started,), name="playcall-loop", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise ClientClosedError(f"no thread can be started for the call any more: {error}") from None
        started.wait()

    @classmethod
    def shared(cls) -> LoopThread:
        """The process's loop thread, started if there is none."""
        current = cls._shared
        if current is not None:
            return current
        with cls._shared_lock:
            if cls._shared is None:
                cls._shared = LoopThread()
            return cls._shared

    # --- calling it ---------------------------------------------------------------------------------------------------

    def post(self, callback: Callable[[], None]) -> None:
        """Runs `callback` on the loop soon; several posts share one wake-up.

        Raises:
            ClientClosedError: the interpreter is exiting, or this process was forked from the one that runs the loop.
        """
        if os.getpid() != self._pid:
            raise ClientClosedError("this was begun before the process forked: begin it anew in the child")
        with self._inbox_lock:
            if self._stopping:
                raise ClientClosedError("the interpreter is exiting: no call can be made any more")
            self._inbox.append(callback)
            if not self._awake:
                # In this order: a Ctrl-C between the two costs an empty round, the other way round every call to come.
                self._loop.call_soon_threadsafe(self._drain)
                self._awake = True

    def call(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `fn(*args, **kwargs)` on the loop thread and returns its result, or raises its exception.

        The caller's context variables are seen by the coroutine. An exception in the waiting caller (Ctrl-C) cancels the
        coroutine, waits for its cleaning up, and goes on.

        Raises:
            PlaycallError: called on the loop thread itself, where waiting would never end.
        """
        self.refuse_own_thread()
        waiting = _Waiting(self, fn(*args, **kwargs))
        try:
            self.post(waiting.start)
            wait_for(waiting.done)
        except ClientClosedError:  # by post(): nothing was begun
            waiting.coroutine.close()
            raise
        except BaseException:
            # The loop may be busy; the coroutine is cancelled when it gets there, whether we still wait or not.
            with contextlib.suppress(ClientClosedError):  # the interpreter is exiting, and cancels it by itself
                self.post(waiting.cancel)
                waiting.done.acquire(timeout=CANCEL_WAIT_SECONDS)
            raise
        return waiting.take()

    def refuse_own_thread(self) -> None:
        """Raises PlaycallError on the loop thread, where waiting for the loop would never end."""
        if self.is_current_thread:
            raise PlaycallError(
                "a blocking call was made on playcall's own loop thread, where it would wait for itself for ever; "
                "in an async callback or provider use AsyncPlaycall and await"
            )

    # --- ending -------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Cancels what runs, closes what is open, ends the loop and joins the thread, within `EXIT_WAIT_SECONDS`."""
        with self._inbox_lock:
            if self._stopping:
                return
            self._stopping = True
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(EXIT_WAIT_SECONDS)

    # --- the process's own events: fork and exit ----------------------------------------------------------------------

    @classmethod
    def before_fork(cls) -> None:
        """Holds the loop still, so that no lock of a client is held by its thread when the child is made."""
        cls._shared_lock.acquire()
        shared = cls._shared
        if shared is None or shared.is_current_thread or not shared._thread.is_alive():
            return
        still, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            still.set()
            go_on.wait(FORK_WAIT_SECONDS)

        cls._forking = go_on
        with contextlib.suppress(ClientClosedError):
            shared.post(hold)
            still.wait(FORK_WAIT_SECONDS)

    @classmethod
    def after_fork_in_parent(cls) -> None:
        if cls._forking is not None:
            cls._forking.set()
            cls._forking = None
        cls._shared_lock.release()

    @classmethod
    def after_fork_in_child(cls) -> None:
        """The thread did not come along: park what it used, and let the next call start a new one."""
        cls._shared_lock = threading.Lock()
        cls._forking = None
        if cls._shared is not None:
            cls._parked.append(cls._shared)
            cls._shared = None

    @classmethod
    def at_exit(cls) -> None:
        if cls._shared is not None:
            cls._shared._stop()

    # --- on the thread ------------------------------------------------------------------------------------------------

    def _main(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(started.set)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # raised in a callback: that callback is over, the loop goes on for the others
            if self._stopping:
                break
        self._finish()

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs on the loop thread, where blocking would be for ever."""
        return threading.get_ident() == self._thread.ident

    def _finish(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):  # the interpreter is exiting: nobody is left to tell
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=0.25))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _drain(self) -> None:
        with self._inbox_lock:
            batch, self._inbox = self._inbox, deque()
            self._awake = False
        for callback in batch:
            # Each on its own: what one raises must not keep the others' callers waiting for ever.
            self._loop.call_soon(callback)


class _Waiting(Generic[T]):
    """One call: a coroutine, the caller's context, and the lock that the caller waits on."""

    __slots__ = ("_begun", "_context", "_error", "_owner", "_result", "_task", "coroutine", "done")

    def __init__(self, owner: LoopThread, coroutine: Coroutine[Any, Any, T]) -> None:
        self._owner = owner
        self.coroutine = coroutine
        self._context = contextvars.copy_context()
        self._begun = False
        self._task: asyncio.Task[T] | None = None
        self._result: tuple[T] | None = None
        self._error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def start(self) -> None:
        self._begun = True
        self._task = asyncio.get_running_loop().create_task(self.coroutine, context=self._context)
        self._task.add_done_callback(self._finish)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._begun:  # the caller was interrupted before it could post `start`
            self.coroutine.close()
            self.done.release()

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._error = ClientClosedError("the client was closed while this call was under way")
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._result = (task.result(),)
        self._task = None
        self.done.release()

    def take(self) -> T:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # no cycle: the traceback holds this frame
        assert self._result is not None  # noqa: S101 - one of the two was set before the lock was released
        return self._result[0]


def wait_for(lock: threading.Lock, ends_at: float | None = None) -> bool:
    """Waits for the lock so that Ctrl-C is seen: a signal that comes just before the wait begins does not end it.

    False where the `time.monotonic()` moment `ends_at` came first.
    """
    while True:
        left = SIGNAL_POLL_SECONDS if ends_at is None else ends_at - time.monotonic()
        if lock.acquire(timeout=max(0.0, min(left, SIGNAL_POLL_SECONDS))):
            return True
        if left <= 0:
            return False


def _new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop loop where the extra `fast` is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:  # pragma: no cover - the test environment has the extra
        return asyncio.new_event_loop()

    class ForkableLoop(uvloop.Loop):
        """Resolves in the default executor.

        uvloop starts libuv's own threads for it, even to connect to an address in numbers. They do not come along into a
        forked child, which joins them all the same when it exits normally, and crashes.
        """

        async def getaddrinfo(
            self,
            host: str | bytes | None,
            port: str | bytes | int | None,
            *,
            family: int = 0,
            type: int = 0,
            proto: int = 0,
            flags: int = 0,
        ) -> list[Any]:  # Any: tuples whose shape depends on the family
            try:  # numbers need no thread
                return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
            except OSError:
                return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)

    return ForkableLoop()


# `concurrent.futures.thread` has fork hooks of its own, and asyncio imports it at the first use of an executor. A fork that
# waits in our hook meanwhile would run its «after» without its «before»: so it is imported first.
os.register_at_fork(
    before=LoopThread.before_fork,
    after_in_parent=LoopThread.after_fork_in_parent,
    after_in_child=LoopThread.after_fork_in_child,
)
atexit.register(LoopThread.at_exit)
