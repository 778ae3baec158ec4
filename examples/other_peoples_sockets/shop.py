"""The order desk of a shop, as somebody else might have written it: FastAPI, one WebSocket, and nothing of playcall.

    python examples/other_peoples_sockets/shop.py [PORT]     # prints its address, and serves until Ctrl-C

Whoever connects says a token first, then subscribes channels. The last messages of a channel are sent to each new
subscriber, so they may come twice; what happens while nobody is connected is sent to nobody.
"""

from __future__ import annotations

import sys
import uuid
from collections import defaultdict, deque
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

app = FastAPI(title="Shop")
TOKENS = {"counter-7"}
CHANNELS = ("orders", "stock")
listeners: defaultdict[str, set[WebSocket]] = defaultdict(set)
last: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=3))


class NewOrder(BaseModel):
    item: str
    cents: int


async def publish(channel: str, kind: str, body: dict[str, Any]) -> None:
    message = {"kind": kind, "channel": channel, "event_id": uuid.uuid4().hex, "body": body}
    last[channel].append(message)
    for socket in list(listeners[channel]):
        try:
            await socket.send_json(message)
        except (WebSocketDisconnect, RuntimeError):
            listeners[channel].discard(socket)


@app.post("/orders", status_code=201)
async def order(new: NewOrder) -> dict[str, int]:
    await publish("orders", "order.placed", new.model_dump())
    return {"listeners": len(listeners["orders"])}


@app.websocket("/feed")
async def feed(socket: WebSocket) -> None:
    await socket.accept()
    try:
        hello = await socket.receive_json()
        if hello.get("token") not in TOKENS:
            await socket.send_json({"kind": "denied"})
            await socket.close(4401)
            return
        await socket.send_json({"kind": "welcome"})
        while True:
            await act(socket, await socket.receive_json())
    except WebSocketDisconnect:
        pass
    finally:
        for each in listeners.values():
            each.discard(socket)


async def act(socket: WebSocket, said: dict[str, Any]) -> None:
    channel = said.get("channel", "")
    match said.get("action"):
        case "ping":
            await socket.send_json({"kind": "pong"})
        case "subscribe" if channel not in CHANNELS:
            await socket.send_json({"kind": "no_such_channel", "channel": channel})
        case "subscribe":
            listeners[channel].add(socket)
            await socket.send_json({"kind": "subscribed", "channel": channel})
            for message in last[channel]:
                await socket.send_json(message)
        case "unsubscribe":
            listeners[channel].discard(socket)
        case other:
            await socket.send_json({"kind": "error", "text": f"no such action: {other}"})


if __name__ == "__main__":
    config = uvicorn.Config(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 0, log_level="warning")
    listening = config.bind_socket()
    listening.listen()  # who reads the address may connect at once
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
