"""Commands are done once, through a network that loses answers: of each command up to three, at random, before or after
the backend has done it.

What a command came to is asked of the backend by a client that does not go through that network.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from playcall import ApiKey, AsyncPlaycall, Playcall, RetryPolicy
from playcall.errors import ConnectionLostError, RequestError
from playcall.testing import FaultProxy, LiveBackend
from playcall.testing.fault_proxy import Loss, ProxiedRequest

from .faces import open_client

pytestmark = pytest.mark.xdist_group("exactly_once")  # a worker of its own, since it keeps one busy

RUNS = 1_000
CHANGES = 300
WORKERS = 12
"""Commands at the same time, of each face."""
LOST_AT_MOST = 3
"""One less than the client's attempts, so each command has an answer to hope for."""
QUICK = RetryPolicy(initial_seconds=0.001, max_seconds=0.01, budget=None)
"""The client's own four attempts. Its budget is for storms, and this is one."""
PATIENCE_SECONDS = 120.0

Namer = Callable[[str], str]


@pytest.fixture(scope="module")
def backend() -> Iterator[LiveBackend]:
    with LiveBackend() as running:
        yield running


@pytest.fixture
def proxy(backend: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(backend.url) as before:
        yield before


@pytest.fixture
async def direct(backend: LiveBackend) -> AsyncIterator[AsyncPlaycall]:
    """Who asks what there is."""
    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key), deadline_seconds=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
async def playbook(direct: AsyncPlaycall, name: Namer) -> str:
    """The id of a playbook whose runs end at their first step, for a value that is not there: this is about runs that
    are started, and what a thousand of them do would take minutes."""
    agent = await direct.agents.create({"name": name("worker"), "tools": ["wait"]})
    step = {"id": "only", "type": "standard", "agent": agent.name, "operation": "wait"}
    made = await direct.playbooks.create(
        {
            "name": name("numbered"),
            "agents": [agent.name],
            "inputs": {"number": {"type": "integer"}, "nothing": {"type": "object", "default": {}}},
            "steps": [{**step, "parameters": {"seconds": "{{ inputs.nothing.at_all }}"}}],
        }
    )
    return made.id


class LossyNetwork:
    """Decides which answers are lost: for each idempotency key up to three, and no others.

    The seed gives the same losses again, in the order in which keys are first seen, which threads and tasks decide.
    """

    def __init__(self) -> None:
        self.seed = random.SystemRandom().randrange(2**32)
        self.lost: Counter[str] = Counter()
        self._random = random.Random(self.seed)
        self._fates: dict[str, list[Loss]] = {}

    def __call__(self, request: ProxiedRequest) -> Loss | None:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if key not in self._fates:
            self._fates[key] = self._random.choices(["before", "after"], k=self._random.randint(0, LOST_AT_MOST))
        if not self._fates[key]:
            return None
        loss = self._fates[key].pop()
        self.lost[loss] += 1
        return loss

    def check(self, commands: int) -> None:
        """Each command kept one key; all that was to be lost was lost, and it was not little."""
        assert len(self._fates) == commands, self
        assert not any(self._fates.values()), self
        assert min(self.lost["before"], self.lost["after"]) > commands / 3, self

    def __repr__(self) -> str:
        return f"seed {self.seed}, {len(self._fates)} keys, lost {dict(self.lost)}"


async def on_both_faces(
    backend: LiveBackend, proxy: FaultProxy, count: int, command: Callable[[Any, int], Any]
) -> list[Any]:
    """What `command(client, number)` gives for each number, in their order: half of them from threads that share a
    blocking client, half from tasks that share an async one, through a network that loses answers."""
    options: dict[str, Any] = {"auth": ApiKey(backend.api_key), "retry": QUICK, "deadline_seconds": PATIENCE_SECONDS}
    results: dict[int, Any] = {}
    network = LossyNetwork()
    proxy.lose_answers_by(network)

    def blocking() -> None:
        with Playcall(proxy.url, **options) as client, ThreadPoolExecutor(WORKERS) as threads:
            numbers = range(0, count, 2)
            results.update(zip(numbers, threads.map(lambda number: command(client, number), numbers), strict=True))

    async def work(client: AsyncPlaycall, numbers: Iterator[int]) -> None:
        for number in numbers:
            results[number] = await command(client, number)

    try:
        async with AsyncPlaycall(proxy.url, **options) as client, asyncio.TaskGroup() as group:
            numbers = iter(range(1, count, 2))
            group.create_task(asyncio.to_thread(blocking))
            for _ in range(WORKERS):
                group.create_task(work(client, numbers))
    except* RequestError as errors:
        told = "\n".join(error.explain() for error in errors.exceptions if isinstance(error, RequestError))
        raise AssertionError(f"not every command succeeded ({network}):\n{told}") from None
    finally:
        proxy.heal()
        print(network)  # pytest shows it beside whatever fails
    network.check(count)
    return [results[number] for number in range(count)]


async def test_of_a_thousand_runs_each_is_started_once(
    backend: LiveBackend, proxy: FaultProxy, direct: AsyncPlaycall, playbook: str
) -> None:
    runs = await on_both_faces(
        backend, proxy, RUNS, lambda client, number: client.playbooks.run(playbook, inputs={"number": number})
    )
    assert [run.inputs["number"] for run in runs] == list(range(RUNS))
    stored = {run.id: run.inputs["number"] async for run in direct.runs.list(playbook=playbook, page_size=1_000)}
    assert {number: times for number, times in Counter(stored.values()).items() if times > 1} == {}
    assert stored == {run.id: number for number, run in enumerate(runs)}


