"""One prompt, asked at a real OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.engine.asking import ask
from playcall.server.engine.prompts import ModelEndpoint, ModelTool, Prompt
from playcall.server.tools import ToolFailure

from ...openai_server import (
    KEY,
    OpenAIServer,
    Turn,
    breaks_off,
    calls,
    fails_inside,
    refuses,
    says,
    stalls,
    talks_nonsense,
)

ROOT = Path(__file__).parents[3]
Heard = list[tuple[int, int, str]]


def endpoint(server: OpenAIServer, **fields: Any) -> ModelEndpoint:
    known: dict[str, Any] = {
        "base_url": server.url, "api_key": KEY, "models": (), "silence_seconds": 20.0, "max_tokens": 100, "max_rounds": 4,
    }  # fmt: skip
    return ModelEndpoint(**{**known, **fields})


@asynccontextmanager
async def asked(
    *script: Turn, tools: tuple[ModelTool, ...] = (), model: str = "small", **fields: Any
) -> AsyncIterator[tuple[OpenAIServer, Heard, asyncio.Task[JsonObject]]]:
    heard: Heard = []
    async with OpenAIServer(*script) as server:
        prompt = Prompt(model, "Be brief.", "Say it", tools, lambda *piece: heard.append(piece))
        task = asyncio.create_task(ask(endpoint(server, **fields), prompt, key="run:step:0"))
        try:
            yield server, heard, task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ToolFailure):
                await task


def recorder(name: str, calls: list[tuple[JsonObject, str]], give: Callable[[JsonObject], Any]) -> ModelTool:
    async def call(parameters: JsonObject, key: str) -> Any:
        calls.append((parameters, key))
        return give(parameters)

    return ModelTool(name, f"Does {name}", {"type": "object", "properties": {"n": {"type": "integer"}}}, call)


async def test_an_answer_is_told_piece_by_piece_and_whole_in_the_end() -> None:
    async with asked(says("It ", "is ", "said.")) as (server, heard, task):
        assert await task == {
            "text": "It is said.",
            "model": "small",
            "usage": {"input_tokens": 7, "output_tokens": 3, "requests": 1},
        }
        assert heard == [(1, 0, "It "), (1, 3, "is "), (1, 6, "said.")]
        assert server.requests[0]["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Say it"},
        ]
        assert server.requests[0]["max_completion_tokens"] == 100
        assert server.complaints == []


async def test_tools_are_called_in_order_with_keys_that_their_place_gives_and_answer_the_model() -> None:
    called: list[tuple[JsonObject, str]] = []
    tool = recorder("a.double", called, lambda p: {"twice": 2 * p["n"]})
    script = (
        calls(("a_double", {"n": 1}), ("a_double", {"n": 2}), saying="Let me see."),
        calls(("a_double", {"n": 3})),
    )
    async with asked(*script, says("12"), tools=(tool,)) as (server, heard, task):
        output = await task
    assert output["text"] == "12"
    assert output["usage"]["requests"] == 3
    assert called == [({"n": 1}, "run:step:0:1:0"), ({"n": 2}, "run:step:0:1:1"), ({"n": 3}, "run:step:0:2:0")]
    assert heard == [(1, 0, "Let me see."), (3, 0, "12")]
    told = [m["content"] for m in server.requests[2]["messages"] if m["role"] == "tool"]
    assert told == ['{"twice":2}', '{"twice":4}', '{"twice":6}']
    assert server.requests[0]["tools"][0]["function"]["description"] == "Does a.double"
    assert server.complaints == []


async def test_a_tool_that_fails_is_told_to_the_model_which_goes_on() -> None:
    def fail(parameters: JsonObject) -> Any:
        raise ToolFailure("not_found", "nothing is there")

    async with asked(calls(("t", {})), says("sorry"), tools=(recorder("t", [], fail),)) as (server, _, task):
        assert (await task)["text"] == "sorry"
    (answer,) = [m for m in server.requests[1]["messages"] if m["role"] == "tool"]
    assert "not_found: nothing is there" in answer["content"]


@pytest.mark.parametrize("call", [("nobody", {}), ("t", '{"n": '), ("t", "[1]")])
async def test_a_call_that_makes_no_sense_is_told_to_the_model_which_may_do_better(call: tuple[str, Any]) -> None:
    called: list[tuple[JsonObject, str]] = []
    tool = recorder("t", called, lambda p: "done")
    async with asked(calls(call), calls(("t", {"n": 1})), says("ok"), tools=(tool,)) as (_, _, task):
        assert (await task)["text"] == "ok"
    assert [parameters for parameters, _ in called] == [{"n": 1}]


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (refuses(429, "slow down", code="rate_limit_exceeded"), "model_rate_limited"),
        (refuses(500), "model_unavailable"),
        (refuses(503), "model_unavailable"),
        (refuses(401, f"Incorrect API key provided: {KEY}"), "model_unavailable"),
        (refuses(400, "bad"), "model_refused"),
        (refuses(400, "too long", code="context_length_exceeded"), "model_limit"),
        (breaks_off("half an "), "model_unavailable"),
        (breaks_off("half an ", politely=True), "model_unavailable"),
        (talks_nonsense(), "model_unavailable"),
        (talks_nonsense("<html>hello</html>"), "model_unavailable"),
        (fails_inside("half an "), "model_unavailable"),
        (fails_inside("half an ", code="rate_limit_exceeded"), "model_rate_limited"),
        (says("half an ", finish="length"), "model_limit"),
        (says(finish="length"), "model_limit"),
        (says(finish="content_filter"), "model_refused"),
        (says("x" * 1_500, "x" * 1_500), "model_limit"),
        (calls(("t", "1" * 3_000)), "model_limit"),
        (calls(("t", {})), "model_limit"),
    ],
)
async def test_what_goes_wrong_has_a_code_of_its_own_is_asked_once_and_shows_no_key(turn: Turn, code: str) -> None:
    tool = recorder("t", [], lambda p: "again")
    async with asked(turn, tools=(tool,)) as (server, _, task):
        with pytest.raises(ToolFailure) as failure:
            await task
    assert failure.value.code == code, failure.value
    assert KEY not in str(failure.value)
    assert server.url not in str(failure.value)
    assert len(server.requests) in (1, 4)
    assert (len(server.requests) == 4) == ("rounds" in str(failure.value))


async def test_an_unknown_model_is_refused_by_its_name() -> None:
    async with asked(says("x"), model="large") as (_, _, task):
        with pytest.raises(ToolFailure, match="no model 'large'") as failure:
            await task
    assert failure.value.code == "model_refused"


async def test_a_silent_endpoint_is_given_up() -> None:
    async with asked(stalls("one "), silence_seconds=0.2) as (server, _, task):
        with pytest.raises(ToolFailure, match=r"silent for more than 0\.2 s") as failure:
            await task
        assert failure.value.code == "model_unavailable"
        async with asyncio.timeout(10):
            await server.hung_up.wait()


async def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    async with OpenAIServer(says("x")) as server:
        gone = endpoint(server)
    with pytest.raises(ToolFailure) as failure:
        await ask(gone, Prompt("small", "", "x", (), lambda *piece: None), key="k")
    assert failure.value.code == "model_unavailable"


async def test_cancelling_closes_the_connection_at_once() -> None:
    async with asked(stalls("one ")) as (server, heard, task):
        async with asyncio.timeout(10):
            await server.asked.wait()
            while not heard:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.hung_up.wait()


async def test_cancelling_in_the_middle_of_a_tool_stops_the_tool() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def call(parameters: JsonObject, key: str) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with asked(calls(("t", {})), tools=(ModelTool("t", "", {"type": "object"}, call),)) as (_, _, task):
        async with asyncio.timeout(10):
            await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped.is_set()


async def test_nul_and_half_characters_do_not_reach_what_is_stored() -> None:
    async with asked(says("a\0b", "\ud83d", "c")) as (_, heard, task):
        text = (await task)["text"]
    assert "\0" not in text
    text.encode()
    assert "".join(piece for _, _, piece in heard).encode()


ALONE = """
import asyncio, sys
called = []
sys.addaudithook(lambda name, found: called.append(found) if name in ("socket.connect", "socket.getaddrinfo") else None)
from tests.openai_server import KEY, OpenAIServer, calls, says
import playcall.server.app
assert not {"pydantic_ai", "openai"} & sys.modules.keys(), "nobody has asked anything yet"
from playcall.server.engine.asking import ask
from playcall.server.engine.prompts import ModelEndpoint, ModelTool, Prompt

async def main():
    async def act(parameters, key):
        return 1
    async with OpenAIServer(calls(("t", {})), says("done")) as server:
        endpoint = ModelEndpoint(server.url, KEY, (), 20, 100, 4)
        tool = ModelTool("t", "", {"type": "object"}, act)
        print(await ask(endpoint, Prompt("small", "", "x", [tool], print), key="k"))
        assert server.complaints == []
asyncio.run(main())
hosts = {str(found[1][0] if isinstance(found[1], tuple) else found[0]) for found in called}
assert hosts == {"127.0.0.1"}, hosts
"""


async def test_nobody_is_called_but_the_endpoint_and_nothing_is_loaded_before_it_is_asked() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        ALONE,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert b"done" in out
