"""How long the machine, not the code under test, kept this process from running; what a bound on time may be widened by.

    with Stall() as stall:
        await client.get("/x")
    assert took <= deadline + 0.1 + stall.seconds

On an idle machine that is next to nothing.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

BEAT_SECONDS = 0.005
_TASKS = Path("/proc/self/task")


class Stall:
    """`seconds` is complete when the block is left.

    Two measures are added: how late a thread that only sleeps is woken, and, where Linux tells it, how long the other
    threads were ready to run and had no processor. Neither grows when the code under test holds up its event loop: a
    heartbeat on the loop itself would, and so excuse what it is there to catch.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat")
        self._queued: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self._queued = self._waits()
        return self

    def __exit__(self, *exc_info: object) -> None:
        after = self._waits()
        self._over.set()
        self._thread.join()
        self.seconds += sum(waited - self._queued.get(thread, 0.0) for thread, waited in after.items())

    def _beat(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(BEAT_SECONDS)
            self.seconds += max(0.0, time.monotonic() - began - BEAT_SECONDS)

    def _waits(self) -> dict[str, float]:
        """Seconds in the run queue by thread (`schedstat`, second field, in nanoseconds); empty where it is not told."""
        waits: dict[str, float] = {}
        for thread in _TASKS.glob("*") if _TASKS.exists() else ():
            try:
                waited = (thread / "schedstat").read_text().split()[1]
            except (OSError, IndexError):
                continue  # the thread has ended, or this kernel keeps no such account
            if thread.name != str(self._thread.native_id):
                waits[thread.name] = int(waited) / 1e9
        return waits
