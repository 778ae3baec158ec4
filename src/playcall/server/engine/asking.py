"""Asking a model: one prompt, its tool calls and its answer, by pydantic-ai at the operator's OpenAI-compatible endpoint.

Importing this takes a second and needs the extra `llm`: whoever asks loads it then, and in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from typing import Any

from openai import AsyncOpenAI, Timeout
from pydantic_ai import (
    Agent,
    AgentStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    RunContext,
    TextPart,
    TextPartDelta,
    Tool,
    ToolCallPart,
    ToolCallPartDelta,
    UsageLimits,
)
from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelTimeoutError,
    OutputTokenLimitExceeded,
    ToolFailed,
    UsageLimitExceeded,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_core import SchemaValidator, core_schema

from playcall.server.telemetry import metrics

from ...models import JsonObject
from ..tools import ToolFailure
from .prompts import ModelEndpoint, ModelTool, Prompt, call_key, function_names, output_of, storable

__all__ = ["ask"]

_log = logging.getLogger("playcall.server.engine")

_CONNECT_SECONDS = 10.0
_CHARACTERS_PER_TOKEN = 20
"""More than any language needs: an endpoint that does not mind `max_tokens` is ended by this."""
_TOOL_ATTEMPTS = 3
"""Calls that cannot be read, or of a tool that is not there, in a row: the model is told, and may try again."""


async def ask(endpoint: ModelEndpoint, prompt: Prompt, *, key: str) -> JsonObject:
    """The prompt's output (see `output_of`). Cancelled, it closes the connection at once.

    Raises:
        ToolFailure: `model_rate_limited`, `model_unavailable`, `model_refused` or `model_limit`.
    """
    # One connection a prompt: it is closed with it, whatever happens, and a prompt takes seconds anyhow.
    async with AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or "none",
        max_retries=0,  # the step's `retry` says whether to try again
        timeout=Timeout(endpoint.silence_seconds, connect=_CONNECT_SECONDS),
    ) as client:
        provider = OpenAICompatibleProvider("playcall", openai_client=client)
        # A stream that breaks off must not pass for an answer that was short.
        profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
        model = OpenAIChatModel(prompt.model, provider=provider, profile=profile)
        counted = _Counted(key)
        names = function_names(tool.name for tool in prompt.tools)
        agent = Agent(
            model,
            name="playcall",
            system_prompt=prompt.instructions or (),
            tools=[_tool(tool, names[tool.name], counted) for tool in prompt.tools],
            retries=_TOOL_ATTEMPTS,
            model_settings={"max_tokens": endpoint.max_tokens},
        )
        heard = _Heard(prompt, endpoint.max_tokens * _CHARACTERS_PER_TOKEN)
        try:
            result = await agent.run(
                prompt.text,
                event_stream_handler=heard.listen,
                usage_limits=UsageLimits(request_limit=endpoint.max_rounds),
                infer_name=False,
            )
        except AgentRunError as error:
            raise _failure(error, endpoint, prompt.model) from None
        except ToolFailure:
            raise
        except Exception as error:
            # Ours or theirs: its text may hold what was sent, or the endpoint's address, and is nobody's to read.
            _log.warning("model_not_asked", extra={"error": type(error).__name__})
            reason = f"the model endpoint could not be asked: {type(error).__name__}"
            raise ToolFailure("model_unavailable", reason) from None
    if result.response.finish_reason == "length":
        raise _cut_off(endpoint)
    usage = result.usage
    metrics.MODEL_TOKENS.add("input", amount=usage.input_tokens)
    metrics.MODEL_TOKENS.add("output", amount=usage.output_tokens)
    return output_of(
        result.output,
        model=prompt.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        requests=usage.requests,
    )


class _Counted:
    """Numbers the tool calls of each round; they are made one after another."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._round = 0
        self._index = 0

    def next_key(self, round: int) -> str:
        self._index = self._index + 1 if round == self._round else 0
        self._round = round
        return call_key(self._key, round, self._index)


def _tool(tool: ModelTool, name: str, counted: _Counted) -> Tool[object]:
    async def call(context: RunContext[object], /, **parameters: Any) -> Any:
        """What goes wrong is told to the model, which may do better; `Any`: JSON goes in, JSON comes out."""
        try:
            return await tool.call(parameters, counted.next_key(context.run_step))
        except ToolFailure as failure:
            raise ToolFailed(f"{failure.code}: {failure.message}") from None

    made = Tool[object].from_schema(
        call, name=name, description=tool.description, json_schema=tool.parameters, takes_ctx=True, sequential=True
    )
    made.function_schema.validator = _OBJECT
    return made


_OBJECT = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))
"""All that pydantic-ai is to check of a call: it would take a list for an object. The tool checks the rest itself."""


class _Heard:
    """Passes on what the model says, as it says it."""

    def __init__(self, prompt: Prompt, max_characters: int) -> None:
        self._said = prompt.said
        self._left = max_characters
        self._round = 0
        self._offset = 0

    async def listen(self, context: RunContext[object], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            match event:
                case (
                    PartStartEvent(part=TextPart(content=text))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                ):
                    self._spend(text)
                    self._say(context.run_step, storable(text))
                case PartStartEvent(part=ToolCallPart(args=str(text))):
                    self._spend(text)
                case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=str(text))):
                    self._spend(text)
                case _:
                    pass

    def _say(self, round: int, text: str) -> None:
        if round != self._round:
            self._round, self._offset = round, 0
        if text:
            self._said(round, self._offset, text)
            self._offset += len(text)

    def _spend(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise ToolFailure("model_limit", "the model went on and on, beyond all that it was asked for")


def _cut_off(endpoint: ModelEndpoint) -> ToolFailure:
    return ToolFailure("model_limit", f"the model's answer was longer than {endpoint.max_tokens} tokens")


def _failure(error: Exception, endpoint: ModelEndpoint, model: str) -> ToolFailure:
    """Never with what was sent, nor with the endpoint's address or key: its users are not its operators."""
    match error:
        case UsageLimitExceeded():
            message = f"the model needed more than {endpoint.max_rounds} rounds: it went on calling tools"
            return ToolFailure("model_limit", message)
        case OutputTokenLimitExceeded():
            return _cut_off(endpoint)
        case ContentFilterError():
            return ToolFailure("model_refused", "the model's provider withheld the answer: its filter objected")
        case ModelRateLimitError():
            return ToolFailure("model_rate_limited", "the model endpoint takes no more for now; try again later")
        case ModelAuthenticationError():
            message = "the model endpoint does not accept this server's key: that is for the server's operator to mend"
            return ToolFailure("model_unavailable", message)
        case ModelNotFoundError():
            return ToolFailure("model_refused", f"the model endpoint knows no model {model!r}")
        case ModelContextWindowExceededError():
            return ToolFailure("model_limit", "the prompt, with what its tools gave, is longer than the model takes")
        case ModelRequestRejectedError():
            status = f" (status {error.status_code})" if isinstance(error, ModelHTTPError) else ""
            return ToolFailure("model_refused", f"the model endpoint refused the request{status}")
        case ModelTimeoutError():
            message = f"the model endpoint was silent for more than {endpoint.silence_seconds:g} s"
            return ToolFailure("model_unavailable", message)
        case ModelHTTPError():
            return ToolFailure("model_unavailable", f"the model endpoint answered {error.status_code}")
        case ModelAPIError():
            return ToolFailure("model_unavailable", "the model endpoint could not be reached, or broke off its answer")
        case _:
            return ToolFailure("model_unavailable", "the model endpoint answered what cannot be read")
