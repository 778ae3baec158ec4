"""A run's files over HTTP: put there by the caller, read in parts."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from playcall.server.clock import utc_now
from playcall.server.files.file_response import open_file
from playcall.server.ids import new_id
from playcall.server.settings import Settings
from playcall.server.store.tables import IdempotencyRow, RunRow
from playcall.server.tools import ToolLimits
from playcall.server.tools.workspace import NewFile
from playcall.server.tools.writing import writings_folder
from tests.server.conftest import Api, RunningServer

LIMIT = ToolLimits().max_file_bytes
KEY = {"Idempotency-Key": "upload-1"}
BIG = os.urandom(3_000_000)


def large(content: bytes = BIG) -> io.BytesIO:
    """Sent piece by piece: aiohttp warns of large bytes."""
    return io.BytesIO(content)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """It executes nothing, so that a run stays as it was made."""
    with RunningServer(Settings(data_dir=tmp_path_factory.mktemp("quiet"), port=0)) as running:
        yield running


@pytest_asyncio.fixture
async def api(quiet_server: RunningServer) -> AsyncIterator[Api]:
    user = await quiet_server.new_user()
    async with aiohttp.ClientSession() as session:
        yield Api(quiet_server, session, user)


async def new_run(api: Api, status: str = "queued") -> str:
    run_id = new_id("run")

    async def make() -> None:
        now = utc_now()
        async with api.server.core.database.write() as tx:
            tx.session.add(
                RunRow(
                    id=run_id, owner_id=api.user.id, version=1, created_at=now, updated_at=now, playbook_id="pbk_1",
                    playbook_name="p", playbook_version=1, playbook={}, status=status, inputs={}, steps_total=1,
                    request_hash="",
                )
            )  # fmt: skip

    await api.server.acall(make())
    return run_id


async def set_status(api: Api, run_id: str, status: str) -> None:
    async def change() -> None:
        async with api.server.core.database.write() as tx:
            row = await tx.session.get(RunRow, run_id)
            assert row is not None
            row.status = status

    await api.server.acall(change())


@pytest_asyncio.fixture
async def run(api: Api) -> str:
    return await new_run(api)


def folder(api: Api, run_id: str) -> Path:
    return api.server.core.settings.workspaces_dir / run_id


def being_written(api: Api) -> list[Path]:
    """What has been begun on this server, and not ended."""
    writings = writings_folder(folder(api, "any"))
    return list(writings.iterdir()) if writings.exists() else []


def left_in(api: Api, run_id: str) -> list[str]:
    """Every file and folder of the run's workspace, when nothing is on its way any more."""
    assert being_written(api) == []
    return sorted(path.relative_to(folder(api, run_id)).as_posix() for path in folder(api, run_id).rglob("*"))


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def created(api: Api, run_id: str) -> list[Any]:
    """The artifacts that the run's log tells of."""
    topic = await api("GET", "/events", params={"topic": f"run:{run_id}", "from": "start"})
    if topic.status in (403, 404):
        return []  # nothing has ever happened in the run
    events = [event for frame in topic.json["frames"] if frame["op"] == "events" for event in frame["events"]]
    assert {event["type"] for event in events} <= {"run.artifact.created"}
    return [event["data"]["artifact"] for event in events]


async def sent_raw(api: Api, head: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = URL(api.server.url)
    assert url.host is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [*head.splitlines(), f"Host: {url.host}", f"X-API-Key: {api.user.key}", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    await writer.drain()
    return reader, writer


async def test_a_file_is_put_listed_told_of_and_read(api: Api, run: str) -> None:
    made = await api(
        "PUT", f"/runs/{run}/artifacts/sub/in%20put.csv", data=large(), headers={"Content-Type": "text/csv"}
    )
    assert made.status == 201
    assert made.json | {"created_at": ""} == {
        "name": "sub/in put.csv",
        "media_type": "text/csv",
        "size_bytes": len(BIG),
        "sha256": sha(BIG),
        "created_at": "",
        "step_id": None,
    }
    assert made.headers["ETag"] == f'"{sha(BIG)}"'
    assert made.headers["Location"] == f"/api/v1/runs/{run}/artifacts/sub/in%20put.csv"
    assert (await api.ok("GET", f"/runs/{run}/artifacts"))["items"] == [made.json]
    assert await created(api, run) == [made.json]
    got = await api("GET", made.headers["Location"].removeprefix("/api/v1"))
    assert got.json == BIG
    assert got.headers["ETag"] == made.headers["ETag"]
    assert left_in(api, run) == ["sub", "sub/in put.csv"]


async def test_a_second_upload_of_a_name_replaces_the_first(api: Api, run: str) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a.txt", data=b"one")
    again = await api("PUT", f"/runs/{run}/artifacts/a.txt", data=b"two!")
    assert again.status == 200
    assert "Location" not in again.headers
    assert [a["sha256"] for a in (await api.ok("GET", f"/runs/{run}/artifacts"))["items"]] == [sha(b"two!")]
    assert (await api("GET", f"/runs/{run}/artifacts/a.txt")).json == b"two!"
    assert [a["size_bytes"] for a in await created(api, run)] == [3, 4]
    assert left_in(api, run) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "sent", "stored"),
    [
        ("a.csv", None, "text/csv"),
        ("a.unheard-of", None, "application/octet-stream"),
        ("a.csv", "application/octet-stream", "application/octet-stream"),
        ("a.csv", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("a.csv", "text/csv; header=present", "text/csv; header=present"),
        ("a.csv", 'text/plain;charset="utf-8" ; x="a\\"; b"', 'text/plain;charset="utf-8" ; x="a\\"; b"'),
        ("a.csv", "multipart/mixed", "multipart/mixed"),
    ],
)
async def test_the_media_type_is_the_one_sent_or_guessed_from_the_name(
    api: Api, run: str, name: str, sent: str | None, stored: str
) -> None:
    options: dict[str, Any] = {"skip_auto_headers": ["Content-Type"]} if sent is None else {}
    headers = {"Content-Type": sent or ""}
    made = await api("PUT", f"/runs/{run}/artifacts/{name}", data=b"a", headers=headers, **options)
    assert made.json["media_type"] == stored


async def test_an_empty_file_is_a_file(api: Api, run: str) -> None:
    made = await api("PUT", f"/runs/{run}/artifacts/empty", data=b"")
    assert (made.status, made.json["size_bytes"], made.json["sha256"]) == (201, 0, sha(b""))


@pytest.mark.parametrize(
    "name",
    [
        *("..%2Fx", "a%2F..%2F..%2Fx", "%2Fetc%2Fpasswd", "/etc/passwd", "a%00b", "a%5Cb", ".", "x" * 401),
        *("a%1B", "a%7F", "a%C2%85", "%FF", "%E2%80%A8"),
        *("a/", "a//b", "a/./b", "./a"),
    ],
)
async def test_a_name_that_leads_out_or_is_not_what_it_would_be_listed_by_is_refused(
    api: Api, run: str, name: str
) -> None:
    url = URL(f"{api.server.url}/api/v1/runs/{run}/artifacts/{name}", encoded=True)
    async with api.session.put(url, data=b"x", headers=api.headers) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (422, "invalid_request")
    kind = "nul" if "%00" in name else "path_refused"
    assert [(error["loc"], error["type"]) for error in problem["errors"]] == [(["path", "name"], kind)]
    assert not folder(api, run).exists()


async def test_a_link_that_leads_out_is_not_followed(api: Api, run: str, tmp_path: Path) -> None:
    folder(api, run).mkdir(parents=True)
    (folder(api, run) / "link").symlink_to(tmp_path)
    refused = await api("PUT", f"/runs/{run}/artifacts/link/x", data=b"x")
    assert (refused.status, refused.json["code"]) == (422, "invalid_request")
    assert list(tmp_path.iterdir()) == []
    assert left_in(api, run) == ["link"]


async def test_a_name_that_a_folder_or_file_has_is_taken(api: Api, run: str) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/sub/a", data=b"x")
    for name in ("sub", "sub/a/b", "sub/a/b/c"):
        refused = await api("PUT", f"/runs/{run}/artifacts/{name}", data=b"x")
        assert (refused.status, refused.json["code"]) == (409, "name_taken"), name
    long = await api("PUT", f"/runs/{run}/artifacts/{'x' * 300}", data=b"x")
    assert (long.status, long.json["code"]) == (422, "invalid_request")
    assert left_in(api, run) == ["sub", "sub/a"]


@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=utf-8",
        "text",
        "text/plain; a",
        "text/plain, text/html",
        "text/é",
        "a/" + "x" * 199,
    ],
)
async def test_a_form_is_not_taken_for_a_file_nor_any_word_for_a_media_type(
    api: Api, run: str, media_type: str
) -> None:
    refused = await api("PUT", f"/runs/{run}/artifacts/a", data=b"x", headers={"Content-Type": media_type})
    assert (refused.status, refused.json["code"]) == (415, "unsupported_media_type")
    assert left_in(api, run) == []


@pytest.mark.parametrize("name", ["data:text/html%0D%0AX-Evil:%20y,z", "data:%E6%97%A5/x,z", f"data:{'a' * 190}/b,z"])
async def test_a_name_that_begins_like_a_data_url_says_nothing_of_its_media_type(api: Api, run: str, name: str) -> None:
    url = URL(f"{api.server.url}/api/v1/runs/{run}/artifacts/{name}", encoded=True)
    skip = ["Content-Type"]
    async with api.session.put(url, data=b"x", headers=api.headers, skip_auto_headers=skip) as answer:
        assert answer.status == (404 if "%0D" in name else 201), "no route takes a line break"
    if answer.status == 201:
        async with api.session.get(url, headers=api.headers) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")


async def test_a_request_without_a_body_empties_no_file(api: Api, run: str) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")
    reader, writer = await sent_raw(api, f"PUT /api/v1/runs/{run}/artifacts/a HTTP/1.1")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"}")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 411")
    assert b"length_required" in answer
    assert (folder(api, run) / "a").read_bytes() == b"old"


async def test_a_part_is_not_taken_for_the_whole(api: Api, run: str) -> None:
    refused = await api("PUT", f"/runs/{run}/artifacts/a", data=b"x", headers={"Content-Range": "bytes 0-0/9"})
    assert (refused.status, refused.json["code"]) == (400, "invalid_header")
    assert not folder(api, run).exists()


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_large_is_refused_and_nothing_is_left(api: Api, run: str, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        piece = bytes(1 << 20)
        for _ in range(LIMIT >> 20):
            yield piece
        yield b"x"

    content: Any = large(bytes(LIMIT + 1)) if announced else pieces()
    refused = await api("PUT", f"/runs/{run}/artifacts/sub/a", data=content)
    assert (refused.status, refused.json["code"]) == (413, "body_too_large")
    assert f"{LIMIT:,}" in refused.json["detail"]
    assert not folder(api, run).exists()
    assert (await api.ok("GET", f"/runs/{run}/artifacts"))["items"] == []
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=large(bytes(LIMIT)))).status == 201


async def test_nothing_is_kept_of_what_says_that_it_is_too_large(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(NewFile, "write", lambda file, piece: written.append(len(piece)))
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=large(bytes(LIMIT + 1)))).status == 413
    assert written == []


async def test_what_cannot_be_taken_is_refused_before_its_body_comes(api: Api, run: str) -> None:
    ended = await new_run(api, "completed")
    for path, status in (
        (f"{ended}/artifacts/a", b"409"),
        ("run_nothing/artifacts/a", b"404"),
        (f"{run}/artifacts/%2Fa", b"422"),
    ):
        reader, writer = await sent_raw(api, f"PUT /api/v1/runs/{path} HTTP/1.1\nContent-Length: 1000000")
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == status
        writer.transport.abort()


@pytest.mark.parametrize("headers", [{}, KEY], ids=["no key", "key"])
async def test_other_routes_keep_their_bound_also_those_that_read_no_body(
    api: Api, run: str, headers: dict[str, str]
) -> None:
    body = b"a" * 1_100_000
    for method, path in (
        ("POST", f"/runs/{run}/artifacts/a"),
        ("POST", "/agents"),
        ("PATCH", "/agents/agt_1"),
        ("PUT", f"/playbooks/{run}"),
        ("POST", f"/runs/{run}/cancel"),
        ("DELETE", f"/runs/{run}"),
        ("PUT", f"/runs/{run}/artifacts/"),
    ):
        refused = await api(method, path, data=large(body), headers=headers)
        assert (refused.status, refused.json["code"]) == (413, "body_too_large"), (method, path)
        assert refused.json["request_id"] == refused.headers["X-Request-ID"]
    assert not folder(api, run).exists()
    assert (await api.ok("GET", f"/runs/{run}"))["status"] == "queued"


async def test_a_body_that_comes_too_slowly_is_not_waited_for(api: Api) -> None:
    head = "POST /api/v1/agents HTTP/1.1\nContent-Type: application/json\nContent-Length: 50\nX-Request-Timeout-Ms: 200"
    reader, writer = await sent_raw(api, head, b"{")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"}")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 504")


async def test_an_upload_belongs_to_the_owner_of_the_run(api: Api, run: str) -> None:
    other = await api.other()
    for somebody, path in ((other, f"/runs/{run}/artifacts/a"), (api, "/runs/run_nothing/artifacts/a")):
        refused = await somebody("PUT", path, data=b"x")
        assert (refused.status, refused.json["code"]) == (404, "run_not_found")
    reader = await api("PUT", f"/runs/{run}/artifacts/a", data=b"x", headers={"X-API-Key": api.user.read_key})
    assert (reader.status, reader.json["code"]) == (403, "read_only")
    assert not folder(api, run).exists()
    assert not folder(api, "run_nothing").exists()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_run_that_has_ended_takes_no_more_files(api: Api, status: str) -> None:
    run = await new_run(api, status)
    refused = await api("PUT", f"/runs/{run}/artifacts/a", data=large())
    assert (refused.status, refused.json["code"]) == (409, "run_ended")
    assert not folder(api, run).exists()


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
async def test_a_run_that_has_not_ended_takes_files(api: Api, status: str) -> None:
    assert (await api("PUT", f"/runs/{await new_run(api, status)}/artifacts/a", data=b"x")).status == 201


async def test_a_run_that_ends_under_an_upload_takes_it_no_more(api: Api, run: str) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ne"
        await until(lambda: being_written(api))
        await set_status(api, run, "cancelled")
        yield b"w"

    refused = await api("PUT", f"/runs/{run}/artifacts/a", data=pieces())
    assert (refused.status, refused.json["code"]) == (409, "run_ended")
    assert left_in(api, run) == ["a"]
    assert (folder(api, run) / "a").read_bytes() == b"old"


# --- done once --------------------------------------------------------------------------------------------------------


async def test_the_same_upload_with_its_key_is_done_once_also_after_the_run_has_ended(api: Api, run: str) -> None:
    first = await api("PUT", f"/runs/{run}/artifacts/a", data=large(), headers=KEY)
    again = await api("PUT", f"/runs/{run}/artifacts/a", data=large(), headers=KEY)
    await set_status(api, run, "completed")
    late = await api("PUT", f"/runs/{run}/artifacts/a", data=large(), headers=KEY)
    assert "Idempotency-Replayed" not in first.headers
    for repeated in (again, late):
        assert repeated.headers["Idempotency-Replayed"] == "true"
        assert (repeated.status, repeated.json) == (201, first.json)
        for name in ("ETag", "Location"):
            assert repeated.headers[name] == first.headers[name]
    assert len(await created(api, run)) == 1
    assert left_in(api, run) == ["a"]


async def test_a_key_with_another_content_is_refused_and_changes_nothing(api: Api, run: str) -> None:
    await api("PUT", f"/runs/{run}/artifacts/a", data=b"one", headers=KEY)
    refused = await api("PUT", f"/runs/{run}/artifacts/a", data=b"two", headers=KEY)
    assert (refused.status, refused.json["code"]) == (422, "idempotency_key_reused")
    assert left_in(api, run) == ["a"]
    assert (folder(api, run) / "a").read_bytes() == b"one"
    assert (await api("PUT", f"/runs/{run}/artifacts/b", data=b"two", headers=KEY)).status == 201, "another path"


async def test_duplicates_in_flight_store_one_file(api: Api, run: str) -> None:
    answers = await asyncio.gather(
        *(api("PUT", f"/runs/{run}/artifacts/a", data=large(), headers=KEY) for _ in range(4))
    )
    assert {answer.status for answer in answers} == {201}
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 3
    assert len(await created(api, run)) == 1
    assert left_in(api, run) == ["a"]


async def test_names_that_a_url_would_cut_are_different_paths_to_a_key(api: Api, run: str) -> None:
    """`a?b` and `a%3Fb`; a tab, which a URL's parser drops, is no name at all."""
    for name in ("a%3Fb", "a%253Fb", "a"):
        url = URL(f"{api.server.url}/api/v1/runs/{run}/artifacts/{name}", encoded=True)
        async with api.session.put(url, data=b"x", headers={**api.headers, **KEY}) as answer:
            assert answer.status == 201
            assert "Idempotency-Replayed" not in answer.headers
    assert left_in(api, run) == ["a", "a%3Fb", "a?b"]


async def test_a_path_that_is_none_is_told_as_it_was_asked_for(api: Api) -> None:
    url = URL(f"{api.server.url}/api/v1/no%3Fthing", encoded=True)
    async with api.session.get(url, headers=api.headers) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["detail"]) == (404, "there is nothing at /api/v1/no?thing")


async def test_a_refused_upload_leaves_no_key(api: Api, run: str) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"x")
    refused = await api("PUT", f"/runs/{run}/artifacts/a/b", data=b"x", headers=KEY)
    assert refused.status == 409

    async def keys() -> int:
        from sqlalchemy import func, select

        async with api.server.core.database.read() as session:
            of_mine = select(func.count()).where(IdempotencyRow.caller_id == api.user.id)
            return int(await session.scalar(of_mine) or 0)

    assert await api.server.acall(keys()) == 0


@pytest.mark.parametrize(
    ("header", "tag", "status"),
    [
        ("If-Match", sha(b"old"), 200),
        ("If-Match", sha(b"other"), 412),
        ("If-Match", "*", 200),
        ("If-None-Match", "*", 412),
        ("If-None-Match", sha(b"old"), 412),
        ("If-None-Match", sha(b"other"), 200),
    ],
)
async def test_an_upload_can_depend_on_what_is_stored(api: Api, run: str, header: str, tag: str, status: int) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")
    condition = {header: tag if tag == "*" else f'"{tag}"'}
    answer = await api("PUT", f"/runs/{run}/artifacts/a", data=b"new", headers=condition)
    assert answer.status == status
    if status == 412:
        assert answer.json["code"] == "version_mismatch"
        assert answer.headers["ETag"] == f'"{sha(b"old")}"'
        assert (folder(api, run) / "a").read_bytes() == b"old"
        assert left_in(api, run) == ["a"]
    nothing = await api("PUT", f"/runs/{run}/artifacts/new", data=b"new", headers=condition)
    assert nothing.status == (412 if header == "If-Match" else 201)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(api: Api, run: str, framing: str) -> None:
    half = b"10000\r\n" + bytes(0x10000) + b"\r\n" if "chunked" in framing else bytes(500_000)
    _, writer = await sent_raw(api, f"PUT /api/v1/runs/{run}/artifacts/sub/a HTTP/1.1\n{framing}", half)
    await until(lambda: being_written(api))
    writer.transport.abort()
    await until(lambda: not being_written(api))
    assert left_in(api, run) == []
    assert (await api.ok("GET", f"/runs/{run}/artifacts"))["items"] == []
    assert await created(api, run) == []


async def test_a_deadline_in_the_middle_of_a_body_leaves_nothing_behind(api: Api, run: str) -> None:
    head = f"PUT /api/v1/runs/{run}/artifacts/a HTTP/1.1\nContent-Length: 1000\nX-Request-Timeout-Ms: 200"
    reader, writer = await sent_raw(api, head, b"half")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 504")
    await until(lambda: not being_written(api))
    assert left_in(api, run) == []


async def test_a_deadline_before_the_commit_gives_back_what_was_there(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")
    place = NewFile.place
    seen: list[list[str]] = []

    def slow(file: NewFile) -> Any:
        placed = place(file)
        seen.append(sorted(path.relative_to(folder(api, run)).as_posix() for path in folder(api, run).rglob("*")))
        time.sleep(0.5)
        return placed

    late = {"X-Request-Timeout-Ms": "400", **KEY}
    with monkeypatch.context() as patched:
        patched.setattr(NewFile, "place", slow)
        for name in ("a", "sub/b"):
            answer = await api("PUT", f"/runs/{run}/artifacts/{name}", data=b"new", headers=late)
            assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
            assert left_in(api, run) == ["a"]
            assert (folder(api, run) / "a").read_bytes() == b"old"
    assert seen == [["a"], ["a", "sub", "sub/b"]], "it stood there before the deadline came"
    assert len(await created(api, run)) == 1
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=b"new", headers=KEY)).status == 200


@pytest.mark.parametrize("step", ["write", "finish", "place"])
async def test_a_full_disk_is_told_and_leaves_nothing_behind(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    done = getattr(NewFile, step)

    def full(file: NewFile, *args: Any) -> None:
        done(file, *args)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(NewFile, step, full)
        refused = await api("PUT", f"/runs/{run}/artifacts/a", data=b"x", headers=KEY)
    assert (refused.status, refused.json["code"]) == (507, "storage_full")
    assert left_in(api, run) == []
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=b"x", headers=KEY)).status == 201


async def test_an_entry_that_cannot_be_written_takes_its_file_back(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playcall.server.routes import artifacts

    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")

    async def breaks(*args: Any, **options: Any) -> None:
        raise RuntimeError("the database fell over")

    monkeypatch.setattr(artifacts, "enter_artifact", breaks)
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=b"new")).status == 500
    assert (await api("PUT", f"/runs/{run}/artifacts/sub/b", data=b"new")).status == 500
    assert left_in(api, run) == ["a"]
    assert (folder(api, run) / "a").read_bytes() == b"old"


