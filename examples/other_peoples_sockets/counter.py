"""Prints the orders of `shop.py` as they are placed.

    python examples/other_peoples_sockets/counter.py http://127.0.0.1:PORT counter-7

Kill the shop and start it again on its port: it goes on, and says what it may have missed.
"""

from __future__ import annotations

import sys

from pydantic import BaseModel

from playcall import BearerToken, BlockingWebSocketClient, PlainGap, PlainSockets


class Order(BaseModel):
    item: str
    cents: int


SHOP = PlainSockets(
    path="/feed",
    auth=lambda token: {"token": token},
    is_accepted=lambda message: message["kind"] == "welcome",
    is_refused=lambda message: message["kind"] == "denied",
    subscribe=lambda channel: {"action": "subscribe", "channel": channel},
    unsubscribe=lambda channel: {"action": "unsubscribe", "channel": channel},
    subscribed=lambda message: message["channel"] if message["kind"] == "subscribed" else None,
    forbidden=lambda message: message["channel"] if message["kind"] == "no_such_channel" else None,
    type_of="kind",
    topic_of="channel",
    id_of="event_id",
    data_of="body",
    models={"order.*": Order},
    ping={"action": "ping"},
    silence_seconds=30,
    ignore=["pong"],
)


def main(url: str, token: str) -> None:
    with (
        BlockingWebSocketClient(url, session=SHOP, auth=BearerToken(token)) as client,
        client.subscribe("orders", types=["order.*"], on_gap="yield") as feed,
    ):
        print("open", flush=True)
        for item in feed:
            if isinstance(item, PlainGap):
                print(f"gap: {item}", flush=True)
            elif isinstance(item.data, Order):
                print(f"{item.type}: {item.data.item} at {item.data.cents / 100:.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
