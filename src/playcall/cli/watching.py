"""Following a run to its end, and what Ctrl-C means meanwhile: the run is the backend's, and goes on without us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final, Literal

import typer

from ..client import Playcall
from ..errors import PlaycallError, RunEndedError
from ..models.cursor import Cursor
from ..models.run import RunStatus, RunStep
from ..services.run_service import RunItem, RunSnapshot
from .failing import FAILED, INTERRUPTED, fail
from .terminal_text import one_line
from .watching_view import WatchView, watch_view

__all__ = ["watch_to_completion"]

STEPS_A_PAGE: Final = 1_000

_Choice = Literal["leave", "cancel", "watch"]
_CHOICES: Final[dict[str, _Choice]] = {"l": "leave", "c": "cancel", "w": "watch"}


def watch_to_completion(client: Playcall, run_id: str, *, as_json: bool) -> None:
    """Follows the run until it has ended. Where it did not complete, its error is said, and the command ends as failed.

    On a terminal Ctrl-C asks whether to leave it running, to cancel it, or to go on watching; where nobody can be asked,
    or at a second Ctrl-C, it is left running. To leave ends the command with INTERRUPTED.

    Args:
        as_json: One JSON object an event.
    """
    view = watch_view(as_json=as_json)
    stop_listening = client.events.on_state(view.connection)
    try:
        with view:
            seen_to_its_end = _Watching(client, run_id, view).to_the_end()
    finally:
        stop_listening()
    if not seen_to_its_end:
        fail(INTERRUPTED, f"{run_id} goes on; playcall runs watch {run_id} shows it again")
    run = client.runs.get(run_id)
    if run.error is not None and not as_json:
        typer.echo(f"playcall: the run ended as {run.status}: {one_line(run.error.message)}", err=True)
    if run.status != RunStatus.COMPLETED:
        raise typer.Exit(FAILED)


class _Watching:
    def __init__(self, client: Playcall, run_id: str, view: WatchView) -> None:
        self._client = client
        self._run_id = run_id
        self._view = view
        self._place: Cursor | None = None
        """What comes after it has not been told."""
        self._items: Iterator[RunItem] | None = None
        """What comes after it; kept while somebody is asked, for a new one takes an answer, and there may be none now."""

    def to_the_end(self) -> bool:
        """False where it was left running."""
        while True:
            try:
                if self._place is None:
                    self._place = self._begin()
                if self._go_on(self._place):
                    return True
            except KeyboardInterrupt:
                choice = self._ask()
                if choice == "leave":
                    return False
                if choice == "cancel":
                    self._cancel()

    def _begin(self) -> Cursor:
        """Shows how the run stands; returns the place from which on events are told."""
        with closing(self._client.runs.watch(self._run_id)) as items:
            snapshot = next(items)
        assert isinstance(snapshot, RunSnapshot)  # noqa: S101 - it comes first
        look_back, head = self._view.look_back, snapshot.cursor
        start = 0 if look_back is None else max(0, head.seq - look_back)
        self._view.begin(snapshot.data.run, self._steps(), known=start > 0)
        return Cursor(head.epoch, start)

    def _go_on(self, place: Cursor) -> bool:
        """True at the run's end; False where events are to be asked for anew."""
        if self._items is None:
            self._items = self._client.runs.watch(self._run_id, start=place, on_gap="snapshot")
        for item in self._items:
            if isinstance(item, RunSnapshot):
                self._view.lost(item, self._steps())
                place = item.cursor
            elif item.seq > place.seq + 1:
                # Ctrl-C came while one was handed over.
                self._items = None
                return False
            elif item.seq > place.seq:  # else Ctrl-C came when it had been told, and before that was noted
                self._view.event(item)
                place = Cursor(place.epoch, item.seq)
            self._place = place
        return True

    def _steps(self) -> list[RunStep]:
        return list(self._client.runs.steps(self._run_id, page_size=STEPS_A_PAGE))

    def _ask(self) -> _Choice:
        if not self._view.asks:
            return "leave"
        try:
            with self._view.away():
                while True:
                    said = typer.prompt(
                        "Leave it running [l], cancel it [c], or go on watching [w]?",
                        default="l",
                        show_default=False,
                        err=True,
                    )
                    if choice := _CHOICES.get(said.strip().lower()[:1]):
                        return choice
        except (KeyboardInterrupt, typer.Abort, EOFError):
            return "leave"

    def _cancel(self) -> None:
        try:
            self._client.runs.cancel(self._run_id)
            self._view.say("asked to cancel; it is cancelled once its step has really ended")
        except RunEndedError:
            self._view.say("it has ended already")
        except PlaycallError as error:
            self._view.say(f"it could not be asked to cancel: {error.message}")
