"""A server whose answers to `GET /events` are scripted, and a link to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.misbehaving_server import Act, MisbehavingServer, Request, ok

from .talk import PATIENCE_SECONDS, Frame, Headers, Talk, talking

SECRET = "pk_do_not_tell"
PROOF = "/api/v1/events?topic=tasks&from=head&limit=1"
"""What dialling asks."""
PROBLEM = {"Content-Type": "application/problem+json"}


def question(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.target).query, keep_blank_values=True)


def page(*frames: Frame, epoch: str = "e1", seq: int = 0, head: int = 9, **more: Any) -> Act:
    return ok({"epoch": epoch, "seq": seq, "head": head, "frames": list(frames), **more})


def events(prev: int, to: int, **more: Any) -> Frame:
    listed = [
        {"seq": seq, "id": f"ev{seq}", "time": "2026-01-01T00:00:00Z", "type": "custom", "data": {}}
        for seq in range(prev + 1, to + 1)
    ]
    return {"op": "events", "sid": "the topic", "prev": prev, "to": to, "events": listed, **more}


def refusal(status: int, headers: dict[str, str] | None = None, **problem: str) -> Act:
    return ok(problem, status, {**PROBLEM, **(headers or {})})


class Script:
    """Lets us in, answers pings, and each question for events with the next act; the last one stays."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.questions: list[dict[str, list[str]]] = []

    def __call__(self, request: Request) -> Act:
        if request.target == PROOF:
            return page()
        if request.target.endswith("/health"):
            return ok({"status": "ok"})
        assert request.target.startswith("/api/v1/events?")
        self.questions.append(question(request))
        return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


@asynccontextmanager
async def scripted(*acts: Act, wait_seconds: float = 0.5) -> AsyncIterator[tuple[Talk, MisbehavingServer, Script]]:
    script = Script(*acts)
    async with (
        MisbehavingServer(script) as server,
        talking(server.url, Headers(SECRET), wait_seconds=wait_seconds) as talk,
    ):
        yield talk, server, script


async def asked(script: Script, count: int) -> None:
    """Returns when so many questions for events have come."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(script.questions) < count:
            await asyncio.sleep(0.001)
