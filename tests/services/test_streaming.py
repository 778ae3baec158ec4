"""Bodies that go piece by piece, both ways, on both faces, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import io
import logging
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from playcall import BaseAPIClient, BlockingAPIClient, RetryPolicy, deadline
from playcall.errors import (
    ClientClosedError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    PayloadTooLargeError,
)
from playcall.http.bodies import CHUNK_BYTES, Upload
from playcall.http.retry import FailureKind
from playcall.http.transport import TransportFault, WireAnswer, WireRequest
from playcall.testing import MockAnswer, MockTransport
from tests.both_faces import FACES, api, using, value
from tests.misbehaving_server import (
    Act,
    Exchange,
    MisbehavingServer,
    Request,
    answer,
    close,
    head,
    ok,
    raw,
    silence,
)

BIG = os.urandom(5 * CHUNK_BYTES + 17)
QUICK = RetryPolicy(attempts=3, initial_seconds=0, budget=None)


def client_of(blocking: bool, url: str, **options: Any) -> using:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    return using(kind(url, **{"retry": QUICK, "idempotency_keys": True, **options}))


async def made(blocking: bool, call: Any, *args: Any, **options: Any) -> Any:
    """The call's value; a blocking one is made on a thread, because the server runs on this loop."""
    return await (asyncio.to_thread(call, *args, **options) if blocking else call(*args, **options))


def upload_server(answers: list[Act] | None = None) -> MisbehavingServer:
    """Says what it was sent, after what `answers` hold."""
    left = list(answers or [])

    def script(request: Request) -> Act:
        if left:
            return left.pop(0)
        return ok([len(request.body), hashlib.sha256(request.body).hexdigest(), request.headers.get("Content-Length")])

    return MisbehavingServer(script)


class OnceReadable(io.RawIOBase):
    """A pipe, as it were: it can be read, and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


async def pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(BIG), 100_000):
        yield BIG[at : at + 100_000]


def some() -> Iterator[bytes]:
    for at in range(0, len(BIG), 100_000):
        yield BIG[at : at + 100_000]


SOURCES: dict[str, Any] = {
    "bytes": lambda file: BIG,
    "a path": lambda file: file,
    "a file": lambda file: file.open("rb"),
    "memory": lambda file: io.BytesIO(BIG),
    "a file that is unpacked": lambda file: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(BIG, 1))),
    "a pipe": lambda file: OnceReadable(BIG),
    "an async iterator": lambda file: pieces(),
    "an iterator": lambda file: some(),
}
ONCE = {"a pipe", "an async iterator", "an iterator"}
"""Sources that can be read once."""
UNMEASURED = {*ONCE, "a file that is unpacked"}
"""Sources whose length is not known until they have been read."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "big.bin"
    made.write_bytes(BIG)
    return made


@FACES
@pytest.mark.parametrize("source", SOURCES)
async def test_every_source_arrives_whole_and_is_told_on_the_way(blocking: bool, source: str, file: Path) -> None:
    told: list[tuple[int, int | None]] = []
    body = SOURCES[source](file)
    async with upload_server() as server, client_of(blocking, server.url) as client:
        server_body = [len(BIG), hashlib.sha256(BIG).hexdigest()]
        length = None if source in UNMEASURED else str(len(BIG))
        got = await made(blocking, client.post, "/x", content=body, on_progress=lambda *at: told.append(at))
        assert got == [*server_body, length]
        assert server.requests[0].headers["Content-Type"] == "application/octet-stream"
        assert told[-1] == (len(BIG), None if length is None else len(BIG))
        assert [sent for sent, _ in told] == sorted({sent for sent, _ in told})
        assert len(told) >= 4
    if source == "a file":
        assert not body.closed, "the caller's file is the caller's to close"
        body.close()


@FACES
@pytest.mark.parametrize("source", sorted(SOURCES.keys() - ONCE))
async def test_what_can_be_read_again_is_sent_again(blocking: bool, source: str, file: Path) -> None:
    body = SOURCES[source](file)
    if hasattr(body, "seek"):
        body.seek(10)  # a file is sent from where it stands
    wanted = BIG[10:] if hasattr(body, "seek") else BIG
    async with upload_server([close(), answer(503)]) as server, client_of(blocking, server.url) as client:
        got = await made(blocking, client.put, "/x", content=body)
    length = None if source in UNMEASURED else str(len(wanted))
    assert got == [len(wanted), hashlib.sha256(wanted).hexdigest(), length]
    assert len(server.requests) == 3
    if hasattr(body, "close"):
        body.close()


