"""The realtime client alone: two topics, one event type, and a backend that is killed under it.

    python examples/websocket_demo.py                 # starts a backend of its own, kills it and starts it again
    python examples/websocket_demo.py URL API_KEY     # listens to yours until Ctrl-C

Prints each event with its type and place, each change of the connection's state, and at the end what was received.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from playcall import ApiKey, AsyncPlaycall
from playcall.models.event import AgentCreated, AnyEvent
from playcall.realtime.feed import Feed
from playcall.realtime.states import StateChange
from playcall.services.websocket_client import WebSocketClient

PLAYBOOK = """
name: hello
agents: [reader]
steps:
  - {id: count, type: standard, agent: reader, operation: text.stats, parameters: {text: one two three}}
"""


shown: list[AnyEvent] = []


def show(where: str, event: AnyEvent) -> None:
    shown.append(event)
    # An event's class tells its type, so its payload is typed here.
    more = f": {event.data.agent.name} with {event.data.agent.tools}" if isinstance(event, AgentCreated) else ""
    print(f"  {where:<10} #{event.seq:<4} {event.type}{more}", flush=True)


def show_state(change: StateChange) -> None:
    print(f"* {change.old} -> {change.new}: {change.why}", flush=True)


async def print_all(feed: Feed[AnyEvent]) -> None:
    async for event in feed:
        show(feed.topic, event)


async def listen(client: WebSocketClient, topics: AsyncExitStack) -> list[asyncio.Task[None]]:
    """Subscribes to two topics, and to one event type by a handler."""
    client.on_state(show_state)
    await client.on("playbook.created", lambda event: show("handler", event))
    feeds = [await topics.enter_async_context(client.subscribe(topic)) for topic in ("agents", "tasks")]
    return [asyncio.create_task(print_all(feed)) for feed in feeds]


async def watch(url: str, api_key: str) -> None:
    """Until it is interrupted."""
    async with WebSocketClient(url, auth=ApiKey(api_key)) as client, AsyncExitStack() as topics:
        await asyncio.gather(*await listen(client, topics))


async def demonstrate() -> None:
    """Everything at once, with a backend of our own."""
    from playcall.testing import LiveBackend

    backend = LiveBackend()
    await asyncio.to_thread(backend.start)
    try:
        async with (
            WebSocketClient(backend.url, auth=ApiKey(backend.api_key)) as client,
            AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as http,
        ):
            async with AsyncExitStack() as topics:
                printing = await listen(client, topics)
                await http.agents.create({"name": "reader", "tools": ["text.stats"]})
                print("* the backend is killed, and started again", flush=True)
                await asyncio.to_thread(backend.kill)
                await asyncio.to_thread(backend.restart)
                await http.agents.create({"name": "writer", "tools": ["text.stats"]})
                await http.playbooks.create_from_yaml(PLAYBOOK)
                async with asyncio.timeout(30):
                    while len(shown) < 3:  # noqa: ASYNC110 - a demo may look now and then
                        await asyncio.sleep(0.05)
            # The topics were unsubscribed; what is left of their tasks has ended with them.
            await asyncio.gather(*printing)
            picture = client.picture
            print(
                f"received {picture.received}, repeated {picture.repeated}, gaps {picture.gaps}, "
                f"reconnects {picture.reconnects}",
                flush=True,
            )
    finally:
        await asyncio.to_thread(backend.close)


if __name__ == "__main__":
    try:
        asyncio.run(watch(sys.argv[1], sys.argv[2]) if len(sys.argv) == 3 else demonstrate())
    except KeyboardInterrupt:
        print("closed")
