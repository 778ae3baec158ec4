"""Templates: Jinja2's sandbox, narrowed to what JSON values need, and bounded in work and size.

What a playbook's author writes runs on the server, so: no attribute of a value can be reached but its keys and a few
harmless methods, only the listed filters exist, loops, macros and whatever is made count against a budget, and neither
text nor numbers can be blown up.

That keeps honest mistakes cheap and well explained; it is not what the server's safety rests on. Whatever does more
than name a value is rendered in a process of its own, which `rendering` bounds: there this folder is loaded by its path,
so nothing in it imports anything of the package around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .budget import MAX_OUTPUT_CHARACTERS, MAX_ROUNDS, TemplateProblem
from .filters import FILTERS
from .reading import check_template, has_marks, is_plain, references
from .rendered import render_text, render_value

__all__ = [
    "FILTERS",
    "MAX_OUTPUT_CHARACTERS",
    "MAX_ROUNDS",
    "TemplateProblem",
    "check_template",
    "has_marks",
    "is_plain",
    "references",
    "render_text",
    "render_value",
    "work",
]


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """For a process of its own: `{"template" or "value": …, "names": …}` to `{"value": …}` or `{"problem": …}`."""
    try:
        if "template" in job:
            return {"value": render_text(job["template"], job["names"])}
        return {"value": render_value(job["value"], job["names"])}
    except TemplateProblem as problem:
        return {"problem": str(problem)}
