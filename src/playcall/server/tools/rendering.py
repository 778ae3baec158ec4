"""Rendering templates from the server's loop: at once where a template only names values, else in a bounded process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from ...models import JsonObject
from . import templating
from .bounded import BrokenOff, bounded
from .json_kinds import is_list, is_object
from .templating import TemplateProblem, has_marks, is_plain, references, render_text, render_value

__all__ = ["RENDER_SECONDS", "render_template", "render_templates"]

RENDER_SECONDS = 20.0
"""The longest rendering, whatever else limits it."""
_MODULE = Path(templating.__file__)
_METHODS = frozenset(["items", "keys", "values", "get"])
_PATHS = sorted({str(Path(file).parents[1]) for file in (jinja2.__file__, markupsafe.__file__)})


async def render_templates(
    value: Any,
    names: Mapping[str, Any],
    *,
    seconds: float | None = None,
    slot: AbstractAsyncContextManager[None] | None = None,
) -> Any:
    """`value` with every template in its strings rendered, as `templating.render_value` does it.

    Args:
        seconds: For less time than `RENDER_SECONDS`.
        slot: Held while a process is needed.

    Raises:
        TemplateProblem: it cannot be read or rendered, or takes too much time or memory.
    """
    at_once, needed = await asyncio.to_thread(_look, value, names)
    if at_once:
        return await asyncio.to_thread(render_value, value, names)
    async with slot or nullcontext():
        return await _apart({"value": value, "names": needed}, min(seconds or RENDER_SECONDS, RENDER_SECONDS))


async def render_template(template: str, names: Mapping[str, Any]) -> str:
    """The rendered text.

    Raises:
        TemplateProblem: as `render_templates`.
    """
    at_once, needed = await asyncio.to_thread(_look, template, names)
    if at_once:
        return await asyncio.to_thread(render_text, template, names)
    return str(await _apart({"template": template, "names": needed}, RENDER_SECONDS))


async def _apart(job: JsonObject, seconds: float) -> Any:
    try:
        answer: JsonObject = await bounded(_MODULE, job, seconds=seconds, paths=_PATHS)
    except TimeoutError:
        raise TemplateProblem(f"rendering took longer than {seconds:g} s") from None
    except BrokenOff:
        raise TemplateProblem("rendering took more memory or time than a template may") from None
    if "problem" in answer:
        raise TemplateProblem(answer["problem"])
    return answer["value"]


def _look(value: Any, names: Mapping[str, Any]) -> tuple[bool, JsonObject]:
    """Whether it can be rendered at once; and of the names those that it needs: the rest can be many megabytes."""
    templates = list(_templates_in(value))
    if all(is_plain(template) for template in templates):
        return True, {}
    found: set[tuple[str, ...]] = set()
    for template in templates:
        found |= references(template)
    needed: JsonObject = {}
    for name in {path[0] for path in found} & names.keys():
        holder = names[name]
        keys = {path[1] if len(path) > 1 else None for path in found if path[0] == name}
        # What is no key is a method (`inputs.items()`), or missing, which the template itself is to say.
        if is_object(holder) and all(key in holder and key not in _METHODS for key in keys):
            needed[name] = {key: value for key, value in holder.items() if key in keys}
        else:
            needed[name] = holder
    return False, needed


def _templates_in(value: Any) -> Iterator[str]:
    if is_object(value):
        for item in value.values():
            yield from _templates_in(item)
    elif is_list(value):
        for item in value:
            yield from _templates_in(item)
    elif isinstance(value, str) and has_marks(value):
        yield value
