"""How much client and server grow while events come to a consumer that cannot keep up.

The backend is one process, each consumer another; events are appended by this one, through the server's own code, while the
consumer is connected. What is promised of it is tested in tests/soak/test_slow_consumer.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any, Final, Literal, TypeAlias, get_args

from tests.soak.log_writer import append_events

from playcall import ApiKey, AsyncPlaycall
from playcall.services.blocking_websocket_client import BlockingWebSocketClient

from .real_backend import RealBackend, RealBackends
from .results import Results, Table
from .rounds import Scale, Tell
from .usage import Usage

Mode: TypeAlias = Literal["prompt", "1 ms each", "does nothing"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
TOPIC: Final = "tasks"
KEY: Final = "BENCH_API_KEY"
TEXT_BYTES: Final = 500
"""Of the text that each event carries."""

TITLE: Final = "A consumer that is too slow"
TARGETS: Final = ()


def measure(scale: Scale, tell: Tell) -> Results:
    sizes = (1_000, 5_000) if scale.quick else (10_000, 100_000)
    memory = Table(
        "slow-consumer-memory",
        "What the processes grow by while events come to a consumer",
        "MiB",
        note="The most resident memory that the kernel saw, less what there was before the first event. A new client and a "
        "new server for each figure; it was measured once.",
    )
    waited = Table("slow-consumer-waiting", "The most events that waited in the client", "events")
    figures: list[tuple[Mode, int]] = [(mode, events) for events in sizes for mode in MODES]
    for done, (mode, events) in enumerate(figures, 1):
        with RealBackends(pinned=True) as backends:
            client_mib, server_mib, most = _measured(backends.start(), mode, events)
        name = f"{mode}, {events:,} events"
        memory.rows[f"client: {name}"], memory.rows[f"server: {name}"] = [client_mib], [server_mib]
        waited.rows[name] = [most]
        tell(done / len(figures))
    return Results([memory, waited])


def _measured(backend: RealBackend, mode: Mode, events: int) -> tuple[float, float, int]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.slow_consumer", "--consume", backend.url, mode, str(events)],
        env={**os.environ, KEY: backend.key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as consumer:
        assert consumer.stdout is not None
        assert consumer.stdin is not None
        assert consumer.stdout.readline() == "subscribed\n"
        asyncio.run(_warm_up(backend))
        server, client = Usage(backend.live.pid), Usage(consumer.pid)
        asyncio.run(append_events(backend.live, backend.owner, TOPIC, events, text_bytes=TEXT_BYTES))
        if mode == "does nothing":
            time.sleep(3)  # what could be sent to it has been sent by then
        consumer.stdin.write("over\n")
        consumer.stdin.flush()
        most: int = json.loads(consumer.stdout.readline())
        grown = client.grown_mib, server.grown_mib
        consumer.stdin.write("over\n")
    if consumer.returncode:
        raise RuntimeError("the consumer failed")
    return *grown, most


async def _warm_up(backend: RealBackend) -> None:
    """What the server loads with its first requests is not the consumer's doing."""
    async with AsyncPlaycall(backend.url, auth=backend.auth) as client:
        for number in range(20):
            await client.agents.delete((await client.agents.create({"name": str(number), "tools": ["wait"]})).id)


def _consume(url: str, mode: str, events: int) -> None:
    """In a process of its own; says `subscribed`, in the end how many events waited at the most, and is looked at then."""
    most = 0
    with BlockingWebSocketClient(url, auth=ApiKey(os.environ[KEY])) as client, client.subscribe(TOPIC) as feed:
        print("subscribed", flush=True)
        if mode == "does nothing":
            sys.stdin.readline()
            most = _buffered(client)
        else:
            for taken, event in enumerate(feed, 1):
                most = max(most, _buffered(client))
                if event.seq != taken:
                    raise SystemExit(f"event {taken} is {event}")
                if taken == events:
                    break
                if mode == "1 ms each":
                    time.sleep(0.001)
            sys.stdin.readline()
        print(most, flush=True)
        sys.stdin.readline()


def _buffered(client: Any) -> int:
    return sum(each.buffered for each in client.picture.subscriptions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One consumer of the measurement; it is started by it.")
    parser.add_argument("--consume", nargs=3, metavar=("URL", "MODE", "EVENTS"), required=True)
    url, mode, events = parser.parse_args().consume
    _consume(url, mode, int(events))
