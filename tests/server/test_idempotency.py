"""A command with a key is done once, however often it is sent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import select

from playcall.server.command import Command, IdempotencyKey, Replayed
from playcall.server.context import Deadline
from playcall.server.store.tables import UserRow

from .conftest import Api

KEY = {"Idempotency-Key": "order-1"}
STEP = {"id": "s", "type": "standard", "agent": "a", "operation": "report"}


async def test_a_repeated_command_gets_the_first_answer_and_has_one_effect(api: Api) -> None:
    first = await api("POST", "/agents", json={"name": "a"}, headers=KEY)
    again = await api("POST", "/agents", json={"name": "a"}, headers=KEY)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status, again.json) == (first.status, first.json) == (201, first.json)
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert len(await api.events("agents")) == 1


async def test_duplicates_in_flight_wait_and_replay(api: Api) -> None:
    answers = await asyncio.gather(*(api("POST", "/agents", json={"name": "a"}, headers=KEY) for _ in range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7


async def test_a_key_with_another_body_is_refused(api: Api) -> None:
    await api("POST", "/agents", json={"name": "a"}, headers=KEY)
    answer = await api("POST", "/agents", json={"name": "b"}, headers=KEY)
    assert (answer.status, answer.json["code"]) == (422, "idempotency_key_reused")


async def test_a_key_is_the_callers_the_methods_and_the_paths_own(api: Api) -> None:
    agent = (await api("POST", "/agents", json={"name": "a"}, headers=KEY)).json
    assert (await api("PATCH", f"/agents/{agent['id']}", json={"type": "x"}, headers=KEY)).json["version"] == 2
    other = await api.other()
    theirs = await other("POST", "/agents", json={"name": "a"}, headers=KEY)
    assert "Idempotency-Replayed" not in theirs.headers


async def test_a_refused_command_leaves_no_key(api: Api) -> None:
    refused = await api("POST", "/agents", json={"name": "a", "tools": ["later"]}, headers=KEY)
    assert refused.status == 422
    await api.tool("later")
    assert (await api("POST", "/agents", json={"name": "a", "tools": ["later"]}, headers=KEY)).status == 201


async def test_a_deletion_replays_its_empty_answer(api: Api) -> None:
    agent = await api.agent()
    for _ in range(2):
        answer = await api("DELETE", f"/agents/{agent['id']}", headers=KEY)
        assert (answer.status, answer.json) == (204, b"")


async def test_a_key_is_short_and_plain(api: Api) -> None:
    for key in ("x" * 256, "\u00e9"):
        answer = await api("POST", "/agents", json={"name": "a"}, headers={"Idempotency-Key": key})
        assert (answer.status, answer.json["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize(
    ("path", "body"), [("/agents", {"json": {"name": "late"}}), ("/auth/api-keys", {"json": {"name": "late"}})]
)
async def test_a_caller_waits_for_other_writers_no_longer_than_its_deadline(
    api: Api, path: str, body: dict[str, Any]
) -> None:
    async def hold() -> None:
        async with api.server.core.database.write() as tx:
            # On SQLite every writer waits for this one; on PostgreSQL those who refer to the user.
            await tx.session.execute(select(UserRow.id).where(UserRow.id == api.user.id).with_for_update())
            holding.set()
            await asyncio.to_thread(release.wait)

    holding, release = threading.Event(), threading.Event()
    held = asyncio.create_task(api.server.acall(hold()))
    try:
        await asyncio.to_thread(holding.wait)
        async with asyncio.timeout(10):
            answer = await api("POST", path, headers={"X-Request-Timeout-Ms": "300"}, **body)
    finally:
        release.set()
        await held
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    assert "late" not in str(await api.ok("GET", path))


@pytest.mark.parametrize("ends", ["commits", "fails"])
async def test_a_duplicate_waits_for_whoever_holds_the_key_and_takes_it_over_if_that_fails(api: Api, ends: str) -> None:
    database = api.server.core.database
    key = IdempotencyKey.of(caller_id=api.user.id, method="POST", path="/p", query="", key="k").with_body("same")
    done: list[str] = []

    async def run(name: str) -> str:
        command = Command(database, Deadline.after(20), key)
        try:
            async with command.begin() as tx:
                await tx.session.execute(select(UserRow.id).limit(1))
                if name == "first":
                    holding.set()
                    await released.wait()
                    if ends == "fails":
                        raise RuntimeError("no")
                done.append(name)
                command.answer(None, status=204)
        except Replayed as replayed:
            return f"replayed {replayed.response.status_code}"
        except RuntimeError:
            return "failed"
        return "done"

    async def both() -> list[str]:
        first = asyncio.create_task(run("first"))
        await holding.wait()
        second = asyncio.create_task(run("second"))
        await asyncio.sleep(0.05)  # it waits now; if it does not yet, the outcome is the same
        assert not second.done()
        released.set()
        return await asyncio.gather(first, second)

    holding, released = asyncio.Event(), asyncio.Event()
    ended = await api.server.acall(both())
    assert ended == (["done", "replayed 204"] if ends == "commits" else ["failed", "done"])
    assert done == (["first"] if ends == "commits" else ["second"])


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        ("/agents", {"name": "a"}),
        ("/tools", {"name": "a", "kind": "http", "url": "https://tools.example/a"}),
        ("/playbooks", {"name": "a", "agents": ["a"], "steps": [STEP]}),
    ],
)
async def test_of_changes_to_the_same_version_at_the_same_time_one_is_made(
    api: Api, path: str, spec: dict[str, Any]
) -> None:
    if path == "/playbooks":
        await api.agent("a", (await api.tool())["name"])
    created = await api("POST", path, json=spec)
    assert created.status == 201, created
    where, etag = f"{path}/{created.json['id']}", created.headers["ETag"]
    answers = await asyncio.gather(
        *(api("PATCH", where, json={"description": str(n)}, headers={"If-Match": etag}) for n in range(6))
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412, 412]
    if path == "/playbooks":
        return  # those want the version with each change
    unconditional = await asyncio.gather(*(api("PATCH", where, json={"description": f"u{n}"}) for n in range(6)))
    assert sorted(answer.json["version"] for answer in unconditional) == list(range(3, 9))
