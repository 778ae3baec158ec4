"""The events of the realtime comparisons, as text: every other one a task's progress, the rest lines of a run's log."""

from __future__ import annotations

from typing import Final

__all__ = ["EPOCH", "LOG_EVENTS", "RUN", "event_json", "progress_json"]

EPOCH: Final = "bench"
RUN: Final = "run_01hq3v5f8k2m9x7r4t6w"
LOG_EVENTS: Final = 50_000
"""In each log that is sent as fast as it is read."""

_HEAD: Final = '{"seq":%d,"id":"evt_%020d","time":"2026-11-02T17:05:12.654321Z","type":'
_PROGRESS: Final = (
    _HEAD
    + '"task.progress","data":{"task_id":"tsk_01hq3v5f8k2m9x7r4t6w","run_id":"'
    + RUN
    + '","step_id":"collect","done":%r,"total":50000,"message":"reading the figures of branch 17"}}'
)
_LOG: Final = (
    _HEAD
    + '"run.log","data":{"run_id":"'
    + RUN
    + '","level":"info","message":"read 1,204 rows of the branch, 3 were set aside","step_id":"collect",'
    + '"task_id":"tsk_01hq3v5f8k2m9x7r4t6w"}}'
)


def event_json(seq: int) -> str:
    """About 275 bytes."""
    return progress_json(seq, float(seq)) if seq % 2 else _LOG % (seq, seq)


def progress_json(seq: int, done: float) -> str:
    return _PROGRESS % (seq, seq, done)
