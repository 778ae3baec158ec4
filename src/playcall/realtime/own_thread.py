"""A thread for one kind of blocking work: calls are made one at a time, in the order in which they were given.

Not the loop's executor: its few threads are everybody's, and a call that waits there delays name look-ups and others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeAlias, TypeVar

__all__ = ["OwnThread"]

P = ParamSpec("P")
T = TypeVar("T")

_Calls: TypeAlias = "SimpleQueue[Callable[[], None] | None]"


class OwnThread:
    """Started by the first call. A daemon: what it is doing does not hold up the interpreter's exit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: _Calls = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Has `fn` called, and returns what becomes of it.

        Raises:
            RuntimeError: after `end`, or no thread can be started any more.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("this thread was ended")
            if self._thread is None:
                thread = threading.Thread(target=_work, args=(self._calls,), name=self._name, daemon=True)
                thread.start()
                self._thread = thread
            self._calls.put(partial(_call, future, partial(fn, *args, **kwargs)))
        return future

    def end(self, last: Callable[[], None] | None = None) -> threading.Thread | None:
        """Ends it after what was submitted, and after `last`, which must not raise; `last` is left out if it never ran.

        Waits for nothing, so that a finaliser may call it; join what it returns, None if it never ran.
        """
        with self._lock:
            if not self._ended:
                self._ended = True
                self._calls.put(last)
                self._calls.put(None)
            return self._thread


def _work(calls: _Calls) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # not kept alive while waiting for the next


def _call(future: Future[T], fn: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(fn())
    except StopIteration as error:  # no future of asyncio takes it (PEP 479)
        stopped = RuntimeError("the call raised StopIteration")
        stopped.__cause__ = error
        future.set_exception(stopped)
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future  # no cycle: the traceback holds this frame
