"""Written once, served twice: the same method on both faces, with the caller's context and an honest traceback."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from playcall import blocking_iterator, deadline
from playcall.blocking_iterator import READ_AHEAD
from playcall.deadline import nearest
from playcall.errors import ClientClosedError, DeadlineExceededError, PlaycallError
from playcall.faces import Awaiting, Blocking, FaceT, Service, call, stream
from playcall.loop_thread import LoopThread
from tests.both_faces import FACES, items, value

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="unset")


class OwnError(ValueError):
    """One that can be referred to weakly."""


class Numbers(Service[FaceT]):
    """A service as services are written."""

    def __init__(self, *, blocking: bool = False) -> None:
        super().__init__(blocking=blocking)
        self.ended = threading.Event()
        self.made: list[int] = []  # shared by the two faces, as everything that a service refers to

    @call
    async def double(self: Numbers[Awaiting], number: int, *, plus: int = 0) -> int:
        """Twice the number."""
        await asyncio.sleep(0)
        return number * 2 + plus

    @call
    async def quadruple(self: Numbers[Awaiting], number: int) -> int:
        return await self.double(await self.double(number))

    @call
    async def fail(self: Numbers[Awaiting]) -> int:
        await asyncio.sleep(0)
        raise OwnError("the service's own")

    @call
    async def where(self: Numbers[Awaiting]) -> str:
        return f"{threading.current_thread().name} {word.get()}"

    @call
    async def hang(self: Numbers[Awaiting]) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended.set()

    @call
    async def cancelled(self: Numbers[Awaiting]) -> None:
        raise asyncio.CancelledError

    @stream
    async def count(self: Numbers[Awaiting], up_to: int, *, fail_at: int | None = None) -> AsyncIterator[int]:
        """From 0."""
        try:
            for number in range(up_to):
                if number == fail_at:
                    raise ValueError("the stream's own")
                self.made.append(number)
                if number % 7 == 0:
                    await asyncio.sleep(0)
                yield number
        finally:
            self.ended.set()

    @stream
    async def words(self: Numbers[Awaiting]) -> AsyncIterator[str]:
        yield word.get()
        await asyncio.sleep(0)
        yield word.get()

    @stream
    async def timed(self: Numbers[Awaiting]) -> AsyncIterator[int]:
        """A timeout across a yield works only if one task drives all of it."""
        async with asyncio.timeout(30):
            yield 1
            await asyncio.sleep(0)
            yield 2

    @stream
    async def cut_off(self: Numbers[Awaiting]) -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError


@FACES
async def test_a_method_gives_its_value_on_both_faces(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    assert await value(numbers.double(4, plus=1)) == 9
    assert await value(numbers.quadruple(4)) == 16
    assert (inspect.iscoroutinefunction(numbers.double)) is not blocking


@FACES
async def test_wrong_arguments_are_type_errors_at_once(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    with pytest.raises(TypeError, match="plsu"):
        numbers.double(4, plsu=1)


def test_the_descriptor_keeps_name_and_docstring() -> None:
    assert Numbers.double.__name__ == "double"  # type: ignore[attr-defined]
    assert Numbers.double.__doc__ == "Twice the number."
    assert Numbers.count.__doc__ == "From 0."


@FACES
async def test_a_bound_method_shows_the_name_docstring_and_signature_of_what_it_is(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    assert (numbers.double.__name__, inspect.getdoc(numbers.double)) == ("double", "Twice the number.")
    assert str(inspect.signature(numbers.double)) == "(number: 'int', *, plus: 'int' = 0) -> 'int'"
    assert (numbers.count.__name__, inspect.getdoc(numbers.count)) == ("count", "From 0.")
    assert list(inspect.signature(numbers.count).parameters) == ["up_to", "fail_at"]


@FACES
async def test_the_caller_s_context_is_seen(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    token = word.set("seen")
    try:
        said = await value(numbers.where())
        assert await items(numbers.words()) == ["seen", "seen"]
    finally:
        word.reset(token)
    assert said == ("playcall-loop seen" if blocking else "MainThread seen")


@FACES
async def test_a_traceback_shows_the_caller_s_line_and_the_service_s(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    with pytest.raises(ValueError, match="own") as caught:
        await value(numbers.fail())  # the caller's line
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert "the caller's line" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert frames[-1].name == "fail"
    assert len(frames) <= 5  # caller, two of ours at most, a test helper, the service


def test_an_error_keeps_no_cycle_alive() -> None:
    import gc
    import weakref

    numbers: Numbers[Blocking] = Numbers(blocking=True)
    gc.collect()
    gc.disable()
    try:

        def provoke() -> weakref.ref[OwnError]:
            try:
                numbers.fail()
            except OwnError as error:
                return weakref.ref(error)
            raise AssertionError

        gone = provoke()
        numbers.double(1)  # the loop thread has let go of the last call
        assert gone() is None
    finally:
        gc.enable()


@FACES
async def test_a_stream_gives_its_items_in_order(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    assert await items(numbers.count(1000)) == list(range(1000))
    assert await items(numbers.timed()) == [1, 2]
    assert await items(numbers.count(0)) == []


@FACES
async def test_what_came_before_a_stream_s_error_is_given_first(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    got: list[int] = []

    async def use() -> None:
        if blocking:
            for number in numbers.count(9, fail_at=5):
                got.append(number)  # noqa: PERF402 - what came before the error counts
        else:
            async for number in numbers.count(9, fail_at=5):
                got.append(number)  # noqa: PERF401

    with pytest.raises(ValueError, match="the stream's own") as caught:
        await use()
    assert got == [0, 1, 2, 3, 4]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "count"


@FACES
async def test_leaving_a_stream_early_ends_its_source(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    assert await items(numbers.count(10_000_000), limit=3) == [0, 1, 2]
    assert await asyncio.to_thread(numbers.ended.wait, 3)
    assert 3 <= len(numbers.made) <= READ_AHEAD + 4


def test_a_blocking_iterator_reads_ahead_and_no_further() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    with numbers.count(10_000_000) as iterator:
        got = [next(iterator) for _ in range(3 * READ_AHEAD)]
        assert got == list(range(3 * READ_AHEAD))
        assert len(numbers.made) <= 4 * READ_AHEAD + 2
        assert not numbers.ended.is_set()
    assert numbers.ended.is_set()
    with pytest.raises(StopIteration):
        next(iterator)
    iterator.close()


def test_a_stream_that_was_never_begun_begins_nothing() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    iterator = numbers.count(5)
    iterator.close()
    with pytest.raises(StopIteration):
        next(iterator)
    assert numbers.made == []


def test_an_iterator_that_is_dropped_ends_its_source() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    iterator = numbers.count(10_000_000)
    assert next(iterator) == 0
    del iterator
    assert numbers.ended.wait(3)


def test_an_iterator_that_waits_obeys_the_deadline_of_whoever_waits() -> None:
    class Gated(Service[FaceT]):
        def __init__(self, *, blocking: bool = False) -> None:
            super().__init__(blocking=blocking)
            self.open = asyncio.Event()
            self.bounds: list[float | None] = []

        @stream
        async def gated(self: Gated[Awaiting]) -> AsyncIterator[int]:
            self.bounds.append(nearest(None))
            yield 1
            yield 2
            await self.open.wait()
            yield 3

    service: Gated[Blocking] = Gated(blocking=True)
    iterator = service.gated()
    assert [next(iterator), next(iterator)] == [1, 2]
    with (
        pytest.raises(DeadlineExceededError, match=r"gated: nothing more came before the deadline") as caught,
        deadline(0.05),
    ):
        next(iterator)
    assert "next" in caught.value.explain()
    LoopThread.shared().post(service.open.set)
    with deadline(60):
        assert list(iterator) == [3]  # it goes on, and none was lost
    assert service.bounds == [None]

    with deadline(60):
        made_inside = service.gated()
    later = service.gated()
    assert next(made_inside) == 1
    with deadline(60):
        assert next(later) == 1
    # The deadline is that of the first item, as with `async for`.
    assert [bound is None for bound in service.bounds] == [True, True, False]
    made_inside.close()
    later.close()


def test_a_source_that_does_not_heed_its_own_deadline_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_iterator, "LATE_SECONDS", 0.05)
    hanging: Numbers[Blocking] = Numbers(blocking=True)

    class Deaf(Service[FaceT]):
        @stream
        async def never(self: Deaf[Awaiting]) -> AsyncIterator[int]:
            await hanging._awaiting().hang()  # type: ignore[attr-defined,misc]
            yield 1

    deaf: Deaf[Blocking] = Deaf(blocking=True)
    with deadline(0.05), deaf.never() as iterator, pytest.raises(DeadlineExceededError, match="never"):
        next(iterator)
    assert hanging.ended.wait(10)


@pytest.mark.parametrize("attempt", range(10))
def test_threads_share_one_iterator_and_each_item_goes_to_one(attempt: int) -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    iterator = numbers.count(500)
    barrier = threading.Barrier(4)
    got: list[int] = []

    def run() -> None:
        barrier.wait(5)
        got.extend(iterator)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(got) == list(range(500))
    assert len(numbers.made) == 500


def test_closing_from_another_thread_ends_the_wait() -> None:
    class Slow(Service[FaceT]):
        @stream
        async def never(self: Slow[Awaiting]) -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(3600)

    slow: Slow[Blocking] = Slow(blocking=True)
    iterator = slow.never()
    assert next(iterator) == 1
    timer = threading.Timer(0.05, iterator.close)
    timer.start()
    assert list(iterator) == []
    timer.join()


@FACES
async def test_a_cancellation_from_within_does_not_look_like_the_end(blocking: bool) -> None:
    numbers: Any = Numbers(blocking=blocking)
    with pytest.raises((ClientClosedError, asyncio.CancelledError)):
        await items(numbers.cut_off())
    with pytest.raises((ClientClosedError, asyncio.CancelledError)):
        await value(numbers.cancelled())


def test_a_blocking_call_on_the_loop_thread_is_an_error_and_no_deadlock() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)

    async def misuse() -> None:
        with pytest.raises(PlaycallError, match="own loop thread"):
            numbers.double(1)
        with pytest.raises(PlaycallError, match="own loop thread"):
            next(numbers.count(3))

    LoopThread.shared().call(misuse)


async def test_the_blocking_face_works_inside_a_running_loop() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    assert numbers.double(2) == 4
    assert list(numbers.count(3)) == [0, 1, 2]


def test_many_threads_call_at_once() -> None:
    numbers: Numbers[Blocking] = Numbers(blocking=True)
    wrong: list[int] = []

    def run(base: int) -> None:
        wrong.extend(n for n in range(base, base + 100) if numbers.double(n) != 2 * n)

    threads = [threading.Thread(target=run, args=(1000 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []
