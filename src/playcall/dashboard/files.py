"""Artifacts on their way to a browser: through a file, in constant memory, whatever their size.

Streamlit keeps what its download button offers in memory for as long as a browser may ask for it, also where a callable
gives it. So artifacts have a route of their own. One is fetched whole before the browser gets any of it: where it breaks
off, that is told as an error, instead of leaving half a file. A link is signed for this process: pages of other origins
can guess neither it nor what it leads to. What comes is never shown as a page of this origin, whatever its author called it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import tempfile
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from playcall.dashboard.connection import client
from playcall.errors import NotFoundError, PlaycallError

__all__ = ["artifact_link", "artifact_route"]

PATH: Final = "/artifact"
CHUNK_BYTES: Final = 1 << 20
FETCHED_AT_ONCE: Final = 4
"""Further ones wait for their turn. A fetch may take minutes, so it has threads of its own: what else is done beside the
loop shares its default ones."""

_fetching: Final = ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="playcall-fetch")
_key: Final = secrets.token_bytes(32)

_Fetched: TypeAlias = tuple[BinaryIO, int]
"""A file, and its bytes."""


def artifact_link(run_id: str, name: str) -> str:
    """Where a browser gets the artifact, relative to a page's address; good until this process ends."""
    return f"{PATH.removeprefix('/')}?{urlencode({'run': run_id, 'name': name, 'key': _signature(run_id, name)})}"


def artifact_route() -> Route:
    return Route(PATH, _send, methods=["GET"])


def _signature(run_id: str, name: str) -> str:
    return hmac.new(_key, f"{len(run_id)}:{run_id}{name}".encode(), hashlib.sha256).hexdigest()


async def _send(request: Request) -> Response:
    run_id, name = request.query_params.get("run", ""), request.query_params.get("name", "")
    given = request.query_params.get("key", "")
    if not hmac.compare_digest(_signature(run_id, name).encode(), given.encode()):
        return PlainTextResponse("This link is of an earlier dashboard: open the run's page again.", status_code=403)
    try:
        fetched = await _unless_it_leaves(request, run_id, name)
    except NotFoundError as error:
        return PlainTextResponse(error.message, status_code=404)
    except PlaycallError as error:
        return PlainTextResponse(error.message, status_code=502)
    if fetched is None:
        return Response()  # to nobody
    file, size = fetched
    return StreamingResponse(
        _chunks(file),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(size),
            "Content-Encoding": "identity",  # or it would be packed on the way, at the cost of its length
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


class _NobodyWaitsError(Exception):
    """The browser has left."""


async def _unless_it_leaves(request: Request, run_id: str, name: str) -> _Fetched | None:
    """What was fetched; None where the browser has left before that, which ends the fetch. Raises: PlaycallError."""
    nobody_waits = threading.Event()
    work = _fetching.submit(_fetched, run_id, name, nobody_waits)
    result = asyncio.wrap_future(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((result, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await result if result.done() else None
    finally:
        leaving.cancel()
        if not result.done():
            nobody_waits.set()
            result.cancel()
            work.add_done_callback(_thrown_away)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _fetched(run_id: str, name: str, nobody_waits: threading.Event) -> _Fetched:
    """The whole artifact, in a file that has no name any more: nothing is left of it, however this ends.

    Raises:
        PlaycallError: the backend did not give it.
        _NobodyWaitsError: looked at with each piece that comes.
    """

    def go_on(so_far: int, total: int | None) -> None:
        if nobody_waits.is_set():
            raise _NobodyWaitsError

    with tempfile.TemporaryDirectory(prefix="playcall-dashboard-") as folder:
        where = (
            client()
            .with_options(deadline_seconds=None)
            .runs.download_artifact(run_id, name, Path(folder, "file"), on_progress=go_on)
        )
        return where.open("rb"), where.stat().st_size


def _thrown_away(work: Future[_Fetched]) -> None:
    """It was done at the moment at which nobody waited for it any more."""
    if not work.cancelled() and work.exception() is None:
        work.result()[0].close()


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
