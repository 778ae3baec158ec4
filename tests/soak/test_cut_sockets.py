"""A real conversation over real sockets, cut at every place between two frames and beside it: no event lost or repeated."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from playcall import ApiKey, AsyncPlaycall
from playcall.models.agent import AgentSpec
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend, read_log_async
from tests.services.websocket_faces import FACES, Face

from .notes import Notes
from .scale import chosen_seed, scaled
from .tap import Tap, Way, frame_boundaries

RANDOM_PLACES = 64
SHORT_PLACES = 6
"""Of each way, so that a face has twice as many."""
WINDOW = 4
"""Small, so that credit flows."""
MORE_ROUNDS = 40
"""What is said beyond the conversation, where a place lies so late that it has not been cut by its end."""
DEADLINE_SECONDS = 60

_numbers = itertools.count(1)


@dataclass
class Conversation:
    """One user's agents change, one at a time, and two subscriptions see it: each change is seen before the next is made."""

    backend: LiveBackend
    face: str
    key: str
    all: DeliveryOracle = field(default_factory=DeliveryOracle)
    deleted: DeliveryOracle = field(default_factory=DeliveryOracle)
    reconnects: int = 0
    _agents: list[str] = field(default_factory=list)
    _changes: int = 0

    async def change(self, direct: AsyncPlaycall) -> None:
        """One event: an agent is made, or deleted."""
        self._changes += 1
        if self._agents:
            await direct.agents.delete(self._agents.pop())
        else:
            # A name of fixed length: every conversation has the same bytes in the same places.
            made = await direct.agents.create(AgentSpec(name=f"agent {next(_numbers):08d}", tools=["text.stats"]))
            self._agents.append(made.id)

    async def hold(self, url: str, proxy: FaultProxy | None = None) -> None:
        """Says everything; through `proxy` until it has cut."""
        made: Face = FACES[self.face](url, auth=ApiKey(self.key))
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                AsyncPlaycall(self.backend.url, auth=ApiKey(self.key)) as direct,
            ):
                await self._hold(made, direct, proxy)
                self.reconnects = made.client.picture.attempts - 1
        finally:
            await made.close()

    async def _hold(self, made: Face, direct: AsyncPlaycall, proxy: FaultProxy | None) -> None:
        for _ in range(2):
            await self.change(direct)
        async with made.subscribe("agents", start="start", window=WINDOW) as feed:
            await self._see(feed, self.all, self._changes)
            async with made.subscribe("agents", types=["*.deleted"], start="start", window=WINDOW) as filtered:
                for _ in range(6):
                    await self._see(filtered, self.deleted, self._changes // 2)
                    await self.change(direct)
                    await self._see(feed, self.all, self._changes)
                await self._see(filtered, self.deleted, self._changes // 2)
            for more in itertools.count():
                if more >= 2 and (proxy is None or proxy.connections_total > 1 or more == MORE_ROUNDS):
                    break
                await self.change(direct)
                await self._see(feed, self.all, self._changes)

    @staticmethod
    async def _see(feed: Any, oracle: DeliveryOracle, count: int) -> None:
        while len(oracle.seen) < count:
            oracle.saw(await anext(feed))

    async def judge(self) -> None:
        log = await read_log_async(self.backend.url, "agents", auth=ApiKey(self.key))
        assert len(log) == self._changes
        verdict = self.all.judge(log)
        assert verdict.ok, verdict.explain()
        # The second one was closed when it had seen what there was of its kind by then.
        verdict = self.deleted.judge([each for each in log if each.type == "agent.deleted"][: len(self.deleted.seen)])
        assert verdict.ok, verdict.explain()


async def begin(backend: LiveBackend, face: str) -> Conversation:
    return Conversation(backend, face, await asyncio.to_thread(backend.add_user))


async def record(backend: LiveBackend, face: str, way: Way) -> list[int]:
    """Where the frames of an uncut conversation end, that way."""
    conversation = await begin(backend, face)
    with Tap(backend.url) as tap:
        await conversation.hold(tap.url)
        assert conversation.reconnects == 0
    await conversation.judge()
    return frame_boundaries(tap.sent[way])


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("face", FACES)
async def test_cut_between_and_beside_any_two_frames_it_loses_and_repeats_nothing(
    backend: LiveBackend, face: str, way: Way, notes: Notes
) -> None:
    seed = chosen_seed()
    print(f"PLAYCALL_SOAK_SEED={seed}")
    chance = random.Random(seed)
    boundaries = await record(backend, face, way)
    assert len(boundaries) > 12, "credit and events make many frames"
    beside = {boundary + step for boundary in boundaries for step in (-1, 0, 1)}
    anywhere = {chance.randrange(boundaries[-1]) for _ in range(RANDOM_PLACES)}
    places = sorted(beside | anywhere)
    places = scaled(short=sorted(chance.sample(places, min(SHORT_PLACES, len(places)))), full=places)
    for number, place in enumerate(places):
        conversation = await begin(backend, face)
        with FaultProxy(backend.url) as proxy:
            proxy.cut_after(place, direction=way)
            try:
                await conversation.hold(proxy.url, proxy)
                await conversation.judge()
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"cut after {place} bytes {way}, seed {seed}: {error!r}") from error
            assert proxy.connections_total == conversation.reconnects + 1 == 2, f"not cut once, after {place} bytes"
        if number % 25 == 0:
            notes.progress(f"{number} of {len(places)} places {way}")
    notes.measured(f"frames {way}, {face}", len(boundaries) - 1)
    notes.measured(f"places cut {way}, {face}; nothing lost or repeated", f"{len(places)} (seed {seed})")