@FACES
@pytest.mark.parametrize("source", sorted(ONCE))
async def test_what_was_read_and_cannot_be_read_again_is_not_sent_again(
    blocking: bool, source: str, file: Path
) -> None:
    async with upload_server([close()]) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await made(blocking, client.post, "/x", content=SOURCES[source](file))
    assert len(caught.value.attempts) == 1
    assert "came from an iterator" in caught.value.explain()
    assert caught.value.may_have_happened


async def test_what_was_not_begun_is_sent_again_though_it_can_be_read_once() -> None:
    class Unreachable(MockTransport):
        """No connection the first time, so nobody reads the body."""

        refusals = 1

        async def send(self, request: WireRequest) -> WireAnswer:
            if self.refusals:
                self.refusals -= 1
                raise TransportFault(FailureKind.NOT_SENT, "no connection")
            return await super().send(request)

    transport = Unreachable(lambda request: MockAnswer(json=len(request.body)))
    async with BaseAPIClient("http://b", transport=transport, retry=QUICK) as client:
        assert await client.post("/x", content=pieces()) == len(BIG)


@FACES
async def test_a_source_that_fails_ends_the_call_with_its_own_error(blocking: bool) -> None:
    class OwnError(Exception):
        pass

    def breaks() -> Iterator[bytes]:
        yield b"a" * 10
        raise OwnError("the disk is gone")

    async with upload_server() as server, client_of(blocking, server.url) as client:
        with pytest.raises(OwnError, match="the disk is gone"):
            await made(blocking, client.post, "/x", content=breaks())
        assert client.engine.limiter.in_flight == 0


@FACES
async def test_a_progress_callback_that_raises_ends_the_call(blocking: bool, file: Path) -> None:
    def stop(sent: int, total: int | None) -> None:
        raise KeyError("enough")

    async with upload_server() as server, client_of(blocking, server.url) as client:
        with pytest.raises(KeyError, match="enough"):
            await made(blocking, client.post, "/x", content=file, on_progress=stop)


@FACES
async def test_a_refusal_in_the_middle_of_the_body_is_the_answer(blocking: bool, file: Path) -> None:
    """The server answers and closes without reading on, as a bound on bodies is kept."""

    def script(request: Request) -> Act:
        async def act(exchange: Exchange) -> None:
            await exchange.write(head(413, {"Content-Length": "0", "Connection": "close"}))
            await exchange.reader.read()  # or the reset that closing makes may overtake the answer
            exchange.keep = False

        return act

    server = MisbehavingServer(script)
    server.read_bodies = False
    async with server, client_of(blocking, server.url) as client:
        with pytest.raises(PayloadTooLargeError):
            await made(blocking, client.post, "/x", content=file)


@FACES
async def test_the_deadline_ends_an_upload(blocking: bool) -> None:
    hang = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"a"
        hang.wait(20)

    try:
        async with upload_server() as server, client_of(blocking, server.url) as client:
            with pytest.raises(DeadlineExceededError):
                await made(blocking, client.post, "/x", content=slow(), deadline_seconds=0.2)
    finally:
        hang.set()


@FACES
@pytest.mark.parametrize(
    "wrong", [3, {"a": 1}, object(), Path("/nowhere/at/all"), Path("/")], ids=lambda wrong: type(wrong).__name__
)
async def test_what_gives_no_bytes_is_refused_before_anything_is_sent(blocking: bool, wrong: Any) -> None:
    async with api(blocking, lambda request: MockAnswer(json=1)) as client:
        with pytest.raises(InvalidArgumentError):
            await value(client.post("/x", content=wrong))
        assert client.engine.transport.requests == []


@FACES
async def test_an_iterator_of_anything_but_bytes_is_refused(blocking: bool) -> None:
    async with upload_server() as server, client_of(blocking, server.url) as client:
        with pytest.raises(InvalidArgumentError, match="its source gave str"):
            await made(blocking, client.post, "/x", content=["text"])


