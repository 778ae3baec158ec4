"""What it costs to have a client at all: the time to import it, and the memory of one that has nothing to do.

Each figure is of a fresh interpreter, and the contestants take turns; an import's figure is what it takes beyond the bare
interpreter of the same round. The compiled files are there already, as after an installation. Memory is read from `/proc`,
so it needs Linux.

What is not equal: `import playcall` loads what it needs when a name is first used, so the rows that end in a client tell
what a program pays that makes one. `AsyncPlaycall` reads a playbook, whose model comes with it; the others read the
benchmark's own.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from .bodies import ITEM_JSON
from .children import pin_client
from .results import Results, Table, Target
from .rounds import Scale, Tell

__all__ = ["TARGETS", "TITLE", "measure"]

TITLE: Final = "Import and memory"
SEED: Final = 6
IMPORT_MS: Final = 60
IDLE_MB: Final = 8
BARE: Final = "the interpreter alone"
BASELINE: Final = "aiohttp with pydantic"

IMPORTS: Final = {
    BARE: "pass",
    "import playcall": "import playcall",
    "playcall, up to BaseAPIClient": "from playcall import BaseAPIClient; BaseAPIClient('http://127.0.0.1')",
    "playcall, up to AsyncPlaycall": "from playcall import AsyncPlaycall; AsyncPlaycall('http://127.0.0.1')",
    "import asyncio": "import asyncio",
    "import pydantic": "from pydantic import BaseModel",
    "import aiohttp": "import aiohttp",
    BASELINE: "import aiohttp; from pydantic import BaseModel",
    "import websockets": "from websockets.asyncio.client import connect",
    "import centrifuge": "import centrifuge",
    "import httpx": "import httpx",
    "httpx, up to a client": "import httpx; httpx.AsyncClient()",
    "import httpx2": "import httpx2",
    "httpx2, up to a client": "import httpx2; httpx2.AsyncClient()",
    "import openai": "import openai",
    "openai, up to a client": "import openai; openai.AsyncOpenAI(api_key='k')",
}

PLAYBOOK_JSON: Final = (
    b'{"id":"pbk_01","version":7,"created_at":"2026-03-01T09:30:00Z","updated_at":"2026-11-02T17:05:12Z",'
    b'"name":"Quarterly report","agents":["Writer"],'
    b'"steps":[{"id":"write","type":"standard","agent":"Writer","operation":"files.write"}]}'
)

IDLE: Final = {
    BASELINE: """
import aiohttp
async with aiohttp.ClientSession(headers={"X-API-Key": "key"}) as client:
    async with client.get(url + "/item") as response:
        Item.model_validate_json(await response.read())
    report()
""",
    "playcall, BaseAPIClient": """
from playcall import ApiKey, BaseAPIClient
async with BaseAPIClient(url, auth=ApiKey("key")) as client:
    await client.get("/item", into=Item)
    report()
""",
    "playcall, AsyncPlaycall": """
from playcall import ApiKey, AsyncPlaycall
async with AsyncPlaycall(url, auth=ApiKey("key")) as client:
    await client.playbooks.get("pbk_01")
    report()
""",
    "httpx": """
import httpx
async with httpx.AsyncClient(headers={"X-API-Key": "key"}) as client:
    Item.model_validate_json((await client.get(url + "/item")).content)
    report()
""",
    "httpx2": """
import httpx2
async with httpx2.AsyncClient(headers={"X-API-Key": "key"}) as client:
    Item.model_validate_json((await client.get(url + "/item")).content)
    report()
""",
    "openai": """
import openai
class OpenAIItem(openai.BaseModel, Item):
    pass
async with openai.AsyncOpenAI(base_url=url, api_key="key") as client:
    await client.get("/item", cast_to=OpenAIItem)
    report()
""",
}
IDLE_PROGRAM: Final = """
import asyncio, ctypes, gc, sys
from bench.bodies import Item

def report():
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
    except AttributeError:
        pass  # a C library without it
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * {page})

