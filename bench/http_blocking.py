"""One typed GET by blocking clients, in so many threads that share a client.

As in `http_async`: the same bytes, key and model for everybody. playcall is measured on uvloop, as the extra `fast`
installs it, and on asyncio's own loop; each in a process of its own, because the loop is one to a process, with httpx2 beside
it in both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import httpx
import httpx2
import urllib3

from playcall import ApiKey, BlockingAPIClient

from .bodies import KEY, Item
from .children import Child, pin_client
from .crowd import Once, threads
from .results import Results, Table, Target
from .rounds import Scale, Tell, share, take_turns

TITLE: Final = "HTTP, blocking"
THREADS: Final = (1, 8, 32)
UVLOOP: Final = "playcall (uvloop)"
ASYNCIO: Final = "playcall (asyncio)"
TARGETS: Final = (
    Target("blocking typed GET, 1 thread, uvloop, against httpx2", "http-blocking-1", UVLOOP, "httpx2", at_most=1.0),
    Target(
        "blocking typed GET, 1 thread, without uvloop, against httpx2",
        "http-blocking-asyncio-1",
        ASYNCIO,
        "httpx2",
        at_most=1.1,
    ),
    Target(
        "blocking typed GET, 8 threads, uvloop: throughput against httpx2",
        "http-blocking-8",
        "httpx2",
        UVLOOP,
        at_least=2,
    ),
)
HEADERS: Final = {"X-API-Key": KEY}


def measure(scale: Scale, tell: Tell) -> Results:
    results = Results()
    for number, loop in enumerate(("uvloop", "asyncio")):
        # A child, which prints its progress line by line, and then what it measured.
        command = [sys.executable, "-m", "bench.http_blocking", loop, str(scale.rounds), str(scale.turn_seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                said = json.loads(line)
                if isinstance(said, float):
                    share(tell, number, 2)(said)
                    continue
                results.tables += [Table(**each) for each in said]
        if child.returncode:
            raise RuntimeError(f"the measurement on {loop} failed")
    return results


def main(loop: str, rounds: str, turn_seconds: str) -> None:
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment] # as if it were not installed
    pin_client()
    scale = Scale(int(rounds), float(turn_seconds))
    tables: list[dict[str, object]] = []
    mine, key = (UVLOOP, "http-blocking") if loop == "uvloop" else (ASYNCIO, "http-blocking-asyncio")
    with Child("plain") as server, ExitStack() as stack:
        contestants = _contestants(f"http://127.0.0.1:{server.port}", mine, stack)
        if loop == "asyncio":
            contestants = {name: contestants[name] for name in (mine, "httpx2")}
        for number, count in enumerate(THREADS):
            pool = stack.enter_context(ThreadPoolExecutor(count))
            turns = {name: threads(count, once, pool) for name, once in contestants.items()}
            tell = share(lambda part: print(json.dumps(float(part)), flush=True), number, len(THREADS))
            with server.watched() as busy:
                rows = take_turns(turns, scale, tell)
            tables.append(
                {
                    "key": f"{key}-{count}",
                    "title": f"one typed GET, {count} {'thread' if count == 1 else 'threads'}, {loop}",
                    "unit": "µs a call",
                    "rows": rows,
                    "against": "httpx2",
                    "note": f"The server was busy for {busy():.0%} of the time.",
                }
            )
    print(json.dumps(tables), flush=True)


def _contestants(url: str, mine: str, stack: ExitStack) -> Mapping[str, Once]:
    item = f"{url}/item"
    most = max(THREADS)
    api = stack.enter_context(BlockingAPIClient(url, auth=ApiKey(KEY), max_concurrency=most))
    two = stack.enter_context(httpx2.Client(limits=httpx2.Limits(max_connections=None)))
    one = stack.enter_context(httpx.Client(limits=httpx.Limits(max_connections=None)))
    pool = stack.enter_context(urllib3.PoolManager(maxsize=most))
    return {
        mine: lambda: api.get("/item", into=Item),
        "httpx2": lambda: Item.model_validate_json(two.get(item, headers=HEADERS).content),
        "httpx": lambda: Item.model_validate_json(one.get(item, headers=HEADERS).content),
        "urllib3": lambda: Item.model_validate_json(pool.request("GET", item, headers=HEADERS).data),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
