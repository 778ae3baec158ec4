"""How much client and server grow while events come to a consumer that cannot keep up: resident memory, in a table.

    .venv/bin/python -m bench.slow_consumer [--events 10000 100000]

The backend is one process, each consumer another; events are appended by this one, through the server's own code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.soak.log_writer import append_events

from playcall import ApiKey, AsyncPlaycall, Playcall
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.testing import LiveBackend

TOPIC: Final = "tasks"
MODES: Final = ("prompt", "1 ms each", "does nothing")
PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
KEY: Final = "BENCH_API_KEY"
LOOK_EVERY_SECONDS: Final = 0.05
TEXT_BYTES: Final = 500
"""Of the text that each event carries."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--consume", nargs=3, metavar=("URL", "MODE", "EVENTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.consume:
        url, mode, events = arguments.consume
        consume(url, mode, int(events))
        return
    print("resident memory in MiB: before the first event, and how much more at the most", flush=True)
    print("| events | consumer | waited at most | server before | server grew | client before | client grew | took |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for events in arguments.events:
        for mode in MODES:
            print(measure(mode, events), flush=True)


@dataclass
class Grown:
    """The resident memory of a process, when it was first looked at and at its most."""

    pid: int
    before_kib: int = 0
    most_kib: int = 0

    def look(self) -> None:
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return  # it has ended
        self.before_kib = self.before_kib or pages * PAGE_KIB
        self.most_kib = max(self.most_kib, pages * PAGE_KIB)

    def __str__(self) -> str:
        return f"{self.before_kib / 1024:.1f} | {(self.most_kib - self.before_kib) / 1024:.1f}"


def measure(mode: str, events: int) -> str:
    """A row of the table; a backend of its own for each, so that none inherits what another has grown."""
    with LiveBackend() as backend:
        with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
            owner = client.account.me().id
        consumer = subprocess.Popen(
            [sys.executable, "-m", "bench.slow_consumer", "--consume", backend.url, mode, str(events)],
            env={**os.environ, KEY: backend.api_key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert consumer.stdout is not None
        assert consumer.stdin is not None
        assert consumer.stdout.readline() == "subscribed\n"
        asyncio.run(warm_up(backend))
        server, client_process = Grown(backend.pid), Grown(consumer.pid)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_EVERY_SECONDS):
                server.look()
                client_process.look()

        watching = threading.Thread(target=watch)
        watching.start()
        time.sleep(4 * LOOK_EVERY_SECONDS)
        began_at = time.monotonic()
        asyncio.run(append_events(backend, owner, TOPIC, events, text_bytes=TEXT_BYTES))
        if mode == "does nothing":
            time.sleep(3)  # what could be sent to it has been sent by then
        consumer.stdin.close()
        waited = consumer.stdout.readline().strip()
        took = time.monotonic() - began_at
        over.set()
        watching.join()
        if consumer.wait(30) != 0:
            raise SystemExit(f"the consumer failed: {waited}")
    return f"| {events:,} | {mode} | {waited} | {server} | {client_process} | {took:.0f} s |"


async def warm_up(backend: LiveBackend) -> None:
    """What the server loads with its first requests is not the consumer's doing."""
    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as client:
        for number in range(20):
            await client.agents.delete((await client.agents.create({"name": str(number), "tools": ["wait"]})).id)


def consume(url: str, mode: str, events: int) -> None:
    """In a process of its own; says `subscribed`, and in the end how many events waited at the most."""
    most = 0
    with BlockingWebSocketClient(url, auth=ApiKey(os.environ[KEY])) as client, client.subscribe(TOPIC) as feed:
        print("subscribed", flush=True)
        if mode == "does nothing":
            sys.stdin.read()  # until the other end closes it
            most = buffered(client)
        else:
            for taken, event in enumerate(feed, 1):
                most = max(most, buffered(client))
                if event.data.get("n") != taken:
                    raise SystemExit(f"event {taken} is {event.data}")
                if taken == events:
                    break
                if mode == "1 ms each":
                    time.sleep(0.001)
    print(most, flush=True)


def buffered(client: Any) -> int:
    return sum(each.buffered for each in client.picture.subscriptions)


if __name__ == "__main__":
    main()