async def main(url):
{body}
asyncio.run(main(sys.argv[1]))
"""

TARGETS: Final[tuple[Target, ...]] = (
    Target(
        f"`import playcall` under {IMPORT_MS} ms beyond the interpreter",
        "footprint-import",
        "import playcall",
        at_most=IMPORT_MS,
    ),
    Target(
        f"an idle async client at most {IDLE_MB} MB above bare aiohttp with pydantic",
        "footprint-idle-above",
        "playcall, AsyncPlaycall",
        at_most=IDLE_MB,
    ),
)


def measure(scale: Scale, tell: Tell) -> Results:
    pin_client()
    wall, processor = _imports(scale, lambda part: tell(part / 2))
    idle = _idle(scale, lambda part: tell(0.5 + part / 2))
    above = {
        name: [mine - bare for mine, bare in zip(figures, idle[BASELINE], strict=True)]
        for name, figures in idle.items()
        if name != BASELINE
    }
    return Results(
        [
            Table(
                "footprint-import",
                "Import: time beyond the interpreter's own start",
                "ms",
                wall,
                note="A fresh interpreter each time, with compiled files, less the bare interpreter of the same round. "
                "playcall loads what it needs when a client is made, so both are told.",
            ),
            Table(
                "footprint-import-processor",
                "Import: time of the processor, user and system, beyond the interpreter's own",
                "ms",
                processor,
                note="Of the same runs: what the clock above would show on a machine that does nothing else.",
            ),
            Table(
                "footprint-idle",
                "Resident memory of a process with one idle async client",
                "MB",
                idle,
                against=BASELINE,
                note="After one typed call, a collection and `malloc_trim`. The interpreter, asyncio, pydantic and the model "
                "of the answer are in all of them.",
            ),
            Table("footprint-idle-above", f"The same, beyond {BASELINE}", "MB", above),
        ]
    )


def _imports(scale: Scale, tell: Tell) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds beyond the bare interpreter, by the clock and of the processor."""
    wall: dict[str, list[float]] = {name: [] for name in IMPORTS}
    processor: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for code in IMPORTS.values():  # compiles what was not
        _timed(code)
    for number, order in enumerate(_orders(IMPORTS, scale), 1):
        for name in order:
            took, busy = _timed(IMPORTS[name])
            wall[name].append(took)
            processor[name].append(busy)
        tell(number / scale.rounds)
    return _beyond_bare(wall), _beyond_bare(processor)


def _beyond_bare(figures: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {
        name: [mine - bare for mine, bare in zip(mines, figures[BARE], strict=True)]
        for name, mines in figures.items()
        if name != BARE
    }


def _timed(code: str) -> tuple[float, float]:
    """Milliseconds of a fresh interpreter, by the clock and of the processor."""
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status, usage = os.wait4(child, 0)
    took = time.perf_counter() - began
    if status:
        raise RuntimeError(f"this failed: {code}")
    return took * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def _idle(scale: Scale, tell: Tell) -> dict[str, list[float]]:
    """Megabytes of resident memory."""
    figures: dict[str, list[float]] = {name: [] for name in IDLE}
    with _far_end() as url:
        for number, order in enumerate(_orders(IDLE, scale), 1):
            for name in order:
                figures[name].append(_resident(IDLE[name], url))
            tell(number / scale.rounds)
    return figures


def _resident(body: str, url: str) -> float:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    program = IDLE_PROGRAM.replace("{page}", str(os.sysconf("SC_PAGE_SIZE"))).replace("{body}", indented)
    # One hash seed for all: with others the same dictionaries take more or less room.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program, url], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout) / 1e6


def _orders(names: Mapping[str, str], scale: Scale) -> Iterator[list[str]]:
    chance = random.Random(SEED)
    order = list(names)
    for _ in range(scale.rounds):
        chance.shuffle(order)
        yield list(order)


@contextmanager
def _far_end() -> Iterator[str]:
    """Answers one request on each connection after another; its speed matters to nobody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = PLAYBOOK_JSON if b"/playbooks/" in head else ITEM_JSON
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(kind % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
