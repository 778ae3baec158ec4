"""Downloads that break off: where they go on, where they begin anew, and where they give up; both faces, real sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playcall import BaseAPIClient, BearerToken, BlockingAPIClient, RetryPolicy
from playcall.errors import (
    ConnectionLostError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    PlaycallError,
    ServiceUnavailableError,
    StatusError,
    UnreadableAnswerError,
)
from playcall.services import part_file
from playcall.testing import MockAnswer
from tests.both_faces import FACES, api, using, value
from tests.misbehaving_server import Act, Exchange, MisbehavingServer, Request, answer, head, raw, redirect, silence

BIG = os.urandom(300_000)
TAG = '"v1"'
QUICK = RetryPolicy(attempts=3, initial_seconds=0, budget=None)


def client_of(blocking: bool, url: str, **options: Any) -> using:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    return using(kind(url, **{"retry": QUICK, **options}))


async def download(blocking: bool, client: Any, *args: Any, **options: Any) -> Any:
    """On a thread for the blocking face, because the server runs on this loop."""
    call = client.download
    return await (asyncio.to_thread(call, *args, **options) if blocking else call(*args, **options))


async def download_raw(blocking: bool, client: Any, *args: Any) -> Any:
    call = client.download.raw
    return await (asyncio.to_thread(call, *args) if blocking else call(*args))


def whole(until: int | None = None, content: bytes = BIG, tag: str | None = TAG) -> Act:
    """The whole, which breaks off after so many bytes."""
    headers = {"Content-Length": str(len(content)), **({} if tag is None else {"ETag": tag})}
    return answer(200, content, headers) if until is None else raw(head(200, headers) + content[:until])


def rest(request: Request, until: int | None = None, content: bytes = BIG, tag: str = TAG, **headers: str) -> Act:
    """The part that was asked for, which breaks off at this place of the whole."""
    first = begin_of(request)
    said = {
        "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}",
        "Content-Length": str(len(content) - first),
        "ETag": tag,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return answer(206, content[first:], said) if until is None else raw(head(206, said) + content[first:until])


def begin_of(request: Request) -> int:
    return int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))


def ranges(server: MisbehavingServer) -> list[str | None]:
    return [request.headers.get("Range") for request in server.requests]


def script(*acts: Callable[[Request], Act]) -> Callable[[Request], Act]:
    """One after the other; the last for all that follow."""
    return lambda request: acts[min(request.number, len(acts)) - 1](request)


@FACES
async def test_it_goes_on_where_it_broke_off_as_often_as_it_comes_further(blocking: bool, tmp_path: Path) -> None:
    """Five times, with three attempts: a part that came further is the first attempt again."""
    told: list[tuple[int, int | None]] = []
    places = [50_000, 100_000, 100_001, 200_000, 250_000]

    def serve(request: Request) -> Act:
        if request.number == 1:
            return whole(places[0])
        return rest(request, places[request.number - 1] if request.number <= len(places) else None)

    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = tmp_path / "got"
        assert await download(blocking, client, "/x", target, on_progress=lambda *at: told.append(at)) == target
    assert target.read_bytes() == BIG
    assert ranges(server) == [None, *(f"bytes={place}-" for place in places)]
    assert {request.headers.get("If-Range") for request in server.requests[1:]} == {TAG}
    assert [at for at, _ in told] == sorted(at for at, _ in told), "progress never goes back"
    assert {total for _, total in told} == {len(BIG)}
    assert told[-1][0] == len(BIG)
    assert list(tmp_path.iterdir()) == [target]


@FACES
async def test_what_has_changed_meanwhile_begins_anew(blocking: bool, tmp_path: Path) -> None:
    changed = BIG[::-1][:200_000]
    serve = script(
        lambda r: whole(150_000),
        lambda r: whole(90_000, changed, '"v2"'),
        lambda r: rest(r, None, changed, '"v2"'),
    )
    told: list[tuple[int, int | None]] = []
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got", on_progress=lambda *at: told.append(at))
    assert target.read_bytes() == changed
    assert ranges(server) == [None, "bytes=150000-", "bytes=90000-"]
    assert server.requests[2].headers["If-Range"] == '"v2"'
    assert told[-1] == (200_000, 200_000)


@FACES
async def test_a_server_that_gives_no_parts_is_asked_as_often_as_the_policy_says(
    blocking: bool, tmp_path: Path
) -> None:
    ends = [100_000, 150_000, 200_000, None]
    async with (
        MisbehavingServer(lambda r: whole(ends[r.number - 1])) as server,
        client_of(blocking, server.url) as client,
    ):
        with pytest.raises(ConnectionLostError) as caught:
            await download(blocking, client, "/x", tmp_path / "got")
        assert len(server.requests) == QUICK.attempts
        assert "3 of 3 attempts used" in caught.value.explain()
        got = await download(blocking, client, "/x", tmp_path / "got")
    assert got.read_bytes() == BIG


@FACES
async def test_a_part_that_brings_nothing_counts_as_an_attempt(blocking: bool, tmp_path: Path) -> None:
    serve = script(lambda r: whole(100_000), lambda r: rest(r, 150_000), lambda r: rest(r, 0))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await download(blocking, client, "/x", tmp_path / "got")
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"]
    assert list(tmp_path.iterdir()) == []
    story = caught.value.explain()
    assert "broke off in its body, at byte 100000" in story
    assert story.count("broke off in its body, at byte 150000") == 4, "each of three, and the message"
    assert story.count("-> retry in") == 3
    assert "give up: 3 of 3 attempts used" in story
    attempts = caught.value.attempts
    assert [each.number for each in attempts] == list(range(1, len(attempts) + 1))
    assert [each.began_at_seconds for each in attempts] == sorted(each.began_at_seconds for each in attempts)


@FACES
@pytest.mark.parametrize(
    "bad",
    [
        lambda r: rest(r, Content_Range="bytes 0-299999/300000"),
        lambda r: rest(r, Content_Range="bytes 100000-299998/300000"),
        lambda r: rest(r, Content_Range="nonsense"),
        lambda r: rest(r, tag='"v2"'),
        lambda r: answer(416, b"", {"Content-Range": "bytes */300000"}),
    ],
    ids=["elsewhere", "too short", "nonsense", "of something else", "416"],
)
async def test_a_part_that_is_none_begins_anew_and_none_is_asked_for_again(
    blocking: bool, tmp_path: Path, bad: Callable[[Request], Act]
) -> None:
    serve = script(lambda r: whole(100_000), bad, lambda r: whole())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
        assert target.read_bytes() == BIG
        assert ranges(server) == [None, "bytes=100000-", None]
    serve = script(lambda r: whole(100_000), bad, lambda r: whole(100_000))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ConnectionLostError):
            await download(blocking, client, "/x", tmp_path / "other")
        assert ranges(server) == [None, "bytes=100000-", None]
    assert [path.name for path in tmp_path.iterdir()] == ["got"]


@FACES
async def test_a_part_in_chunks_that_ends_too_early_is_no_whole(blocking: bool, tmp_path: Path) -> None:
    def short(request: Request) -> Act:
        headers = {
            "Content-Range": f"bytes {begin_of(request)}-{len(BIG) - 1}/{len(BIG)}",
            "Transfer-Encoding": "chunked",
        }
        return raw(head(206, headers) + b"3\r\nabc\r\n0\r\n\r\n")

    serve = script(lambda r: whole(100_000), short, lambda r: whole())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG


@FACES
@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
async def test_without_a_strong_etag_it_begins_anew_as_often_as_the_policy_says(
    blocking: bool, tmp_path: Path, tag: str | None
) -> None:
    ends = [100_000, 50_000, 20_000, 10_000, None]
    serve = script(*(lambda r, end=end: whole(end, tag=tag) for end in ends))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ConnectionLostError):
            await download(blocking, client, "/x", tmp_path / "got")
        assert ranges(server) == [None] * QUICK.attempts
        assert list(tmp_path.iterdir()) == []
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG


@FACES
async def test_who_wants_one_attempt_gets_that(blocking: bool, tmp_path: Path) -> None:
    serve = script(lambda r: whole(100_000), lambda r: whole())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ConnectionLostError):
            await download(blocking, client, "/x", tmp_path / "got", retry=RetryPolicy(attempts=1))
    assert len(server.requests) == 1


@FACES
async def test_a_range_of_ones_own_is_what_the_file_holds_and_is_asked_for_each_time(
    blocking: bool, tmp_path: Path
) -> None:
    own = {"range": "bytes=299990-"}
    serve = script(lambda r: rest(r, 299_995), lambda r: rest(r))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got", headers=own)
    assert target.read_bytes() == BIG[-10:]
    assert ranges(server) == [own["range"]] * 2
    assert {request.headers.get("If-Range") for request in server.requests} == {None}


@FACES
@pytest.mark.parametrize("status", [206, 304])
async def test_a_success_that_answers_what_was_not_asked_leaves_the_file_as_it_is(
    blocking: bool, tmp_path: Path, status: int
) -> None:
    target = tmp_path / "got"
    target.write_bytes(b"mine")
    said = {"Content-Range": "bytes 5-7/300000", "ETag": TAG}
    async with (
        MisbehavingServer(lambda r: answer(status, b"" if status == 304 else b"abc", said)) as server,
        client_of(blocking, server.url) as client,
    ):
        with pytest.raises(UnreadableAnswerError) as caught:
            await download(blocking, client, "/x", target, headers={"If-None-Match": TAG})
        assert len(server.requests) == 1
    assert caught.value.status == status
    assert target.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [target]


@FACES
async def test_what_cannot_be_a_download_is_refused_before_anything_is_sent(blocking: bool, tmp_path: Path) -> None:
    async with api(blocking, lambda request: MockAnswer(json=1)) as client:
        known = await value(client.get.raw("/x"))
        with pytest.raises(InvalidArgumentError, match="known="):
            await value(client.download("/x", tmp_path / "got", known=known))
        for folder in (tmp_path, ".", "/", str(tmp_path)):
            with pytest.raises(InvalidArgumentError, match="it is a folder"):
                await value(client.download("/x", folder))
        fifo = tmp_path / "fifo"  # which stands for devices as well: what is wrong must not replace one of this machine
        os.mkfifo(fifo)
        with pytest.raises(InvalidArgumentError, match="no regular file"):
            await value(client.download("/x", fifo))
        with pytest.raises(InvalidArgumentError, match="cannot be written"):
            await value(client.download("/x", tmp_path / "no" / "folder"))
        assert len(client.engine.transport.requests) == 1, "that of get"
    assert list(tmp_path.iterdir()) == [fifo]


@FACES
async def test_a_link_stays_one_and_leads_to_what_came(blocking: bool, tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.mkdir()
    link.symlink_to(Path("kept", "file"))
    async with api(blocking, lambda request: MockAnswer(body="abc")) as client:
        for _ in ("it leads nowhere", "it leads to a file"):
            assert await value(client.download("/x", link)) == link
    assert link.is_symlink()
    assert (kept / "file").read_bytes() == b"abc"
    assert sorted(tmp_path.rglob("*")) == [kept, kept / "file", link]


@FACES
async def test_raw_of_a_download_is_the_head_with_the_path(blocking: bool, tmp_path: Path) -> None:
    async with api(blocking, lambda request: MockAnswer(body="abc", headers={"ETag": TAG})) as client:
        got = await value(client.download.raw("/x", tmp_path / "got"))
    assert (got.status, got.etag, got.body, got.value) == (200, TAG, b"", tmp_path / "got")
    assert got.value.read_bytes() == b"abc"


@FACES
async def test_refusals_of_a_part_are_counted_with_the_breaks(blocking: bool, tmp_path: Path) -> None:
    """One policy for all of the download: not so many attempts for each of its parts."""
    serve = script(lambda r: whole(100_000), lambda r: answer(503))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await download(blocking, client, "/x", tmp_path / "got")
    assert len(server.requests) == len(caught.value.attempts) == QUICK.attempts


@FACES
async def test_an_answer_of_no_use_is_paused_after(blocking: bool, tmp_path: Path) -> None:
    """It is complete, so that nothing is lost on the wire; and yet it must not be asked for again and again."""
    serve = script(lambda r: whole(100_000), lambda r: rest(r, tag='"v2"'), lambda r: whole())
    slow = RetryPolicy(attempts=3, initial_seconds=0.01, jitter=0, budget=None)
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url, retry=slow) as client:
        got = await download_raw(blocking, client, "/x", tmp_path / "got")
    assert [attempt.waited_seconds for attempt in got.timeline.attempts] == [0, 0.01, 0.02]


@FACES
async def test_a_full_disk_is_an_error_with_its_cause_and_leaves_nothing(
    blocking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "got"
    target.write_bytes(b"mine")
    async with api(blocking, lambda request: MockAnswer(body="abc")) as client:
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(PlaycallError, match="got could not be written: No space left") as caught:
            await value(client.download("/x", target))
    assert isinstance(caught.value.__cause__, OSError)
    assert target.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [target]


@FACES
async def test_a_name_may_be_as_long_as_names_can_be(blocking: bool, tmp_path: Path) -> None:
    async with api(blocking, lambda request: MockAnswer(body="abc")) as client:
        target = await value(client.download("/x", tmp_path / ("n" * 255)))
    assert target.read_bytes() == b"abc"


@FACES
async def test_a_disk_that_hangs_does_not_outlast_the_deadline_and_leaves_nothing(
    blocking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, left = threading.Event(), threading.Event()
    really, unlink = Path.open, Path.unlink

    def hang(path: Path, *args: Any, **options: Any) -> Any:
        go_on.wait(20)
        return really(path, *args, **options)

    def gone(path: Path, *args: Any, **options: Any) -> None:
        unlink(path, *args, **options)
        left.set()

    monkeypatch.setattr(Path, "open", hang)
    monkeypatch.setattr(Path, "unlink", gone)
    monkeypatch.setattr(part_file, "DISCARD_WAIT_SECONDS", 0.01)
    async with api(blocking, lambda request: MockAnswer(body="abc")) as client:
        try:
            with pytest.raises(DeadlineExceededError, match="while starting"):
                await value(client.download("/x", tmp_path / "got", deadline_seconds=0.1))
            assert client.engine.transport.requests == []
        finally:
            go_on.set()
        assert await asyncio.to_thread(left.wait, 5), "the file that was made too late is removed"
    assert list(tmp_path.iterdir()) == []


@FACES
async def test_a_break_before_the_first_byte_asks_for_the_whole(blocking: bool, tmp_path: Path) -> None:
    serve = script(lambda r: whole(0), lambda r: whole())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG
    assert ranges(server) == [None, None]


@FACES
async def test_one_deadline_bounds_all_parts(blocking: bool, tmp_path: Path) -> None:
    """Each part comes a little further and then hangs back: without the one deadline this would have no end."""
    place = 0

    def creep(request: Request) -> Act:
        nonlocal place
        place += 10
        return whole(place) if request.number == 1 else rest(request, place)

    slow = RetryPolicy(attempts=3, initial_seconds=0.02, jitter=0, budget=None)
    async with MisbehavingServer(creep) as server, client_of(blocking, server.url) as client:
        with pytest.raises((DeadlineExceededError, ConnectionLostError)) as caught:
            await download(blocking, client, "/x", tmp_path / "got", deadline_seconds=0.5, retry=slow)
        assert "deadline" in str(caught.value) or "past the deadline" in caught.value.explain()
        assert len(server.requests) > 2
    assert caught.value.timeline.deadline_seconds == pytest.approx(0.5, abs=0.1)
    assert list(tmp_path.iterdir()) == []


@FACES
async def test_a_part_that_hangs_ends_with_the_deadline_and_tells_of_what_came_before(
    blocking: bool, tmp_path: Path
) -> None:
    serve = script(lambda r: whole(100_000), lambda r: silence())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await download(blocking, client, "/x", tmp_path / "got", deadline_seconds=0.5)
        await server.wait_until_nobody_is_connected()
    assert "the deadline of 0.5 s came" in str(caught.value), "the call's own, not what was left of it"
    assert "broke off in its body, at byte 100000" in caught.value.explain()
    assert list(tmp_path.iterdir()) == []


@FACES
async def test_what_is_gone_when_it_should_go_on_is_not_found(blocking: bool, tmp_path: Path) -> None:
    serve = script(lambda r: whole(100_000), lambda r: answer(404))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        with pytest.raises(NotFoundError) as caught:
            await download(blocking, client, "/x", tmp_path / "got")
    assert [each.status for each in caught.value.attempts] == [None, 404]
    assert len(server.requests) == 2


@FACES
async def test_a_416_that_no_part_was_asked_for_is_the_answer(blocking: bool, tmp_path: Path) -> None:
    async with MisbehavingServer(lambda r: answer(416)) as server, client_of(blocking, server.url) as client:
        with pytest.raises(StatusError) as caught:
            await download(blocking, client, "/x", tmp_path / "got")
    assert caught.value.status == 416
    assert len(server.requests) == 1


@FACES
async def test_parts_that_come_further_cost_none_of_the_retry_budget(blocking: bool, tmp_path: Path) -> None:
    places = [100, *range(1_000, 31_000, 1_000)]

    def serve(request: Request) -> Act:
        if request.number == 1:
            return whole(places[0])
        return rest(request, places[request.number - 1] if request.number <= len(places) else None)

    tight = RetryPolicy(attempts=2, initial_seconds=0, budget=1)
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url, retry=tight) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
        assert client.engine.budget.tokens < 1, "the first break cost one"
    assert target.read_bytes() == BIG


@FACES
async def test_each_part_may_meet_an_expired_token(blocking: bool, tmp_path: Path) -> None:
    """One renewal a call is for a call of one answer; each part that came further is a new beginning."""
    used: set[str] = set()
    places = iter([50_000, 100_000, 150_000])

    def serve(request: Request) -> Act:
        token = request.headers["Authorization"]
        if token in used:
            return answer(401)
        used.add(token)
        until = next(places, None)
        return whole(until) if "Range" not in request.headers else rest(request, until)

    tokens = (f"t{number}" for number in range(100))
    auth = BearerToken(lambda: next(tokens))
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url, auth=auth) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG


@FACES
async def test_each_part_is_asked_for_where_the_first_was_not_where_a_redirect_once_led(
    blocking: bool, tmp_path: Path
) -> None:
    """To a signed address, say, which is good for a while only."""
    signed = 0

    def serve(request: Request) -> Act:
        nonlocal signed
        if request.target == "/x":
            signed += 1
            return redirect(f"/signed/{signed}")
        if request.target != f"/signed/{signed}":
            return answer(403)
        return whole(50_000) if "Range" not in request.headers else rest(request)

    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG
    assert [request.target for request in server.requests] == ["/x", "/signed/1", "/x", "/signed/2"]


@FACES
@pytest.mark.parametrize("end", ["/*", f"/{len(BIG)}"])
async def test_a_part_of_an_unknown_whole_is_not_taken_for_its_end(blocking: bool, end: str, tmp_path: Path) -> None:
    chunked = {"Transfer-Encoding": "chunked", "ETag": TAG}

    def short(request: Request) -> Act:
        last = begin_of(request) + 2 if end == "/*" else len(BIG) - 1
        said = {**chunked, "Connection": "close", "Content-Range": f"bytes {begin_of(request)}-{last}{end}"}
        return raw(head(206, said) + b"3\r\nabc\r\n0\r\n\r\n")

    async def broken(exchange: Exchange) -> None:
        await exchange.write(head(200, chunked) + b"4\r\n" + BIG[:4] + b"\r\n")
        await asyncio.sleep(0.02)  # let it arrive: an end that comes with the head would leave nothing to go on from
        exchange.keep = False

    serve = script(lambda r: broken, short, lambda r: whole())
    async with MisbehavingServer(serve) as server, client_of(blocking, server.url) as client:
        target = await download(blocking, client, "/x", tmp_path / "got")
    assert target.read_bytes() == BIG


@FACES
async def test_a_slow_disk_is_no_silence_of_the_backend(
    blocking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()

    async def never(self: object, data: bytes) -> None:
        await asyncio.to_thread(hang.wait, 20)

    monkeypatch.setattr(part_file.PartFile, "write", never)
    try:
        async with MisbehavingServer(lambda r: whole()) as server, client_of(blocking, server.url) as client:
            with pytest.raises(DeadlineExceededError, match="being used"):
                await download(blocking, client, "/x", tmp_path / "got", deadline_seconds=0.2)
            assert client.status.current.state == "online"
    finally:
        hang.set()