async def test_what_is_not_accepted_is_taken_back_before_others_may_write(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next upload would put it aside as what stood there before, and give it back."""
    from playcall.server.routes import artifacts

    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")
    turns = api.server.core.database._turns
    assert turns is not None
    in_turn: list[bool] = []
    close = NewFile.close

    def looks(file: NewFile) -> None:
        if (folder(api, run) / "a").read_bytes() == b"new":
            in_turn.append(turns.locked())
        close(file)

    async def breaks(*args: Any, **options: Any) -> None:
        raise RuntimeError("the database fell over")

    monkeypatch.setattr(NewFile, "close", looks)
    monkeypatch.setattr(artifacts, "enter_artifact", breaks)
    assert (await api("PUT", f"/runs/{run}/artifacts/a", data=b"new")).status == 500
    assert in_turn == [True]
    assert left_in(api, run) == ["a"]
    assert (folder(api, run) / "a").read_bytes() == b"old"


async def test_the_files_of_a_run_have_a_bound_together(tmp_path: Path) -> None:
    with RunningServer(Settings(data_dir=tmp_path, port=0, max_run_bytes=10)) as server:
        user = await server.new_user()
        async with aiohttp.ClientSession() as session:
            api = Api(server, session, user)
            run, other = await new_run(api), await new_run(api)
            await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"123456")
            full = await api("PUT", f"/runs/{run}/artifacts/b", data=b"12345")
            assert (full.status, full.json["code"]) == (413, "run_full")
            assert left_in(api, run) == ["a"]
            await api.ok("PUT", f"/runs/{run}/artifacts/b", data=b"1234")
            await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"654321")
            await api.ok("PUT", f"/runs/{other}/artifacts/a", data=b"1234567890")


async def test_a_packed_body_is_not_kept_for_what_it_is_not(api: Api, run: str) -> None:
    refused = await api(
        "PUT", f"/runs/{run}/artifacts/a", data=gzip.compress(b"old"), headers={"Content-Encoding": "gzip"}
    )
    assert (refused.status, refused.json["code"]) == (415, "unsupported_media_type")
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old", headers={"Content-Encoding": "identity"})


# --- after a crash ----------------------------------------------------------------------------------------------------


def leave_as_a_killed_process_does(file: NewFile) -> None:
    file.finish()
    if file._writing is not None and file._writing._lock is not None:
        lock, file._writing._lock = file._writing._lock, None
        os.close(lock)


@pytest.mark.parametrize("accepted", [False, True])
async def test_what_a_killed_server_had_placed_stays_exactly_if_its_entry_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession() as session:
            api = Api(server, session, await server.new_user())
            run = await new_run(api)
            await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"old")
            with monkeypatch.context() as killed:  # nobody comes to keep it, or to take it back
                killed.setattr(NewFile, "close", leave_as_a_killed_process_does)
                killed.setattr(NewFile, "keep", lambda file: None)
                if accepted:
                    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=b"new")
                else:
                    half = await api("PUT", f"/runs/{run}/artifacts/c", data=b"new", headers={"If-Match": '"no"'})
                    assert half.status == 412, "it was received, and never placed"
                    for name in ("a", "sub/b"):
                        with NewFile(folder(api, run), name, max_bytes=10) as file:
                            file.write(b"new")
                            file.place()
            assert (folder(api, run) / "a").read_bytes() == b"new"
            assert len(being_written(api)) == (1 if accepted else 3)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession() as session:
            again = Api(server, session, api.user)
            stands = b"new" if accepted else b"old"
            assert left_in(again, run) == ["a"]
            got = await again("GET", f"/runs/{run}/artifacts/a")
            assert (got.json, got.headers["ETag"]) == (stands, f'"{sha(stands)}"')


# --- parts of a file --------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 4


@pytest_asyncio.fixture
async def stored(api: Api, run: str) -> str:
    await api.ok("PUT", f"/runs/{run}/artifacts/a.bin", data=CONTENT)
    return f"/runs/{run}/artifacts/a.bin"


async def test_a_part_of_a_file_is_given(api: Api, stored: str) -> None:
    part = await api("GET", stored, headers={"Range": "bytes=1000-"})
    assert (part.status, part.json) == (206, CONTENT[1000:])
    assert part.headers["Content-Range"] == "bytes 1000-1023/1024"
    assert part.headers["Content-Length"] == "24"
    assert part.headers["ETag"] == f'"{sha(CONTENT)}"'
    assert part.headers["Accept-Ranges"] == "bytes"
    middle = await api("GET", stored, headers={"Range": "bytes=10-19"})
    assert (middle.status, middle.json) == (206, CONTENT[10:20])


async def test_a_part_is_given_only_of_what_the_caller_has_begun_with(api: Api, run: str, stored: str) -> None:
    """A date does not say which: two contents can have one second."""
    date = (await api("GET", stored)).headers["Last-Modified"]
    for tag, status in ((f'"{sha(CONTENT)}"', 206), (f'W/"{sha(CONTENT)}"', 200), ('"other"', 200), (date, 200)):
        part = await api("GET", stored, headers={"Range": "bytes=1000-", "If-Range": tag})
        assert part.status == status
        assert part.json == (CONTENT[1000:] if status == 206 else CONTENT)
    await api.ok("PUT", f"/runs/{run}/artifacts/a.bin", data=b"x" * 1024)
    changed = await api("GET", stored, headers={"Range": "bytes=1000-", "If-Range": f'"{sha(CONTENT)}"'})
    assert (changed.status, changed.json) == (200, b"x" * 1024)


@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1023-2000", 1023, 1023),
        ("bytes=-24", 1000, 1023),
        ("bytes=-9999", 0, 1023),
        (f"bytes=0-{'9' * 5000}", 0, 1023),
        (f"bytes=-{'9' * 5000}", 0, 1023),
        (f"bytes={'0' * 5000}1-2", 1, 2),
        (" Bytes = 1-2 ,", 1, 2),
    ],
)
async def test_which_part_is_given(api: Api, stored: str, range_: str, first: int, last: int) -> None:
    part = await api("GET", stored, headers={"Range": range_})
    assert (part.status, part.json) == (206, CONTENT[first : last + 1])
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/1024"


@pytest.mark.parametrize("range_", ["lines=1-2", "bytes", "bytes=0-1,5-6"])
async def test_what_nobody_knows_and_several_parts_at_once_are_answered_with_the_whole(
    api: Api, stored: str, range_: str
) -> None:
    whole = await api("GET", stored, headers={"Range": range_})
    assert (whole.status, whole.json) == (200, CONTENT)
    assert "Content-Range" not in whole.headers


@pytest.mark.parametrize(
    ("range_", "status", "code"),
    [
        ("bytes=1024-", 416, "range_not_satisfiable"),
        (f"bytes={'9' * 5000}-", 416, "range_not_satisfiable"),
        ("bytes=-0", 416, "range_not_satisfiable"),
        ("bytes=5-2", 400, "invalid_header"),
        ("bytes=-", 400, "invalid_header"),
        ("bytes=", 400, "invalid_header"),
        ("bytes=0_1-2", 400, "invalid_header"),
        ("bytes=--5", 400, "invalid_header"),
    ],
)
async def test_a_part_that_cannot_be_given_is_a_problem(
    api: Api, stored: str, range_: str, status: int, code: str
) -> None:
    refused = await api("GET", stored, headers={"Range": range_})
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.status, refused.json["code"]) == (status, code)
    assert refused.headers.get("Content-Range") == ("bytes */1024" if status == 416 else None)


# --- beside those who write -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before it is opened", "once it is open"])
async def test_a_file_that_is_replaced_while_it_is_read_goes_under_its_own_etag(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Also if its content came before the entry of the one that it replaces."""
    from playcall.server.routes import artifacts

    with NewFile(folder(api, run), "a.bin", max_bytes=2_000_000) as theirs:
        theirs.write(b"b" * 1_500_000)
        theirs.finish()
        mine = large(b"a" * 1_000_000)
        await api.ok("PUT", f"/runs/{run}/artifacts/a.bin", data=mine)

        def opened(path: Path) -> Any:
            if when == "before it is opened":
                theirs.place()
            found = open_file(path)
            if when == "once it is open":
                theirs.place()
            return found

        monkeypatch.setattr(artifacts, "open_file", opened)
        got = await api("GET", f"/runs/{run}/artifacts/a.bin")
        theirs.keep()
    entered = f'"{sha(b"a" * 1_000_000)}"'
    if when == "before it is opened":
        assert got.json == b"b" * 1_500_000
        assert got.headers["ETag"] != entered
    else:
        assert got.json == b"a" * 1_000_000
        assert got.headers["ETag"] == entered


async def test_a_file_that_goes_while_it_is_read_comes_whole_or_is_not_found(
    api: Api, stored: str, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playcall.server.routes import artifacts

    def opened(path: Path) -> Any:
        found = open_file(path)
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(artifacts, "open_file", opened)
    assert (await api("GET", stored)).json == CONTENT
    gone = await api("GET", stored)
    assert (gone.status, gone.json["code"]) == (404, "artifact_not_found")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
async def test_what_is_no_file_any_more_is_not_found(api: Api, stored: str, run: str, make: Any) -> None:
    (folder(api, run) / "a.bin").unlink()
    make(folder(api, run) / "a.bin")
    gone = await api("GET", stored)
    assert (gone.status, gone.json["code"]) == (404, "artifact_not_found")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"Range": "bytes=1-2"}, 206), ({"If-None-Match": "*"}, 304), ({"Range": "bytes=9999-"}, 416)],
)
async def test_a_file_is_closed_however_it_was_answered(
    api: Api, stored: str, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    from playcall.server.routes import artifacts

    files: list[Any] = []

    def opened(path: Path) -> Any:
        found = open_file(path)
        assert found is not None
        files.append(found[0])
        return found

    monkeypatch.setattr(artifacts, "open_file", opened)
    assert (await api("GET", stored, headers=headers)).status == status
    await until(lambda: [file.closed for file in files] == [True])


async def test_a_file_is_closed_when_its_reader_leaves(api: Api, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from playcall.server.routes import artifacts

    files: list[Any] = []

    def opened(path: Path) -> Any:
        found = open_file(path)
        assert found is not None
        files.append(found[0])
        return found

    monkeypatch.setattr(artifacts, "open_file", opened)
    await api.ok("PUT", f"/runs/{run}/artifacts/a", data=large(bytes(LIMIT)))
    reader, writer = await sent_raw(api, f"GET /api/v1/runs/{run}/artifacts/a HTTP/1.1")
    async with asyncio.timeout(10):
        assert (await reader.readline()).split()[1] == b"200"
    assert not files[0].closed
    writer.transport.abort()
    await until(lambda: files[0].closed)
