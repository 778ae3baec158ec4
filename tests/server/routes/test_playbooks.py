"""Playbooks: from JSON and from YAML, refused with the place of what is wrong."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from playcall.models import FieldProblem
from playcall.server.routes import playbooks
from playcall.server.store.tables import AgentRow, PlaybookRow

from ..conftest import Answer, Api

YAML = {"Content-Type": "application/yaml"}

TEXT = """\
name: Report
tags: [docs, weekly]
agents: [Writer]
steps:
  - id: write
    type: standard
    agent: Writer
    operation: report
"""


@pytest_asyncio.fixture(autouse=True)
async def _writer(api: Api) -> None:
    await api.tool("report")
    await api.agent("Writer", "report")


def spec(**fields: Any) -> dict[str, Any]:
    step = {"id": "write", "type": "standard", "agent": "Writer", "operation": "report"}
    return {"name": "Report", "agents": ["Writer"], "steps": [step], **fields}


async def post(api: Api, text: str) -> Answer:
    return await api("POST", "/playbooks", data=text.encode(), headers=YAML)


async def test_yaml_and_json_make_the_same_playbook(api: Api) -> None:
    first = await post(api, TEXT)
    second = await api("POST", "/playbooks", json=spec(name="Other", tags=["docs", "weekly"]))
    assert first.status == second.status == 201
    assert {**first.json, "name": "", "id": ""} | {k: second.json[k] for k in ("created_at", "updated_at")} == {
        **second.json, "name": "", "id": "",
    }  # fmt: skip
    assert (await api.ok("GET", f"/playbooks/{first.json['id']}")) == first.json


async def test_a_playbook_is_replaced_changed_and_deleted(api: Api) -> None:
    playbook = (await post(api, TEXT)).json
    path = f"/playbooks/{playbook['id']}"
    replaced = await api.ok("PUT", path, data=TEXT.replace("weekly", "daily").encode(), headers=YAML)
    assert (replaced["tags"], replaced["version"]) == (["docs", "daily"], 2)
    assert (await api.ok("PUT", path, data=TEXT.replace("weekly", "daily").encode(), headers=YAML))["version"] == 2
    patched = await api.ok("PATCH", path, json={"description": "all of it"})
    assert (patched["description"], patched["tags"], patched["version"]) == ("all of it", ["docs", "daily"], 3)
    assert (await api("DELETE", path)).status == 204
    assert [event["type"] for event in await api.events("playbooks")] == [
        "playbook.created", "playbook.changed", "playbook.changed", "playbook.deleted",
    ]  # fmt: skip


async def test_lists_search_by_text_tag_and_agent(api: Api) -> None:
    await api.ok("POST", "/playbooks", json=spec(name="A report", tags=["x"], description="100% done"))
    await api.ok("POST", "/playbooks", json=spec(name="Another", tags=["y"]))

    async def names(**params: str) -> list[str]:
        return [item["name"] for item in (await api.ok("GET", "/playbooks", params=params))["items"]]

    assert await names(q="REPORT") == ["A report"]
    assert await names(q="100%") == ["A report"]
    assert await names(q="%") == ["A report"], "a wildcard of the database is a plain character"
    assert await names(tag="y") == ["Another"]
    assert await names(agent="Writer") == ["A report", "Another"]
    assert await names(agent="Nobody") == []
    assert await names(tag="x", agent="Writer", q="done") == ["A report"]


async def test_what_is_wrong_in_yaml_has_line_and_column(api: Api) -> None:
    answer = await post(api, TEXT.replace("operation: report", "operation: [1]"))
    error = answer.json["errors"][0]
    assert (answer.status, answer.json["code"]) == (422, "playbook_invalid")
    assert (error["loc"], error["line"], error["column"]) == (["body", "steps", 0, "operation"], 8, 16)


async def test_what_is_missing_is_placed_where_it_is_missing_from(api: Api) -> None:
    answer = await post(api, TEXT.replace("    operation: report\n", ""))
    error = answer.json["errors"][0]
    assert (error["loc"], error["line"]) == (["body", "steps", 0, "operation"], 5)


async def test_an_agent_or_operation_that_does_not_exist_is_found_at_creation(api: Api) -> None:
    answer = await post(api, TEXT.replace("operation: report", "operation: dance"))
    assert answer.json["code"] == "playbook_invalid"
    assert ["body", "steps", 0, "operation"] in [error["loc"] for error in answer.json["errors"]]
    assert all(error["line"] for error in answer.json["errors"])
    assert (await api.ok("GET", "/playbooks"))["items"] == []


async def test_a_text_that_is_no_yaml_says_where(api: Api) -> None:
    answer = await post(api, "name: [a\nsteps: }")
    assert (answer.status, answer.json["code"]) == (422, "playbook_invalid")
    assert answer.json["errors"][0]["line"] == 2


async def test_a_step_type_that_does_not_exist_is_one_problem(api: Api) -> None:
    answer = await post(api, TEXT.replace("type: standard", "type: dance"))
    assert [error["loc"] for error in answer.json["errors"]] == [["body", "steps", 0, "type"]]


async def test_validate_tells_all_and_stores_nothing(api: Api) -> None:
    good = await api.ok("POST", "/playbooks/validate", data=TEXT.encode(), headers=YAML)
    assert good == {"valid": True, "errors": []}
    for text, line in (("a: ]", 1), ("name: x", 1), (TEXT.replace("operation: report", "operation: dance"), 8)):
        bad = await api.ok("POST", "/playbooks/validate", data=text.encode(), headers=YAML)
        assert (bad["valid"], bad["errors"][0]["line"]) == (False, line)
    assert (await api.ok("GET", "/playbooks"))["items"] == []


async def test_a_patch_is_judged_by_what_comes_of_it(api: Api) -> None:
    playbook = (await post(api, TEXT)).json
    answer = await api("PATCH", f"/playbooks/{playbook['id']}", json={"agents": ["Nobody"]})
    assert (answer.status, answer.json["code"]) == (422, "playbook_invalid")
    empty = await api("PATCH", f"/playbooks/{playbook['id']}", json={"steps": []})
    assert (empty.status, empty.json["errors"][0]["loc"]) == (422, ["body", "steps"])


async def test_a_name_is_taken_once(api: Api) -> None:
    await post(api, TEXT)
    answer = await post(api, TEXT)
    assert (answer.status, answer.json["code"]) == (409, "name_taken")


async def test_judging_holds_up_neither_the_server_nor_its_writers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens in a thread, with no transaction open: so it can wait for a write here without waiting for ever."""
    playbook = (await post(api, TEXT)).json
    written = 0

    def judge(*_args: object, **_kwargs: object) -> list[FieldProblem]:
        nonlocal written
        api.server.call(api.server.core.database.meta("epoch"))
        api.server.call(_write(api))
        written += 1
        return []

    monkeypatch.setattr("playcall.server.routes.playbooks.validate_playbook", judge)
    await api.ok("POST", "/playbooks/validate", json=spec())
    await api.ok("POST", "/playbooks", json=spec(name="another"))
    await api.ok("PUT", f"/playbooks/{playbook['id']}", json=spec(name="replaced"))
    await api.ok("PATCH", f"/playbooks/{playbook['id']}", json={"description": "changed"})
    assert written == 4