@FACES
async def test_nothing_ends_an_iterator_but_its_end(blocking: bool) -> None:
    async with upload_server() as server, client_of(blocking, server.url) as client:
        with pytest.raises(InvalidArgumentError, match="its source gave NoneType"):
            await made(blocking, client.post, "/x", content=[b"a", None, b"b"])


@FACES
async def test_a_generator_is_closed_when_its_call_is_over(blocking: bool) -> None:
    closed = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(CHUNK_BYTES)
        finally:
            closed.set()

    async def stall(exchange: Exchange) -> None:
        """Reads nothing, so that the generator is left in the middle of a piece."""
        await asyncio.sleep(20)

    async with (
        MisbehavingServer(lambda r: stall, read_bodies=False) as server,
        client_of(blocking, server.url) as client,
    ):
        with pytest.raises(DeadlineExceededError):
            await made(blocking, client.post, "/x", content=endless(), deadline_seconds=0.2)
        assert closed.is_set()


@FACES
async def test_a_read_that_never_ends_holds_up_neither_the_deadline_nor_the_loop(
    blocking: bool, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    holding = os.open(pipe, os.O_RDWR)  # so that it can be opened, and nothing comes
    let_go = threading.Timer(20, os.write, (holding, b"x"))
    let_go.start()
    try:
        async with upload_server() as server, client_of(blocking, server.url) as client:
            with pytest.raises(DeadlineExceededError):
                await made(blocking, client.post, "/x", content=pipe, deadline_seconds=0.2)
            assert await made(blocking, client.post, "/x", content=b"abc") == [
                3,
                hashlib.sha256(b"abc").hexdigest(),
                "3",
            ]
            assert let_go.is_alive(), "nobody waited for the pipe"
    finally:
        let_go.cancel()
        os.write(holding, b"x")
        os.close(holding)


@FACES
@pytest.mark.parametrize("change", ["grows", "shrinks"])
async def test_a_file_that_changes_while_it_is_sent_is_not_sent_as_if_it_were_whole(
    blocking: bool, change: str, file: Path
) -> None:
    def on_progress(sent: int, total: int | None) -> None:
        os.truncate(file, len(BIG) + (1 if change == "grows" else -1))

    async with upload_server() as server, client_of(blocking, server.url) as client:
        with pytest.raises(InvalidArgumentError, match="the file changed while it was sent"):
            await made(blocking, client.post, "/x", content=file, on_progress=on_progress)
        await server.wait_until_nobody_is_connected()
        assert server.requests == [], "nobody got a body that looks whole"


async def test_a_file_that_has_grown_since_it_was_measured_is_noticed_before_its_last_piece(file: Path) -> None:
    for size in (0, 1, CHUNK_BYTES, CHUNK_BYTES + 1):
        file.write_bytes(bytes(size))
        upload = Upload(file)
        file.write_bytes(bytes(size + 1))
        sent: list[bytes] = []
        with pytest.raises(InvalidArgumentError, match=f"it gave more than {size} bytes"):
            sent.extend([chunk async for chunk in upload.chunks()])
        assert sum(map(len, sent)) in (0, size - 1), "the length that was announced is never reached"


async def test_a_read_that_outlives_its_attempt_is_waited_for_before_the_next_begins() -> None:
    go_on, reading = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            loop.call_soon_threadsafe(reading.set)
            go_on.wait(20)
            return super().read(size)

    upload = Upload(Slow(BIG))

    async def whole() -> bytes:
        return b"".join([chunk async for chunk in upload.chunks()])

    first = asyncio.create_task(whole())
    await reading.wait()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(whole())
    await asyncio.sleep(0.05)  # what must not happen would happen now
    go_on.set()
    assert await second == BIG


async def test_once_the_last_piece_is_on_its_way_the_file_is_not_touched_again(tmp_path: Path) -> None:
    """The answer may be here by then, and its caller have closed the file."""
    path = tmp_path / "exactly"
    path.write_bytes(BIG)
    for length in (len(BIG), 2 * CHUNK_BYTES, 1):
        path.write_bytes(BIG[:length])
        with path.open("rb") as file:
            upload = Upload(file)
            sent = 0
            async for piece in upload.chunks():
                sent += len(piece)
                if sent == length:
                    file.close()
            assert sent == length


async def test_a_read_that_fails_after_its_call_is_over_is_no_fault_of_anybodys(tmp_path: Path) -> None:
    began, may_end = threading.Event(), threading.Event()

    class Slow(OnceReadable):
        def read(self, size: int = -1) -> bytes:
            began.set()
            may_end.wait()
            raise ValueError("read of closed file")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    upload = Upload(Slow(b""))
    reading = asyncio.ensure_future(anext(upload.chunks()))
    await asyncio.to_thread(began.wait)
    reading.cancel()
    await asyncio.wait([reading])
    await upload.end()
    outlived = upload._reading
    assert outlived is not None
    may_end.set()
    await asyncio.wait([outlived])
    assert outlived.done()
    del upload, outlived, reading
    gc.collect()
    assert told == []


def test_only_what_is_cheap_to_measure_is_measured(tmp_path: Path) -> None:
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(BIG))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert (Upload(pipe).length, Upload(pipe).replayable) == (None, False)
    assert (Upload(Path("/dev/zero")).length, Upload(Path("/dev/zero")).replayable) == (None, False)
    with gzip.open(packed) as unpacking, open("/dev/zero", "rb") as device, tempfile.NamedTemporaryFile() as temporary:
        upload = Upload(unpacking)  # type: ignore[arg-type]
        assert (upload.length, upload.replayable) == (None, True)
        assert unpacking.fileobj is not None
        assert unpacking.tell() == 0
        assert (Upload(device).length, Upload(device).replayable) == (None, False)
        temporary.write(b"12345")
        temporary.seek(2)
        assert Upload(temporary).length == 3  # type: ignore[arg-type]


