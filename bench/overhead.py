"""What it costs to watch: logging, OpenTelemetry, status subscribers, a hook; and what a key costs a write.

Each contestant is a client of its own with its own connections, in one process; what is switched on for the process, it
switches on for its turn. OpenTelemetry is as its documentation has it, a provider with a batch processor, whose exporter
drops what it is given: what sending spans costs is not our affair.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from playcall import ApiKey, Attempt, AttemptStart, BaseAPIClient

from .bodies import KEY, NEW, Item
from .children import Child, pin_client
from .crowd import tasks
from .results import Results, Table, Target
from .rounds import AsyncTurn, Scale, Tell, take_turns_async

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["TARGETS", "TITLE", "measure"]

TITLE: Final = "What watching costs"
TARGETS: Final[tuple[Target, ...]] = ()
AT_ONCE: Final = 32
SUBSCRIBERS: Final = 32
DEFAULT: Final = "default"
DEFAULT_POST: Final = "POST"
LOADED_AS: Final = "opentelemetry.trace"

Call: TypeAlias = Callable[[BaseAPIClient], Awaitable[object]]
Switch: TypeAlias = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """`on` is entered for the length of a turn."""

    call: Call
    on: Switch = nullcontext
    hooks: Sequence[Callable[[AttemptStart], Callable[[Attempt], object]]] = ()
    subscribers: int = 0
    idempotency_keys: bool = False


def get(api: BaseAPIClient) -> Awaitable[object]:
    return api.get("/item", into=Item)


def post(api: BaseAPIClient) -> Awaitable[object]:
    return api.post("/item", json=NEW, into=Item)


def measure(scale: Scale, tell: Tell) -> Results:
    pin_client()
    with Child("plain") as server, ExitStack() as stack:
        logging_on = stack.enter_context(_logging())
        telemetry_on = stack.enter_context(_telemetry())

        @contextmanager
        def all_on() -> Iterator[None]:
            with logging_on(), telemetry_on():
                yield

        gets = {
            DEFAULT: Contestant(get),
            "logging at INFO": Contestant(get, on=logging_on),
            "OpenTelemetry": Contestant(get, on=telemetry_on),
            f"{SUBSCRIBERS} status subscribers": Contestant(get, subscribers=SUBSCRIBERS),
            "one hook": Contestant(get, hooks=[_hook]),
            "all of these": Contestant(get, on=all_on, hooks=[_hook], subscribers=SUBSCRIBERS),
        }
        posts = {
            DEFAULT_POST: Contestant(post),
            "POST with an idempotency key": Contestant(post, idempotency_keys=True),
        }
        taken = asyncio.run(_take_turns(f"http://127.0.0.1:{server.port}", gets | posts, scale, tell))
    return Results(
        [
            Table(
                "overhead-get",
                f"One typed GET at {AT_ONCE} concurrent, watched",
                "us",
                {name: taken[name] for name in gets},
                against=DEFAULT,
                note="In one process, in turns. Log lines are formatted, with the time, and written to nowhere; spans are "
                "recorded and handed to an exporter that drops them. Subscribers hear of changes of state, not of calls.",
            ),
            Table(
                "overhead-post",
                f"One typed POST at {AT_ONCE} concurrent, with a key",
                "us",
                {name: taken[name] for name in posts},
                against=DEFAULT_POST,
            ),
        ]
    )


async def _take_turns(url: str, contestants: dict[str, Contestant], scale: Scale, tell: Tell) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        turns: dict[str, AsyncTurn] = {}
        for name, each in contestants.items():
            api = await stack.enter_async_context(
                BaseAPIClient(url, auth=ApiKey(KEY), hooks=each.hooks, idempotency_keys=each.idempotency_keys)
            )
            for _ in range(each.subscribers):
                stack.callback(api.status.subscribe(lambda status: None))
            turns[name] = _turn(each, api)
        return await take_turns_async(turns, scale, tell)


def _turn(contestant: Contestant, api: BaseAPIClient) -> AsyncTurn:
    crowd = tasks(AT_ONCE, partial(contestant.call, api))

    async def turn(times: int) -> None:
        with contestant.on():
            await crowd(times)

    return turn


def _hook(start: AttemptStart) -> Callable[[Attempt], object]:
    def ended(attempt: Attempt) -> None:
        pass

    return ended


@contextmanager
def _logging() -> Iterator[Switch]:
    """Gives what turns playcall's log on, at INFO and to nowhere."""
    log = logging.getLogger("playcall")
    with open(os.devnull, "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))

        @contextmanager
        def on() -> Iterator[None]:
            log.addHandler(handler)
            log.setLevel(logging.INFO)
            yield
            log.setLevel(logging.NOTSET)
            log.removeHandler(handler)

        yield on


@contextmanager
def _telemetry() -> Iterator[Switch]:
    """Gives what makes this an application that uses OpenTelemetry, for a while: that it is loaded is how playcall knows."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Dropping(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    trace.set_tracer_provider(provider)
    module = sys.modules.pop(LOADED_AS)

    @contextmanager
    def on() -> Iterator[None]:
        sys.modules[LOADED_AS] = module
        yield
        del sys.modules[LOADED_AS]

    yield on
    provider.shutdown()