async def test_what_is_created_is_there_once(
    backend: LiveBackend, proxy: FaultProxy, direct: AsyncPlaycall, name: Namer
) -> None:
    names = [name("created") for _ in range(CHANGES)]
    made = await on_both_faces(
        backend, proxy, CHANGES, lambda client, number: client.agents.create({"name": names[number]})
    )
    assert [agent.name for agent in made] == names
    stored = {agent.name: agent async for agent in direct.agents.list(page_size=1_000)}
    assert [stored.get(name) for name in names] == made


async def test_what_is_changed_is_changed_once_beside_the_changes_of_others(
    backend: LiveBackend, proxy: FaultProxy, direct: AsyncPlaycall, name: Namer
) -> None:
    """Ten at once on each: one that was made again after another's would undo it, and move the version twice."""
    each = 10
    agents = [await direct.agents.create({"name": name("changed")}) for _ in range(CHANGES // each)]
    changed = await on_both_faces(
        backend,
        proxy,
        CHANGES,
        lambda client, number: client.agents.update(agents[number // each].id, {"description": f"by {number}"}),
    )
    assert [agent.description for agent in changed] == [f"by {number}" for number in range(CHANGES)]
    for place, agent in enumerate(agents):
        ours = sorted(changed[place * each : (place + 1) * each], key=lambda change: change.version)
        assert [change.version for change in ours] == list(range(2, 2 + each))
        assert await direct.agents.get(agent.id) == ours[-1]


async def test_what_is_deleted_is_gone_and_was_never_missed(
    backend: LiveBackend, proxy: FaultProxy, direct: AsyncPlaycall, name: Namer
) -> None:
    """None of the calls raises: the answer of the second attempt is the first one's, and not a 404."""
    agents = [await direct.agents.create({"name": name("deleted")}) for _ in range(CHANGES)]
    gone = await on_both_faces(backend, proxy, CHANGES, lambda client, number: client.agents.delete(agents[number].id))
    assert gone == [None] * CHANGES
    left = {agent.id async for agent in direct.agents.list(page_size=1_000)}
    assert left.isdisjoint(agent.id for agent in agents)


# --- one command ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """`make(client, idempotency_key=…)` makes it; `effects()` says how often it has been done."""

    make: Callable[..., Any]
    effects: Callable[[], Awaitable[int]]


@pytest.fixture(params=["run", "create", "change", "delete"])
async def command(request: pytest.FixtureRequest, direct: AsyncPlaycall, playbook: str, name: Namer) -> Command:
    title = name("alone")

    async def runs() -> int:
        return len([run async for run in direct.runs.list(playbook=playbook)])

    async def agents() -> list[Any]:
        return [agent async for agent in direct.agents.list(page_size=1_000) if agent.name == title]

    async def created() -> int:
        return len(await agents())

    async def changes() -> int:
        (agent,) = await agents()
        return agent.version - 1

    async def deleted() -> int:
        return 1 - len(await agents())

    if request.param == "run":
        return Command(lambda client, **key: client.playbooks.run(playbook, inputs={"number": 1}, **key), runs)
    if request.param == "create":
        return Command(lambda client, **key: client.agents.create({"name": title}, **key), created)
    one = (await direct.agents.create({"name": title})).id
    if request.param == "change":
        change = {"description": "changed"}
        return Command(lambda client, **key: client.agents.update(one, change, if_match=1, **key), changes)
    return Command(lambda client, **key: client.agents.delete(one, **key), deleted)


@pytest.mark.parametrize("attempts", [2, 4])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_call_that_ran_out_of_attempts_is_made_again_with_its_key_by_another_client(
    face: str, backend: LiveBackend, proxy: FaultProxy, command: Command, when: Loss, attempts: int
) -> None:
    """As after the caller's own crash: nothing is left of the first client but the key."""
    auth = ApiKey(backend.api_key)
    proxy.lose_answers(attempts, when=when)
    async with open_client(face, proxy.url, auth=auth, retry=replace(QUICK, attempts=attempts)) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await command.make(client)
    error = caught.value
    assert error.may_have_happened
    assert len(error.attempts) == proxy.answers_lost == attempts
    assert await command.effects() == (1 if when == "after" else 0)

    key = error.timeline.idempotency_key
    async with open_client(face, proxy.url, auth=auth) as other:
        answer = await command.make(other, idempotency_key=key)
        assert await command.effects() == 1
        assert await command.make(other, idempotency_key=key) == answer
    assert await command.effects() == 1


async def test_a_key_that_is_sent_twice_at_the_same_time_has_one_effect_and_one_answer(
    face: str, backend: LiveBackend, proxy: FaultProxy, command: Command, name: Namer
) -> None:
    """The proxy holds them back until all are there, and lets them go at once."""
    key, times = name("twice"), 4
    proxy.half_open()
    async with open_client(face, proxy.url, auth=ApiKey(backend.api_key)) as client, asyncio.TaskGroup() as group:

        async def make() -> Any:
            return await command.make(client, idempotency_key=key)

        calls = [group.create_task(make()) for _ in range(times)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while proxy.connections < times:
                await asyncio.sleep(0.001)
        proxy.heal()
    answers = [call.result() for call in calls]
    assert answers == answers[:1] * times
    assert await command.effects() == 1
