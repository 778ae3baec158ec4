"""What may be asked of a task, and what is said of it, truly: also where another browser was quicker."""

from __future__ import annotations

from playcall import Playcall
from playcall.dashboard.run_actions import Said
from playcall.errors import TaskNotCancellableError

__all__ = ["cancel"]


def cancel(client: Playcall, task_id: str) -> Said:
    """Asks for it to be stopped.

    Raises:
        TaskNotCancellableError: it belongs to a run, with which it is cancelled.
        PlaycallError: it could not be asked for.
    """
    try:
        task = client.tasks.cancel(task_id)
    except TaskNotCancellableError:
        now = client.tasks.get(task_id)
        if now.ended_at is None:
            raise
        return Said(f"Nothing to cancel: the task had ended already, as {now.status}.", good=False)
    if task.ended_at is not None:
        return Said(f"The task is {task.status}.")
    return Said("The task was asked to stop: it is cancelled once its tool has really stopped.")
