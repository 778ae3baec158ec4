"""`template.render`: text made of data."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext
from .definition import Parameters, tool
from .failure import ToolFailure
from .rendering import render_template
from .templating import TemplateProblem

__all__ = ["template_render"]


class RenderParameters(Parameters):
    """Exactly one of `template` and `template_path`; with `path`, the text is written there and becomes an artifact.

    A `template` in a playbook's parameters would be rendered by the playbook first: write it inside `{% raw %}` there.
    """

    template: str | None = None
    template_path: str | None = None
    data: Annotated[JsonObject, Field(default_factory=dict)]
    path: str | None = None
    media_type: str | None = None


@tool("template.render", RenderParameters)
async def template_render(parameters: RenderParameters, context: ToolContext) -> JsonObject:
    """Renders a Jinja2 template (sandboxed) with the given data, to text or to an artifact."""
    if (parameters.template is None) == (parameters.template_path is None):
        raise ToolFailure("parameters_invalid", "template.render takes either `template` or `template_path`")

    template = parameters.template
    if template is None:
        _, raw = await context.in_thread(context.read_bytes, parameters.template_path or "")
        template = raw.decode("utf-8", errors="replace")
    try:
        text = await render_template(template, parameters.data)
    except TemplateProblem as problem:
        raise ToolFailure("template_failed", str(problem)) from None
    if parameters.path is None:
        return {"text": text}
    file = await context.in_thread(
        context.write_bytes, parameters.path, text.encode(), media_type=parameters.media_type
    )
    return {"artifact": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
