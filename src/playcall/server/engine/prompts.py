"""What a prompt is: which operations are prompts, whom they may be asked of, what is sent, and what comes of the answer.

Nothing here asks anybody: `asking` does, and is loaded when the first prompt is.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...models import JsonObject
from ..settings import Settings
from ..tools.context import printable

__all__ = [
    "ModelEndpoint",
    "ModelTool",
    "Prompt",
    "call_key",
    "function_names",
    "is_prompt",
    "output_of",
    "user_text",
]

_TOOL_LIKE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
"""Words with dots between them, and no space: a tool's name, be there such a tool or not."""
_FUNCTION_CHARACTERS = 64
"""What OpenAI-compatible endpoints take as a function's name, of letters, digits, `_` and `-`."""
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


def is_prompt(operation: str, *, agent_model: str | None, agent_tools: Collection[str], known: Collection[str]) -> bool:
    """Whether an agent's operation is a prompt for its model.

    What names a tool of the agent's is that tool; and what could be the name of one that it lacks is a mistake, not a
    prompt: the name of a registered tool (`known`), or words with dots between them.
    """
    if agent_model is None or operation in agent_tools:
        return False
    return operation not in known and not _TOOL_LIKE.fullmatch(operation)


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """The operator's endpoint, and what one prompt may use of it. Without `base_url` there is none.

    Attributes:
        models: The names that agents may have; empty: whatever the endpoint knows.
        silence_seconds: The longest wait for the next piece of an answer.
        max_tokens: Of one answer.
        max_rounds: Requests of one prompt: each but the last calls tools.
    """

    base_url: str | None
    api_key: str | None = field(repr=False)
    models: tuple[str, ...]
    silence_seconds: float
    max_tokens: int
    max_rounds: int

    @classmethod
    def of(cls, settings: Settings) -> ModelEndpoint:
        return cls(
            base_url=settings.model_base_url,
            api_key=settings.model_api_key,
            models=settings.models,
            silence_seconds=settings.model_silence_seconds,
            max_tokens=settings.max_model_tokens,
            max_rounds=settings.max_model_rounds,
        )

    def refusal(self, model: str) -> str | None:
        """Why no prompt can be asked of `model` here, and what to do; None if one can."""
        if self.base_url is None:
            return (
                "this server has no model configured: start it with --model-base-url, or use an operation that is one "
                "of the agent's tools"
            )
        if importlib.util.find_spec("pydantic_ai") is None or importlib.util.find_spec("openai") is None:
            return "this server cannot ask models: it was installed without them (pip install 'playcall[server,llm]')"
        if self.models and model not in self.models:
            return f"this server does not offer the model {model!r}; it offers: {', '.join(self.models)}"
        return None


@dataclass(frozen=True, slots=True)
class ModelTool:
    """A tool as a model is told of it. `call` takes the parameters and the key of the call (see `call_key`)."""

    name: str
    description: str
    parameters: JsonObject
    # An output is whatever JSON holds.
    call: Callable[[JsonObject, str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """`said` is called with each piece of text as it comes: round (from 1), offset within the round, text."""

    model: str
    instructions: str
    text: str
    tools: Sequence[ModelTool]
    said: Callable[[int, int, str], None]


def user_text(operation: str, parameters: JsonObject) -> str:
    """The operation, and after it the parameters as JSON, if there are any (docs/agents.md, «Prompts»)."""
    if not parameters:
        return operation
    return f"{operation}\n\nParameters (JSON):\n{json.dumps(parameters, ensure_ascii=False, indent=2)}"


def output_of(text: str, *, model: str, input_tokens: int, output_tokens: int, requests: int) -> JsonObject:
    """`text`, what it took, and `json` where the whole text is a JSON object, be it in a Markdown fence."""
    text = storable(text)
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens, "requests": requests}
    output: JsonObject = {"text": text, "model": model, "usage": usage}
    fenced = _FENCED.fullmatch(text)
    try:
        value: object = json.loads(fenced[1] if fenced else text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return output
    return {**output, "json": value} if isinstance(value, dict) else output


def storable(text: str) -> str:
    """Without what no database keeps in JSON: NUL, and halves of surrogate pairs."""
    return printable(text).replace("\0", "\ufffd")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def function_names(tools: Iterable[str]) -> dict[str, str]:
    """For each tool the name that a model calls it by: `text.stats` is `text_stats` there, and no two are the same."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for tool in tools:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", tool)[:_FUNCTION_CHARACTERS]
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain[: _FUNCTION_CHARACTERS - len(str(number)) - 1]}_{number}"
        taken.add(name)
        names[tool] = name
    return names


def call_key(key: str, round: int, index: int) -> str:
    """The idempotency key of a tool's call: its prompt's own, then the round and the call's place in it, from 1 and 0.

    The same when a crash makes the prompt be asked again, and the model calls the same tools in the same order.
    """
    return f"{key}:{round}:{index}"
