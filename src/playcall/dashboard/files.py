"""Artifacts on their way to a browser: through a file, in constant memory, whatever their size.

Streamlit keeps what its download button offers in memory for as long as a browser may ask for it, also where a callable
gives it. So artifacts have a route of their own. A link is signed for this process: pages of other origins can guess
neither it nor what it leads to. What comes is never shown as a page of this origin, whatever its author called it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from playcall.dashboard.connection import client
from playcall.errors import NotFoundError, PlaycallError

__all__ = ["artifact_link", "artifact_route"]

PATH: Final = "/artifact"
CHUNK_BYTES: Final = 1 << 20

_key: Final = secrets.token_bytes(32)


def artifact_link(run_id: str, name: str) -> str:
    """Where a browser gets the artifact, relative to a page's address; good until this process ends."""
    return f"{PATH.removeprefix('/')}?{urlencode({'run': run_id, 'name': name, 'key': _signature(run_id, name)})}"


def artifact_route() -> Route:
    return Route(PATH, _send, methods=["GET"])


def _signature(run_id: str, name: str) -> str:
    return hmac.new(_key, f"{len(run_id)}:{run_id}{name}".encode(), hashlib.sha256).hexdigest()


async def _send(request: Request) -> Response:
    run_id, name = request.query_params.get("run", ""), request.query_params.get("name", "")
    if not hmac.compare_digest(_signature(run_id, name), request.query_params.get("key", "")):
        return PlainTextResponse("This link is of an earlier dashboard: open the run's page again.", status_code=403)
    try:
        file, size = await asyncio.to_thread(_fetched, run_id, name)
    except NotFoundError as error:
        return PlainTextResponse(error.message, status_code=404)
    except PlaycallError as error:
        return PlainTextResponse(error.message, status_code=502)
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


def _fetched(run_id: str, name: str) -> tuple[BinaryIO, int]:
    """The whole artifact, in a file that has no name any more: nothing is left of it, however this ends."""
    with tempfile.TemporaryDirectory(prefix="playcall-dashboard-") as folder:
        where = client().with_options(deadline_seconds=None).runs.download_artifact(run_id, name, Path(folder, "file"))
        return where.open("rb"), where.stat().st_size


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
