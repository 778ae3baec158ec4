"""Never run, only type-checked, by mypy strict and basedpyright strict: the types that users of both faces see.

A line that must be an error carries both checkers' ignores; an ignore that ignores nothing is itself an error
(`warn_unused_ignores`, `reportUnnecessaryTypeIgnoreComment`), so a wrong call that is accepted is seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

from pydantic import BaseModel

from playcall import (
    ApiKey,
    AsyncPlaycall,
    BaseAPIClient,
    BearerToken,
    BlockingAPIClient,
    Cursor,
    Envelope,
    FormLogin,
    NextCursor,
    OAuth2Password,
    OffsetLimit,
    PageNumber,
    Playcall,
    PostedFilter,
    ResourceService,
    RetryPolicy,
    RunSnapshot,
    Unpaged,
    deadline,
)
from playcall.answer import RawAnswer
from playcall.blocking_iterator import BlockingIterator
from playcall.errors import NotFoundError
from playcall.faces import Awaiting, Blocking, FaceT, call
from playcall.models.agent import Agent, AgentSpec
from playcall.models.event import AnyEvent
from playcall.models.playbook import Playbook
from playcall.models.run import Run
from playcall.models.tool import ToolResult
from playcall.services.api_client import APIClient
from playcall.services.page_positions import PageSeen, Position
from playcall.services.playbook_service import PlaybookService
from playcall.status import BlockingMonitor, ConnectionState, Monitor, Status


class Item(BaseModel):
    name: str


def blocking() -> None:
    with Playcall("http://h", auth=ApiKey("k"), deadline_seconds=3, retry=RetryPolicy(attempts=4)) as client:
        assert_type(client, Playcall)
        assert_type(client.playbooks, PlaybookService[Blocking])
        assert_type(client.playbooks.get("p"), Playbook)
        assert_type(client.playbooks.get.raw("p"), RawAnswer[Playbook])
        assert_type(client.playbooks.get("p", known=client.playbooks.get("p")), Playbook)
        assert_type(client.playbooks.run("p", inputs={"a": 1}, idempotency_key="k"), Run)
        assert_type(client.playbooks.list(tag="t"), BlockingIterator[Playbook])
        for playbook in client.playbooks.list():
            assert_type(playbook, Playbook)
        assert_type(client.agents.create(AgentSpec(name="a")), Agent)
        assert_type(client.agents.delete("a"), None)
        assert_type(client.tools.execute("t", {"a": 1}), ToolResult)
        for item in client.runs.watch("r", start=Cursor("e", 1)):
            assert_type(item, RunSnapshot | AnyEvent)
        with client.runs.live("r") as live:
            assert_type(live.value, Run)
            assert_type(live.changes(), Iterator[Run])
        assert_type(client.events.history("tasks", "start", Cursor("e", 9)), BlockingIterator[AnyEvent])
        assert_type(client.status.current, Status)
        assert_type(client.status.current.state, ConnectionState)
        assert_type(client.status.wait_until_ready(5), Status)
        assert_type(client.status.monitor(3), BlockingMonitor)
        assert_type(client.with_options(deadline_seconds=None), Playcall)
        with deadline(5):
            client.account.me()

        client.playbooks.get.raw(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.playbooks.get(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.playbooks.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.playbooks.get("p").nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # noqa: B018
        client.playbooks.gte("p")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        client.playbooks.list(tga="t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.playbooks.run("p", {"a": 1})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.runs.live(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.runs.watch("r", start="beginning")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.with_options(attempts=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        for playbook in client.playbooks.list():
            playbook.nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # noqa: B018
    Playcall("http://h", auth="key")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Playcall("http://h", timeout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def awaiting() -> None:
    async with AsyncPlaycall("http://h", auth=OAuth2Password("me", "pw")) as client:
        assert_type(client, AsyncPlaycall)
        assert_type(client.playbooks, PlaybookService[Awaiting])
        assert_type(await client.playbooks.get("p"), Playbook)
        assert_type(await client.playbooks.get.raw("p"), RawAnswer[Playbook])
        assert_type(await client.playbooks.run("p"), Run)
        assert_type(client.playbooks.list(), AsyncIterator[Playbook])
        async for playbook in client.playbooks.list():
            assert_type(playbook, Playbook)
        async for item in client.runs.watch("r", on_gap="snapshot"):
            assert_type(item, RunSnapshot | AnyEvent)
        async with client.runs.live("r") as live:
            assert_type(live.value, Run)
            assert_type(live.changes(), AsyncIterator[Run])
        with client.runs.live("r"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
            pass
        assert_type(await client.status.wait_until_ready(), Status)
        assert_type(client.status.monitor(), Monitor)
        assert_type(client.with_options(retry=RetryPolicy()), AsyncPlaycall)

        await client.playbooks.get(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await client.playbooks.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.playbooks.get("p").name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # noqa: B018
        for _playbook in client.playbooks.list():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
            pass
        await client.runs.cancel("r", reason="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def verbs(api: BaseAPIClient, other: BlockingAPIClient) -> None:
    assert_type(await api.get("/x", into=Item), Item)
    assert_type(await api.get("/x", into=list[Item], params={"a": 1, "b": None}), list[Item])
    assert_type(await api.post("/x", json=Item(name="n"), into=Item | None), Item | None)
    assert_type(await api.delete("/x"), Any)
    assert_type(other.get("/x", into=dict[str, int]), dict[str, int])
    assert_type(other.patch("/x", json={}, into=Item), Item)

    assert_type(await api.get.raw("/x", into=Item), RawAnswer[Item])
    assert_type(other.get.raw("/x", into=Item), RawAnswer[Item])
    assert_type((await api.get.raw("/x", into=Item)).value, Item)
    assert_type(other.post("/x", content=b"", on_progress=lambda sent, total: None), Any)
    with other.stream("GET", "/x") as incoming:
        assert_type(incoming.read(), bytes)
    assert_type(other.download("/x", "file"), Path)
    assert_type(await api.download("/x", "file"), Path)

    await api.get("/x", inot=Item)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await api.get("/x", params={"a": [1, 2], "b": ("c",)})
    await api.get("/x", params={"a": {"b": 1}})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    other.get("/x", into=Item).nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # noqa: B018
    (await api.get("/x", into=Item)).nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # noqa: B018


async def foreign(api: BaseAPIClient, blocking_api: BlockingAPIClient) -> None:
    items: ResourceService[Item] = ResourceService(api, "/items", Item)
    assert_type(items, ResourceService[Item, Awaiting])
    assert_type(await items.get("1"), Item)
    assert_type(items.list(color="red"), AsyncIterator[Item])
    theirs = ResourceService(blocking_api, "/items", Item)
    assert_type(theirs, ResourceService[Item, Blocking])
    assert_type(theirs.get("1"), Item)
    assert_type(theirs.create({"name": "n"}), Item)
    assert_type(theirs.list(), BlockingIterator[Item])
    assert_type(theirs.get(1), Item)
    assert_type(theirs.replace(1, Item(name="n")), Item)
    assert_type(theirs.delete("1"), None)
    assert_type(theirs.list(tags=["a"], price={"max": 3}), BlockingIterator[Item])
    theirs.get(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class MissingError(NotFoundError):
    pass


class Items(ResourceService[Item, FaceT]):
    """A resource with a verb of its own, as docs/your-own-backend.md has it."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(api, "/items/", Item, paging=PageNumber(), errors={404: MissingError, "GONE": MissingError})

    @call
    async def lend(self: Items[Awaiting], id: int, *, to: str) -> Item:
        return await self._act(id, "lend", Item, body={"to": to})