async def _write(api: Api) -> None:
    async with api.server.core.database.write() as tx:
        await tx.session.execute(select(AgentRow.id).limit(1))


async def test_a_call_that_was_answered_gets_its_answer_whatever_is_wrong_now(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await api("POST", "/playbooks", json=spec(), headers=key)
    patch_key = {"Idempotency-Key": "k2"}
    patched = await api("PATCH", f"/playbooks/{first.json['id']}", json={"description": "d"}, headers=patch_key)
    (agent,) = (await api.ok("GET", "/agents"))["items"]
    await api.ok("DELETE", f"/agents/{agent['id']}")
    again = await api("POST", "/playbooks", json=spec(), headers=key)
    assert (again.status, again.json) == (201, first.json)
    assert (await api("POST", "/playbooks", json=spec(name="b"))).status == 422
    await api.ok("DELETE", f"/playbooks/{first.json['id']}")
    again = await api("PATCH", f"/playbooks/{first.json['id']}", json={"description": "d"}, headers=patch_key)
    assert (again.status, again.json) == (200, patched.json)
    assert (await api("PATCH", f"/playbooks/{first.json['id']}", json={"description": "d"})).status == 404


@pytest.mark.parametrize(("changes", "status"), [(1, 200), (4, 200), (5, 503)])
async def test_a_patch_stores_what_was_judged(
    api: Api, monkeypatch: pytest.MonkeyPatch, changes: int, status: int
) -> None:
    """Somebody else changes the playbook while it is judged: then what comes of it is judged anew."""
    playbook = (await post(api, TEXT)).json
    left = changes

    async def change() -> None:
        async with api.server.core.database.write() as tx:
            row = (await tx.session.execute(select(PlaybookRow).where(PlaybookRow.id == playbook["id"]))).scalar_one()
            row.version += 1
            row.description = f"theirs {left}"

    def judge(*_args: object, **_kwargs: object) -> list[FieldProblem]:
        nonlocal left
        if left:
            left -= 1
            api.server.call(change())
        return []

    monkeypatch.setattr("playcall.server.routes.playbooks.validate_playbook", judge)
    answer = await api("PATCH", f"/playbooks/{playbook['id']}", json={"name": "mine"})
    assert answer.status == status
    if status == 200:
        assert (answer.json["name"], answer.json["description"]) == ("mine", "theirs 0")


async def test_a_document_is_bounded_in_bytes_and_in_problems(api: Api) -> None:
    large = await post(api, TEXT + f"description: {'x' * 262_144}\n")
    assert (large.status, large.json["code"]) == (413, "body_too_large")
    many = await api("POST", "/playbooks", json=spec(tags=[1] * 50_000))
    assert (many.status, len(many.json["errors"])) == (422, 100)
    many = await api("POST", "/agents", json={"name": "a", "tools": [1] * 50_000})
    assert (many.status, len(many.json["errors"])) == (422, 100)


async def test_many_documents_wait_for_each_other_and_not_beyond_their_deadline(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    with ThreadPoolExecutor(1) as judges:
        monkeypatch.setattr(playbooks, "_JUDGES", judges)
        judges.submit(done.wait)
        try:
            headers = {"X-Request-Timeout-Ms": "300"}
            answer = await api("POST", "/playbooks/validate", json=spec(), headers=headers)
        finally:
            done.set()
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")


async def test_a_playbook_of_two_thousand_steps_is_kept_and_told_without_them(api: Api) -> None:
    step = {"type": "standard", "agent": "Writer", "operation": "report", "parameters": {"text": "x" * 100}}
    large = spec(steps=[{**step, "id": f"s{n}"} for n in range(2_000)])
    made = await api.ok("POST", "/playbooks", json=large)
    assert len(made["steps"]) == len((await api.ok("GET", f"/playbooks/{made['id']}"))["steps"]) == 2_000
    small = await api.ok("PATCH", f"/playbooks/{made['id']}", json={"steps": [{**step, "id": "only"}]})
    first, second = await api.events("playbooks")
    assert first["data"] == {"playbook": {**made, "steps": []}, "steps_left_out": True}
    assert second["data"] == {"playbook": small, "steps_left_out": False}
