"""The realtime client alone: two topics, one event type, and a backend that is killed under it.

    python examples/websocket_demo.py                 # starts a backend of its own, kills it and starts it again
    python examples/websocket_demo.py URL API_KEY     # listens to yours until Ctrl-C

It connects, subscribes, prints each event with its type and place, and each change of a state; it goes on where it was
when the backend is there again, unsubscribes, and closes.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from contextlib import AsyncExitStack

from playcall import ApiKey, AsyncPlaycall
from playcall.models.event import AgentCreated, AnyEvent, RunData, TaskData
from playcall.realtime.feed import Feed
from playcall.realtime.states import StateChange, SubscriptionChange
from playcall.services.websocket_client import WebSocketClient

TOPICS = ("runs", "tasks")

PLAYBOOK = """
name: hello
agents: [reader]
steps:
  - {id: pause, type: standard, agent: reader, operation: wait, parameters: {seconds: 1}}
  - {id: count, type: standard, agent: reader, operation: text.stats, parameters: {text: one two three}}
"""

printed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""Set once an event of the type has been shown."""


def show(where: str, event: AnyEvent) -> None:
    """An event's class tells its type, so its payload is typed here."""
    match event.data:
        case RunData(run=run):
            more = f"{run.playbook_name}, {run.status}, {run.steps_finished} of {run.steps_total} steps"
        case TaskData(task=task):
            more = f"{task.operation}, {task.status}"
        case _:
            more = f"{event.data.agent.name} with {event.data.agent.tools}" if isinstance(event, AgentCreated) else ""
    print(f"  {where:<8} #{event.seq:<3} {event.type:<15} {more}", flush=True)
    printed[event.type].set()


def show_state(change: StateChange) -> None:
    print(f"* connection: {change.old} -> {change.new}: {change.why}", flush=True)


def show_subscription(change: SubscriptionChange) -> None:
    print(f"* {change.topic}: {change.old} -> {change.new}", flush=True)


async def print_all(feed: Feed[AnyEvent]) -> None:
    async for event in feed:
        show(feed.topic, event)


async def listen(client: WebSocketClient, topics: AsyncExitStack) -> list[asyncio.Task[None]]:
    """Subscribes to two topics, and to one event type by a handler."""
    client.on_state(show_state)
    client.on_subscription_state(show_subscription)
    await client.on("agent.created", lambda event: show("handler", event))
    feeds = [await topics.enter_async_context(client.subscribe(topic)) for topic in TOPICS]
    return [asyncio.create_task(print_all(feed)) for feed in feeds]


async def watch(url: str, api_key: str) -> None:
    """Until it is interrupted."""
    async with WebSocketClient(url, auth=ApiKey(api_key)) as client, AsyncExitStack() as topics:
        await asyncio.gather(*await listen(client, topics))


async def demonstrate() -> None:
    """Everything at once, with a backend of our own."""
    from playcall.testing import LiveBackend

    with LiveBackend() as backend:
        async with (
            WebSocketClient(backend.url, auth=ApiKey(backend.api_key)) as client,
            AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as http,
        ):
            async with AsyncExitStack() as topics:
                printing = await listen(client, topics)
                await http.agents.create({"name": "reader", "tools": ["wait", "text.stats"]})
                run = await http.playbooks.run((await http.playbooks.create_from_yaml(PLAYBOOK)).id)
                await printed["task.started"].wait()
                print("* the backend is killed in the middle of a step, and started again", flush=True)
                await asyncio.to_thread(backend.kill)
                await asyncio.to_thread(backend.restart)
                await http.runs.wait(run.id, timeout_seconds=60)
                await printed["run.completed"].wait()
                print("* unsubscribing", flush=True)
            await asyncio.gather(*printing)
            picture = client.picture
            print(
                f"received {picture.received}, repeated {picture.repeated}, gaps {picture.gaps}, "
                f"reconnects {picture.reconnects}",
                flush=True,
            )


if __name__ == "__main__":
    try:
        asyncio.run(watch(sys.argv[1], sys.argv[2]) if len(sys.argv) == 3 else demonstrate())
    except KeyboardInterrupt:
        print("closed")
