"""One typed GET and one typed POST by async clients, so many at once.

Everybody asks the same server for the same bytes, sends the same key, and reads the answer into the same pydantic model.
playcall does so as it comes: with its deadline, retries, credentials, status and log. The openai SDK is used as a client of
any path (`client.get(path, cast_to=…)`), which its documentation calls undocumented endpoints; it builds its models without
checking them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
import httpx
import httpx2
import openai

from playcall import ApiKey, BaseAPIClient

from .bodies import KEY, NEW, Item
from .children import Child, pin_client
from .crowd import AsyncOnce, tasks
from .results import Results, Table, Target
from .rounds import Scale, Tell, share, take_turns_async

TITLE: Final = "HTTP, async"
AT_ONCE: Final = (1, 32, 128)
GET_32: Final = "http-async-get-32"
TARGETS: Final = (
    Target("async typed GET at 32, against bare aiohttp with pydantic", GET_32, "playcall", "aiohttp", at_most=1.35),
    Target("async typed GET at 1, against bare aiohttp", "http-async-get-1", "playcall", "aiohttp", at_most=1.4),
    Target("async typed GET at 32: throughput against httpx2", GET_32, "httpx2", "playcall", at_least=3),
    Target("async typed GET at 32: throughput against the openai SDK", GET_32, "openai", "playcall", at_least=5),
    Target("async typed GET at 32: throughput against httpx", GET_32, "httpx", "playcall", at_least=8),
)

HEADERS: Final = {"X-API-Key": KEY}
POST_HEADERS: Final = {**HEADERS, "Content-Type": "application/json"}


class OpenAIItem(openai.BaseModel, Item):
    """`Item`, as the SDK wants its models."""


def measure(scale: Scale, tell: Tell) -> Results:
    pin_client()
    return asyncio.run(_measure(scale, tell))


async def _measure(scale: Scale, tell: Tell) -> Results:
    results = Results()
    with Child("plain") as server:
        async with _contestants(f"http://127.0.0.1:{server.port}") as verbs:
            todo = [(verb, at_once) for verb in verbs for at_once in AT_ONCE]
            for number, (verb, at_once) in enumerate(todo):
                turns = {name: tasks(at_once, once) for name, once in verbs[verb].items()}
                with server.watched() as busy:
                    rows = await take_turns_async(turns, scale, share(tell, number, len(todo)))
                table = Table(
                    f"http-async-{verb.lower()}-{at_once}",
                    f"one typed {verb}, {at_once} at once",
                    "µs a call",
                    rows,
                    against="aiohttp",
                    note=f"The server was busy for {busy():.0%} of the time.",
                )
                results.tables.append(table)
    return results


@asynccontextmanager
async def _contestants(url: str) -> AsyncGenerator[Mapping[str, Mapping[str, AsyncOnce]]]:
    """By verb and name."""
    item = f"{url}/item"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        api = await stack.enter_async_context(BaseAPIClient(url, auth=ApiKey(KEY), max_concurrency=max(AT_ONCE)))
        two = await stack.enter_async_context(httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)))
        one = await stack.enter_async_context(httpx.AsyncClient(limits=httpx.Limits(max_connections=None)))
        sdk = await stack.enter_async_context(openai.AsyncOpenAI(base_url=url, api_key=KEY))

        async def aiohttp_get() -> Item:
            async with session.get(item, headers=HEADERS) as response:
                return Item.model_validate_json(await response.read())

        async def aiohttp_post() -> Item:
            async with session.post(item, headers=POST_HEADERS, data=NEW.model_dump_json().encode()) as response:
                return Item.model_validate_json(await response.read())

        async def playcall_get() -> Item:
            return await api.get("/item", into=Item)

        async def playcall_post() -> Item:
            return await api.post("/item", json=NEW, into=Item)

        async def httpx2_get() -> Item:
            return Item.model_validate_json((await two.get(item, headers=HEADERS)).content)

        async def httpx2_post() -> Item:
            answer = await two.post(item, headers=POST_HEADERS, content=NEW.model_dump_json())
            return Item.model_validate_json(answer.content)

        async def httpx_get() -> Item:
            return Item.model_validate_json((await one.get(item, headers=HEADERS)).content)

        async def httpx_post() -> Item:
            answer = await one.post(item, headers=POST_HEADERS, content=NEW.model_dump_json())
            return Item.model_validate_json(answer.content)

        async def openai_get() -> Item:
            return await sdk.get("/item", cast_to=OpenAIItem)

        async def openai_post() -> Item:
            return await sdk.post("/item", cast_to=OpenAIItem, body=NEW.model_dump(mode="json"))

        yield {
            "GET": {
                "aiohttp": aiohttp_get,
                "playcall": playcall_get,
                "httpx2": httpx2_get,
                "httpx": httpx_get,
                "openai": openai_get,
            },
            "POST": {
                "aiohttp": aiohttp_post,
                "playcall": playcall_post,
                "httpx2": httpx2_post,
                "httpx": httpx_post,
                "openai": openai_post,
            },
        }