class _Shop(APIClient[FaceT]):
    @property
    def items(self) -> Items[FaceT]:
        return Items(self)


class Shop(_Shop[Blocking], BlockingAPIClient):
    pass


class AsyncShop(_Shop[Awaiting], BaseAPIClient):
    pass


async def wrapped(shop: Shop, other: AsyncShop) -> None:
    assert_type(shop.items, Items[Blocking])
    assert_type(shop.items.lend(3, to="Bob"), Item)
    assert_type(shop.items.lend.raw(3, to="Bob"), RawAnswer[Item])
    assert_type(shop.items.list(color="red"), BlockingIterator[Item])
    assert_type(await other.items.lend(3, to="Bob"), Item)
    assert_type(other.items.list(), AsyncIterator[Item])
    assert_type(shop.with_options(errors={409: MissingError}), Shop)
    async with other as entered:
        assert_type(entered, AsyncShop)
    shop.items.lend("3", to="Bob")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.items.lend(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True)
class Mine:
    """A way of paging of a user's own."""

    items: str | None = None
    members: tuple[str, ...] = ()

    def first(self, size: int) -> Position:
        return {"at": 0, "size": size}

    def next(self, page: PageSeen, size: int) -> Position | None:
        return None if page.count == 0 else {"at": page.so_far, "size": size}


def settings_of_foreign_backends() -> None:
    with BlockingAPIClient(
        "http://h",
        auth=FormLogin("me", "pw", username_field="email", refused={401, 404}),
        envelope=Envelope(success="code", ok=(0, 200)),
        errors={404: MissingError},
    ) as api:
        for paging in (NextCursor(), PageNumber(), OffsetLimit(items=None), Unpaged(), PostedFilter(Mine()), Mine()):
            assert_type(ResourceService(api, "/items", Item, paging=paging), ResourceService[Item, Blocking])
        ResourceService(api, "/items", Item, paging=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ResourceService(api, "/items", Item, errors={404: ValueError})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
        PostedFilter(PostedFilter())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Envelope(ok=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        FormLogin("me")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def provider() -> str:
    return "t"


def tokens() -> None:
    BearerToken("t")
    BearerToken(lambda: "t")
    BearerToken(provider)
    BearerToken(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