def test_a_repr_of_an_upload_shows_none_of_it() -> None:
    assert repr(Upload(b"secret")) == "Upload(bytes, 6 bytes)"


# --- downloads --------------------------------------------------------------------------------------------------------


@FACES
async def test_a_download_is_whole_and_told_on_the_way(blocking: bool, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    async with MisbehavingServer(lambda r: answer(200, BIG)) as server, client_of(blocking, server.url) as client:
        target = tmp_path / "got.bin"
        got = await made(blocking, client.download, "/x", target, on_progress=lambda *at: told.append(at))
        assert got == target
        assert target.read_bytes() == BIG
        assert server.requests[0].headers["Accept"] == "*/*"
    assert told[-1] == (len(BIG), len(BIG))
    assert [path.name for path in tmp_path.iterdir()] == ["got.bin"]


@FACES
async def test_a_download_that_fails_leaves_what_was_there(blocking: bool, tmp_path: Path) -> None:
    target = tmp_path / "got.bin"
    target.write_bytes(b"the old one")
    current: Act = answer(404)
    async with MisbehavingServer(lambda r: current) as server, client_of(blocking, server.url) as client:
        with pytest.raises(NotFoundError):
            await made(blocking, client.download, "/x", target)
        current = raw(head(200, {"Content-Length": "99"}) + b"half")
        with pytest.raises(ConnectionLostError):
            await made(blocking, client.download, "/x", target)
        current = silence(head(200, {"Content-Length": "99"}) + b"half")
        with pytest.raises(DeadlineExceededError):
            await made(blocking, client.download, "/x", target, deadline_seconds=0.2)
        with pytest.raises(InvalidArgumentError, match="cannot be written"):
            await made(blocking, client.download, "/x", tmp_path / "no" / "such" / "folder")
        await server.wait_until_nobody_is_connected()
    assert [path.name for path in tmp_path.iterdir()] == ["got.bin"]
    assert target.read_bytes() == b"the old one"


@FACES
async def test_a_length_is_known_only_where_it_is_that_of_the_content(blocking: bool) -> None:
    packed = gzip.compress(b"a" * 1000)
    current: Act = answer(200, packed, {"Content-Encoding": "gzip"})

    def look(client: Any) -> list[Any]:
        with client.stream("GET", "/x") as incoming:
            return [incoming.length, len(incoming.read()), incoming.status]

    async def look_async(client: Any) -> list[Any]:
        async with client.stream("GET", "/x") as incoming:
            return [incoming.length, len(await incoming.read()), incoming.status]

    async with MisbehavingServer(lambda r: current) as server, client_of(blocking, server.url) as client:
        looking = partial(asyncio.to_thread, look) if blocking else look_async
        assert await looking(client) == [None, 1000, 200]
        current = answer(200, b"abc")
        assert await looking(client) == [3, 3, 200]


# --- a stream on the blocking face ------------------------------------------------------------------------------------


async def test_a_blocking_stream_gives_its_pieces_as_they_come() -> None:
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def act(exchange: Exchange) -> None:
        await exchange.write(head(200, {"Content-Length": "6", "X-A": "b"}) + b"one")
        await go_on.wait()
        await exchange.write(b"two")

    def read(client: BlockingAPIClient) -> list[bytes]:
        with client.stream("GET", "/x") as incoming:
            assert incoming.headers["x-a"] == "b"
            assert incoming.timeline.attempts[0].status == 200
            got = []
            for chunk in incoming.chunks():
                got.append(chunk)
                loop.call_soon_threadsafe(go_on.set)  # the rest comes only after the first was had
            return got

    async with MisbehavingServer(lambda r: act) as server:
        with BlockingAPIClient(server.url) as client:
            assert await asyncio.to_thread(read, client) == [b"one", b"two"]


async def test_leaving_a_blocking_stream_early_closes_its_connection() -> None:
    endless = raw(head(200, {"Content-Length": str(len(BIG) * 50)}) + BIG * 50)

    def leave(client: BlockingAPIClient) -> int:
        with client.stream("GET", "/x") as incoming:
            for chunk in incoming.chunks():
                return len(chunk)
        return 0

    async with MisbehavingServer(lambda r: endless) as server:
        with BlockingAPIClient(server.url) as client:
            assert await asyncio.to_thread(leave, client) > 0
            await server.wait_until_nobody_is_connected()
            assert client.engine.limiter.in_flight == 0


@FACES
async def test_a_stream_that_is_left_early_leaves_its_one_line_in_the_log(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    endless = raw(head(200, {"Content-Length": str(len(BIG) * 50)}) + BIG * 50)
    slow = silence(head(200, {"Content-Length": "99"}) + b"x")

    def leave(client: BlockingAPIClient) -> None:
        with client.stream("GET", "/x") as incoming:
            next(incoming.chunks())

    async def leave_async(client: BaseAPIClient) -> None:
        async with client.stream("GET", "/x") as incoming:
            async for _ in incoming.chunks():
                break

    for act in (endless, slow):  # it waits for room, or for more to come
        caplog.clear()
        with caplog.at_level(logging.INFO, "playcall.http"):
            async with MisbehavingServer(lambda r, act=act: act) as server, client_of(blocking, server.url) as client:
                await (asyncio.to_thread(leave, client) if blocking else leave_async(client))
        lines = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "request"]
        assert [line.split(" attempts")[0] for line in lines] == ["GET /x 200"]


@FACES
async def test_a_body_that_was_read_is_given_again_and_after_its_block_there_is_none(blocking: bool) -> None:
    """None is an error, and no empty body."""

    def read(client: BlockingAPIClient) -> list[bytes]:
        with client.stream("GET", "/x") as incoming:
            got = [incoming.read(), incoming.read()]
        with client.stream("GET", "/x") as unread:
            pass
        with pytest.raises(RuntimeError, match="the `with` block has ended"):
            unread.read()
        with pytest.raises(RuntimeError, match="the `with` block has ended"):
            list(unread.chunks())
        with pytest.raises(RuntimeError, match="the `with` block has ended"):
            incoming.read()
        return got

    async def read_async(client: BaseAPIClient) -> list[bytes]:
        async with client.stream("GET", "/x") as incoming:
            got = [await incoming.read(), await incoming.read()]
        async with client.stream("GET", "/x") as unread:
            pass
        with pytest.raises(ConnectionLostError):
            await unread.read()
        with pytest.raises(ConnectionLostError):
            await incoming.read()
        return got

    body = head(200, {"Content-Length": "5"}) + b"hello"
    halves = script_of(raw(body), silence(body[:-1]))
    async with MisbehavingServer(halves) as server, client_of(blocking, server.url) as client:
        got = await (asyncio.to_thread(read, client) if blocking else read_async(client))
    assert got == [b"hello"] * 2


def script_of(*acts: Act) -> Any:
    return lambda request: acts[request.number - 1]


@FACES
@pytest.mark.parametrize("way", ["get", "stream", "download"])
async def test_closing_ends_a_call_whose_body_is_on_its_way(blocking: bool, way: str, tmp_path: Path) -> None:
    """At once, though nothing else would end it: there is no deadline, no read timeout, and a long pause to come."""
    act = silence(head(200, {"Content-Length": "99"}) + b"half")
    pausing = RetryPolicy(initial_seconds=60, max_seconds=60, jitter=0)
    patient = {"deadline_seconds": None, "read_timeout_seconds": None, "retry": pausing}

    def stream(client: BlockingAPIClient) -> None:
        with client.stream("GET", "/x") as incoming:
            incoming.read()

    async def stream_async(client: BaseAPIClient) -> None:
        async with client.stream("GET", "/x") as incoming:
            await incoming.read()

    async with MisbehavingServer(lambda r: act) as server, client_of(blocking, server.url, **patient) as client:
        call: Any = {
            "get": partial(made, blocking, client.get, "/x"),
            "stream": partial(asyncio.to_thread, stream, client) if blocking else partial(stream_async, client),
            "download": partial(made, blocking, client.download, "/x", tmp_path / "got"),
        }[way]
        calling = asyncio.ensure_future(call())
        while not client.engine.transport.pool._slots or not answers_of(client):
            await asyncio.sleep(0.005)
        await made(blocking, client.close)
        async with asyncio.timeout(5):
            with pytest.raises((ClientClosedError, ConnectionLostError)):
                await calling
    assert list(tmp_path.iterdir()) == []


def answers_of(client: Any) -> list[Any]:
    """The answers that are open."""
    return [each for slot in client.engine.transport.pool._slots.values() for each in slot.session.connector.answers]


async def test_a_blocking_stream_raises_where_it_is_opened_or_read() -> None:
    current: Act = answer(404)

    def read(client: BlockingAPIClient) -> bytes:
        with client.stream("GET", "/x") as incoming:
            return incoming.read()

    async with MisbehavingServer(lambda r: current) as server:
        with BlockingAPIClient(server.url, retry=QUICK) as client:
            with pytest.raises(NotFoundError):
                await asyncio.to_thread(read, client)
            current = raw(head(200, {"Content-Length": "99"}) + b"half")
            with pytest.raises(ConnectionLostError, match="broke off"):
                await asyncio.to_thread(read, client)
            current = silence(head(200, {"Content-Length": "99"}) + b"half")
            patient = client.with_options(deadline_seconds=0.2)
            with pytest.raises(DeadlineExceededError):
                await asyncio.to_thread(read, patient)
        await server.wait_until_nobody_is_connected()


def test_a_blocking_stream_is_for_a_with_block() -> None:
    from playcall.services.blocking_body import BlockingBody

    with BlockingAPIClient("http://b", transport=MockTransport(lambda r: MockAnswer(json=1))) as client:
        body = BlockingBody(client.awaiting._streamed("GET", "/x", {}))
        with pytest.raises(RuntimeError, match="with"):
            _ = body.status
        with pytest.raises(ZeroDivisionError), client.stream("GET", "/x"):
            _ = 1 / 0


async def test_a_blocking_read_that_was_cut_off_goes_on_and_gives_the_whole() -> None:
    go_on = asyncio.Event()

    async def act(exchange: Exchange) -> None:
        await exchange.write(head(200, {"Content-Length": "6"}) + b"one")
        await go_on.wait()
        await exchange.write(b"two")

    loop = asyncio.get_running_loop()

    def read(client: BlockingAPIClient) -> bytes:
        with client.stream("GET", "/x") as incoming:
            with deadline(0.2), pytest.raises(DeadlineExceededError):
                incoming.read()
            loop.call_soon_threadsafe(go_on.set)
            return incoming.read()

    async with MisbehavingServer(lambda r: act) as server:
        with BlockingAPIClient(server.url) as client:
            assert await asyncio.to_thread(read, client) == b"onetwo"


@FACES
async def test_known_has_no_meaning_for_a_stream(blocking: bool) -> None:
    async with api(blocking, lambda r: MockAnswer(json=1)) as client:
        known = await value(client.get.raw("/x"))
        stream = client.stream("GET", "/x", known=known)
        with pytest.raises(InvalidArgumentError, match="known="):
            await value(stream.__enter__() if blocking else stream.__aenter__())
