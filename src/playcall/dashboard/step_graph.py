"""A playbook's steps as a picture: Graphviz's language, which the browser draws by itself, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from playcall.dashboard.plain import cut
from playcall.models import UnknownStep
from playcall.models.step import (
    END,
    HandoffStep,
    ParallelStep,
    PartnerFeedbackStep,
    ProcessStep,
    SelfFeedbackStep,
    StandardStep,
    Step,
    VersusStep,
)

__all__ = ["MOST_STEPS", "step_graph", "who_does"]

MOST_STEPS: Final = 120
"""A picture of more is no picture, and takes the browser seconds."""
LABEL_CHARACTERS: Final = 36
IN_A_ROW: Final = 5
"""So many steps fit beside each other; more are drawn downwards."""

_COLOURS: Final = {
    "standard": "#e8f1fb",
    "work_in_parallel": "#e5f5ee",
    "self_feedback_loop": "#fdf3dc",
    "partner_feedback_loop": "#fdf3dc",
    "process": "#eeeafa",
    "versus": "#fce8ea",
    "handoff": "#e3f4f7",
}


def step_graph(steps: Sequence[Step | UnknownStep], *, most: int = MOST_STEPS) -> str:
    """The first `most` steps, and which follows which, in DOT. An edge with a condition is dashed and bears it."""
    shown = steps[:most]
    names = {step.id: f"s{index}" for index, step in enumerate(shown)}
    lines = [
        "digraph {",
        f'rankdir="{"LR" if len(shown) <= IN_A_ROW else "TB"}"; bgcolor="transparent"; nodesep=0.35; ranksep=0.4;',
        'node [shape=box, style="rounded,filled", color="#9aa5b1", penwidth=0.8, fontname="sans-serif", fontsize=11,'
        ' margin="0.18,0.09", fontcolor="#1f2933"];',
        'edge [color="#7b8794", penwidth=0.9, arrowsize=0.7, fontname="sans-serif", fontsize=9, fontcolor="#52606d"];',
    ]
    for step in shown:
        label = "\n".join(cut(part, LABEL_CHARACTERS) for part in (step.id, *_below(step)) if part)
        lines.append(
            f"{names[step.id]} [label={_quoted(label)}, fillcolor={_quoted(_COLOURS.get(step.type, '#f0f2f4'))}];"
        )
    ends = False
    for index, step in enumerate(shown):
        for to, condition in _leads_to(steps, index):
            target = names.get(to, "") if to != END else "e"
            if not target:
                continue  # beyond what is shown
            ends = ends or target == "e"
            dressed = (
                "" if condition is None else f" [style=dashed, label={_quoted(' ' + cut(condition, LABEL_CHARACTERS))}]"
            )
            lines.append(f"{names[step.id]} -> {target}{dressed};")
    if ends:
        lines.append('e [label="end", shape=oval, fillcolor="#ffffff"];')
    if len(steps) > most:
        more = f"… {len(steps) - most:,} more"
        lines.append(
            f'more [label={_quoted(more)}, shape=plaintext, style=""]; {names[shown[-1].id]} -> more [style=dotted];'
        )
    return "\n".join([*lines, "}"])


def who_does(step: Step | UnknownStep) -> str:
    """Who does what in a step, in short: `Reader:text.search`."""
    match step:
        case StandardStep() | HandoffStep():
            return f"{step.agent}:{step.operation}"
        case ParallelStep():
            return ", ".join(step.agents)
        case SelfFeedbackStep():
            return f"{step.agent}, up to {step.iterations} times"
        case PartnerFeedbackStep():
            return f"{', '.join(step.roles.values())}, up to {step.iterations} times"
        case ProcessStep():
            return ", ".join(f"{each.agent}:{each.operation}" for each in step.operations)
        case VersusStep():
            return f"{' or '.join(step.agents)}; {step.judge} decides"
        case UnknownStep():
            return ""


def _below(step: Step | UnknownStep) -> tuple[str, ...]:
    if step.type == "standard":
        return (who_does(step),)
    return (step.type.replace("_", " "), who_does(step))


def _leads_to(steps: Sequence[Step | UnknownStep], index: int) -> list[tuple[str, str | None]]:
    """Where a step leads, each with its condition; the way without one is the last."""
    step = steps[index]
    ways: list[tuple[str, str | None]] = []
    if isinstance(step, UnknownStep):
        return ways
    ways += [(each.next, each.condition) for each in step.next_conditions]
    if step.next is not None:
        ways.append((step.next, None))
    elif index + 1 < len(steps):
        ways.append((steps[index + 1].id, None))
    elif ways:
        ways.append((END, None))
    return ways


def _quoted(text: str) -> str:
    """As a DOT string, which is text: never HTML, and without escapes of its own (`\\N` is a node's name there)."""
    backslashes = text.replace("\\", "\\\\")
    return '"' + backslashes.replace('"', '\\"').replace("\n", "\\n") + '"'
