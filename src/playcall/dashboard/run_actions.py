"""What may be asked of a run, and what is said of it, truly: also where another browser was quicker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from playcall import Playcall
from playcall.errors import ConflictError, RunEndedError, RunNotEndedError
from playcall.models import Run, RunStatus, RunWish

__all__ = ["Action", "Said", "actions_for", "do"]

Action = Literal["cancel", "pause", "resume", "retry"]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence for whoever clicked; `run_id` is a new run to go to."""

    sentence: str
    good: bool = True
    run_id: str | None = None


def actions_for(run: Run) -> frozenset[Action]:
    """What makes sense now. A run of a status that this version does not know can be asked to stop, if it has not ended."""
    if run.ended_at is not None:
        return frozenset({"retry"})
    if run.wish == RunWish.CANCEL:
        return frozenset()
    if run.status == RunStatus.PAUSED or run.wish == RunWish.PAUSE:
        return frozenset({"cancel", "resume"})
    return frozenset({"cancel", "pause"})


def do(client: Playcall, action: Action, before: Run, *, command: str | None = None) -> Said:
    """Asks for it.

    Args:
        before: The run as whoever clicked saw it.
        command: An idempotency key for a retry, so that two clicks make one.

    Raises:
        PlaycallError: it could not be asked for.
    """
    try:
        match action:
            case "cancel":
                run = client.runs.cancel(before.id)
            case "pause":
                run = client.runs.pause(before.id)
            case "resume":
                run = client.runs.resume(before.id)
            case "retry":
                run = client.runs.retry(before.id, idempotency_key=command)
                return Said("The run was retried: this is the new one.", run_id=run.id)
    except RunEndedError:
        now = client.runs.get(before.id)
        return Said(f"Nothing to {action}: the run had ended already, as {now.status}.", good=False)
    except RunNotEndedError:
        return Said("The run has not ended yet: cancel it, or wait.", good=False)
    except ConflictError as error:
        why = error.message if error.problem is None or not error.problem.detail else error.problem.detail
        return Said(f"Nothing to {action}: {why}.", good=False)
    return Said(_after(action, run))


def _after(action: Action, run: Run) -> str:
    if run.ended_at is not None:
        return f"The run is {run.status}."
    match action:
        case "cancel":
            return "The run was asked to stop: it is cancelled once its step has really ended."
        case "pause" if run.status == RunStatus.PAUSED:
            return "The run is paused."
        case "pause":
            return "The run was asked to pause: it does so before its next step."
        case _:
            return "The run goes on."
