"""A page of 1,000 items, and 10 MB down and up: the time, and what memory it takes.

The page is read into the same model by everybody. The 10 MB go into memory and out of it, and to a file and from one, which
each client does as its documentation says. The memory is the peak of resident memory above what it was before the call, in a
process of its own for each client and way, which has made such a call once before.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import httpx
import httpx2

from playcall import BaseAPIClient

from .bodies import LARGE_BYTES, PAGE_ITEMS, PAGE_JSON, Page
from .children import Child, pin_client
from .crowd import AsyncOnce, tasks
from .results import Results, Table
from .rounds import Scale, Tell, share, take_turns_async
from .usage import Usage

TITLE: Final = "Large bodies"
TARGETS: Final = ()
PIECE: Final = 1 << 16
WAYS: Final = ("down into memory", "down to a file", "up from memory", "up from a file")


def measure(scale: Scale, tell: Tell) -> Results:
    with Child("plain") as server, tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{server.port}"
        Path(folder, "large").write_bytes(bytes(LARGE_BYTES))
        results = asyncio.run(_pages(url, scale, share(tell, 0, 2)))
        results.tables += _large(url, folder, scale, share(tell, 1, 2))
    return results


async def _pages(url: str, scale: Scale, tell: Tell) -> Results:
    pin_client()
    async with _clients(url) as (ours, session, two, one):

        async def by_playcall() -> Page:
            return await ours.get("/page", into=Page)

        async def by_aiohttp() -> Page:
            async with session.get(f"{url}/page") as response:
                return Page.model_validate_json(await response.read())

        async def by_httpx2() -> Page:
            return Page.model_validate_json((await two.get(f"{url}/page")).content)

        async def by_httpx() -> Page:
            return Page.model_validate_json((await one.get(f"{url}/page")).content)

        everybody: dict[str, AsyncOnce] = {
            "aiohttp": by_aiohttp,
            "playcall": by_playcall,
            "httpx2": by_httpx2,
            "httpx": by_httpx,
        }
        rows = await take_turns_async({name: tasks(1, once) for name, once in everybody.items()}, scale, tell)
    title = f"a page of {PAGE_ITEMS:,} items, {len(PAGE_JSON) // 1000} kB, read into its model"
    return Results([Table("http-bodies-page", title, "µs", rows, against="aiohttp")])


def _large(url: str, folder: str, scale: Scale, tell: Tell) -> list[Table]:
    names = ("aiohttp", "playcall", "httpx2", "httpx")
    times = {way: Table(_key(way, "time"), f"10 MB {way}", "ms", {}, "aiohttp") for way in WAYS}
    memory = {way: Table(_key(way, "memory"), f"10 MB {way}: peak of memory", "MiB") for way in WAYS}
    rounds = max(3, scale.rounds // 3)
    for number in range(rounds):
        for step, (way, name) in enumerate((way, name) for way in WAYS for name in names):
            said = subprocess.run(
                [sys.executable, "-m", "bench.http_bodies", url, folder, way, name],
                stdout=subprocess.PIPE,
                check=True,
            )
            took, grown = json.loads(said.stdout)
            times[way].rows.setdefault(name, []).append(took)
            memory[way].rows.setdefault(name, []).append(grown)
            tell((number + step / (len(WAYS) * len(names))) / rounds)
    return [table for way in WAYS for table in (times[way], memory[way])]


def _key(way: str, what: str) -> str:
    return f"http-bodies-{way.replace(' ', '-')}-{what}"


async def main(url: str, folder: str, way: str, name: str) -> None:
    pin_client()
    async with _clients(url) as clients:
        once = _large_ones(url, folder, *clients)[way][name]
        await once()
        used = Usage()
        began = time.perf_counter()
        await once()
        took_ms = (time.perf_counter() - began) * 1000
        print(json.dumps([took_ms, used.grown_mib]))


def _large_ones(
    url: str,
    folder: str,
    ours: BaseAPIClient,
    session: aiohttp.ClientSession,
    two: httpx2.AsyncClient,
    one: httpx.AsyncClient,
) -> Mapping[str, Mapping[str, AsyncOnce]]:
    large = f"{url}/large"
    held = Path(folder, "large")
    target = Path(folder, f"got-{os.getpid()}")

    async def ours_down() -> int:
        return len((await ours.answer("GET", "/large")).body)

    async def ours_to_file() -> Path:
        return await ours.download("/large", target)

    async def ours_up() -> object:
        return await ours.post("/large", content=bytes(LARGE_BYTES))

    async def ours_from_file() -> object:
        with held.open("rb") as file:
            return await ours.post("/large", content=file)

    async def aiohttp_down() -> int:
        async with session.get(large) as response:
            return len(await response.read())

    async def aiohttp_to_file() -> None:
        async with session.get(large) as response:
            with target.open("wb") as file:
                async for piece in response.content.iter_chunked(PIECE):
                    file.write(piece)

    async def aiohttp_up() -> bytes:
        async with session.post(large, data=bytes(LARGE_BYTES)) as response:
            return await response.read()

    async def aiohttp_from_file() -> bytes:
        with held.open("rb") as file:
            async with session.post(large, data=file) as response:
                return await response.read()

    async def pieces() -> AsyncIterator[bytes]:
        with held.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def httpx_like(client: httpx.AsyncClient | httpx2.AsyncClient) -> dict[str, AsyncOnce]:
        async def down() -> int:
            return len((await client.get(large)).content)

        async def to_file() -> None:
            async with client.stream("GET", large) as response:
                with target.open("wb") as file:
                    async for piece in response.aiter_bytes():
                        file.write(piece)

        async def up() -> bytes:
            return (await client.post(large, content=bytes(LARGE_BYTES))).content

        async def from_file() -> bytes:
            return (await client.post(large, content=pieces())).content

        return dict(zip(WAYS, (down, to_file, up, from_file), strict=True))

    of_each: dict[str, dict[str, AsyncOnce]] = {
        "playcall": dict(zip(WAYS, (ours_down, ours_to_file, ours_up, ours_from_file), strict=True)),
        "aiohttp": dict(zip(WAYS, (aiohttp_down, aiohttp_to_file, aiohttp_up, aiohttp_from_file), strict=True)),
        "httpx2": httpx_like(two),
        "httpx": httpx_like(one),
    }
    return {way: {name: ways[way] for name, ways in of_each.items()} for way in WAYS}


@asynccontextmanager
async def _clients(
    url: str,
) -> AsyncGenerator[tuple[BaseAPIClient, aiohttp.ClientSession, httpx2.AsyncClient, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(BaseAPIClient(url)),
            await stack.enter_async_context(aiohttp.ClientSession()),
            await stack.enter_async_context(httpx2.AsyncClient()),
            await stack.enter_async_context(httpx.AsyncClient()),
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
