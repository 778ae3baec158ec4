"""A small OpenAI-compatible server on a real socket: `POST /v1/chat/completions`, streamed, saying what its script says.

    async with OpenAIServer(calls(("text_stats", {"text": "x"})), says("One ", "word.")) as server:
        ... server.url, server.requests, server.hung_up

Each request takes the next turn of the script; the last one is repeated. A turn is an async function that is given the
request's body and the open answer; `says`, `calls`, `refuses`, `stalls`, `breaks_off`, `talks_nonsense`, `fails_inside`
make the usual ones, `turns` one that depends on the request.

It is strict, as the real ones are: the key is right, nothing unknown is asked, each tool's name and schema are well
formed, and each answer to a tool call has its call before it. What is wrong is answered 4xx and kept in `complaints`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, Self

import jsonschema_rs
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = [
    "OpenAIServer", "Turn", "breaks_off", "calls", "fails_inside", "refuses", "says", "stalls", "talks_nonsense", "turns",
]  # fmt: skip

KEY = "sk-test-0123456789"
_ids = itertools.count(1)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Function(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str = ""
    parameters: dict[str, Any]
    strict: bool | None = None


class _ToolSpec(_Strict):
    type: Literal["function"]
    function: _Function


class _Called(_Strict):
    name: str
    arguments: str


class _ToolCall(_Strict):
    id: str
    type: Literal["function"]
    function: _Called


class _Said(_Strict):
    role: Literal["system", "user"]
    content: str


class _Assistant(_Strict):
    role: Literal["assistant"]
    content: str | None = None
    tool_calls: list[_ToolCall] = []


class _ToolAnswer(_Strict):
    role: Literal["tool"]
    tool_call_id: str
    content: str


class _Request(_Strict):
    model: str
    messages: list[Annotated[_Said | _Assistant | _ToolAnswer, Field(discriminator="role")]]
    stream: Literal[True]
    stream_options: dict[str, bool] = {}
    tools: list[_ToolSpec] = []
    tool_choice: Literal["auto"] = "auto"
    max_completion_tokens: int
    parallel_tool_calls: bool = True


class Answer:
    """The open answer to one request."""

    def __init__(self, request: web.Request, model: str) -> None:
        self.request = request
        self._id = f"chatcmpl-{next(_ids)}"
        self._model = model
        self._stream: web.StreamResponse | None = None

    async def raw(self, text: str) -> None:
        if self._stream is None:
            self._stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await self._stream.prepare(self.request)
        await self._stream.write(text.encode("utf-8", "surrogatepass"))

    async def chunk(self, delta: dict[str, Any] | None, *, finish: str | None = None, **fields: Any) -> None:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        body = {
            "id": self._id, "object": "chat.completion.chunk", "created": 1_790_000_000, "model": self._model,
            "choices": choices, **fields,
        }  # fmt: skip
        await self.raw(f"data: {json.dumps(body)}\n\n")

    async def end(self, finish: str) -> None:
        await self.chunk({}, finish=finish)
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        await self.chunk(None, usage=usage)
        await self.raw("data: [DONE]\n\n")

    def hang_up(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()

    def done(self) -> web.StreamResponse:
        return self._stream or web.Response(status=500)


Turn = Callable[[dict[str, Any], Answer], Awaitable[web.Response | None]]


def says(*pieces: str, finish: str = "stop") -> Turn:
    async def turn(body: dict[str, Any], answer: Answer) -> None:
        await answer.chunk({"role": "assistant", "content": ""})
        for piece in pieces:
            await answer.chunk({"content": piece})
        await answer.end(finish)

    return turn


def calls(*functions: tuple[str, Any], saying: str = "") -> Turn:
    """Calls of functions; what is no object is sent as the text of the arguments, as it stands."""

    async def turn(body: dict[str, Any], answer: Answer) -> None:
        await answer.chunk({"role": "assistant", "content": saying or None})
        for index, (name, arguments) in enumerate(functions):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            call = {"index": index, "id": f"call_{next(_ids)}", "type": "function"}
            await answer.chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
            for part in (text[:3], text[3:]):
                await answer.chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        await answer.end("tool_calls")

    return turn


def refuses(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Turn:
    async def turn(body: dict[str, Any], answer: Answer) -> web.Response:
        return _problem(status, message, code, headers)

    return turn


def stalls(*pieces: str) -> Turn:
    """Says something, and then nothing until the other end hangs up."""

    async def turn(body: dict[str, Any], answer: Answer) -> None:
        for piece in pieces:
            await answer.chunk({"content": piece})
        await asyncio.Event().wait()

    return turn


def breaks_off(*pieces: str, politely: bool = False) -> Turn:
    """In the middle of an answer: the connection is lost, or (`politely`) the stream just ends."""

    async def turn(body: dict[str, Any], answer: Answer) -> None:
        for piece in pieces:
            await answer.chunk({"content": piece})
        if not politely:
            answer.hang_up()

    return turn


def talks_nonsense(text: str = "data: {]\n\n") -> Turn:
    async def turn(body: dict[str, Any], answer: Answer) -> None:
        await answer.raw(text)

    return turn


def fails_inside(*pieces: str, code: str = "server_error") -> Turn:
    """An error object in the middle of a stream that had begun with 200."""

    async def turn(body: dict[str, Any], answer: Answer) -> None:
        for piece in pieces:
            await answer.chunk({"content": piece})
        await answer.raw(f"data: {json.dumps({'error': {'message': 'it broke', 'type': code, 'code': code}})}\n\n")

    return turn


def turns(choose: Callable[[dict[str, Any]], Turn]) -> Turn:
    async def turn(body: dict[str, Any], answer: Answer) -> web.Response | None:
        return await choose(body)(body, answer)

    return turn


class OpenAIServer:
    """`requests`: the bodies that were taken. `hung_up`: is set when a client leaves before its answer ends."""

    def __init__(self, *script: Turn, models: Sequence[str] = ("small",)) -> None:
        self.script = list(script)
        self.models = models
        self.requests: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.hung_up = asyncio.Event()
        self.asked = asyncio.Event()
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._answer)
        application.router.add_route("*", "/{path:.*}", self._elsewhere)
        self._server = TestServer(application, handler_cancellation=True)
        self.url = ""

    def begin(self, *script: Turn) -> None:
        """Another script, from its start; what was asked before is forgotten."""
        self.script = list(script)
        self.requests, self.complaints = [], []
        self.hung_up.clear()
        self.asked.clear()

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        self.url = str(self._server.make_url("/v1"))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._server.close()

    async def _elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.complaints.append(f"{request.method} {request.path}")
        return _problem(404, "there is nothing here", None, {})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refused = self._check(request, body)
        if refused is not None:
            self.complaints.append(str(refused.text))
            return refused
        turn = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(body)
        self.asked.set()
        answer = Answer(request, body["model"])
        try:
            return await turn(body, answer) or answer.done()
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise

    def _check(self, request: web.Request, body: Any) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            shown = request.headers.get("Authorization", "")
            return _problem(401, f"Incorrect API key provided: {shown}", "invalid_api_key", {})
        try:
            asked = _Request.model_validate(body)
        except ValidationError as error:
            return _problem(400, str(error), "invalid_request_error", {})
        if asked.model not in self.models:
            return _problem(404, f"The model {asked.model} does not exist", "model_not_found", {})
        for tool in asked.tools:
            try:
                jsonschema_rs.meta.validate(tool.function.parameters)
            except jsonschema_rs.ValidationError as error:
                return _problem(400, f"{tool.function.name}: {error}", "invalid_function_parameters", {})
        open_calls: set[str] = set()
        for message in asked.messages:
            if isinstance(message, _ToolAnswer):
                if message.tool_call_id not in open_calls:
                    return _problem(400, "an answer without its call", "invalid_request_error", {})
                open_calls.discard(message.tool_call_id)
            elif open_calls:
                return _problem(400, "a call without its answer", "invalid_request_error", {})
            elif isinstance(message, _Assistant):
                open_calls = {call.id for call in message.tool_calls}
        names = {tool.function.name for tool in asked.tools}
        if len(names) != len(asked.tools) or any(not re.match("[a-zA-Z]", name) for name in names):
            return _problem(400, "tools are told apart by their names", "invalid_request_error", {})
        return None


def _problem(status: int, message: str, code: str | None, headers: dict[str, str]) -> web.Response:
    error = {"message": message, "type": code or "error", "code": code, "param": None}
    return web.json_response({"error": error}, status=status, headers=headers)
