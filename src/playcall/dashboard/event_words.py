"""An event in a few words: what it is about, and what happened to it."""

from __future__ import annotations

import json
from typing import Final

from playcall.dashboard.plain import cut
from playcall.models import AnyEvent
from playcall.models.event import (
    AgentData,
    PlaybookData,
    RunArtifactData,
    RunData,
    RunLogData,
    RunStepData,
    TaskData,
    TaskOutputDeltaData,
    TaskProgressData,
    ToolData,
)

__all__ = ["words_of"]

WORDS_CHARACTERS: Final = 200


def words_of(event: AnyEvent) -> str:
    """One line. Of a type that this version does not know, the data as they came."""
    match event.data:
        case RunData(run=run):
            said = f"{run.playbook_name}: {run.status}, {run.steps_finished:,} of {run.steps_total:,} steps"
        case RunStepData(step=step):
            said = f"{step.id}: {step.status}"
        case RunLogData(level=level, message=message):
            said = f"{level}: {message}"
        case RunArtifactData(artifact=artifact):
            said = artifact.name
        case TaskData(task=task):
            failed = "" if task.error is None else f", {task.error.message}"
            said = f"{task.agent or 'no agent'}: {task.operation}, {task.status}{failed}"
        case TaskProgressData(done=done, total=total, message=message):
            said = f"{done:g}{'' if total is None else f' of {total:g}'} {message}"
        case TaskOutputDeltaData(text=text):
            said = text
        case AgentData(agent=agent):
            said = f"{agent.name}: {agent.state}"
        case ToolData(tool=tool):
            said = f"{tool.name}: {tool.kind}"
        case PlaybookData(playbook=playbook):
            said = f"{playbook.name}: version {playbook.version}"
        case dict() as raw:
            said = json.dumps(raw, ensure_ascii=False)
        case other:
            said = ", ".join(str(each) for each in other.model_dump(mode="json").values())
    return cut(" ".join(said[: 2 * WORDS_CHARACTERS].split()), WORDS_CHARACTERS)
