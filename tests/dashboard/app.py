"""The dashboard's own pages in this process, by Streamlit's AppTest: no browser, so a test says itself when a timer ticks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import pytest
from streamlit.runtime.scriptrunner import ScriptRunnerEvent
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests
from streamlit.testing.v1 import AppTest, app_test
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

import playcall.dashboard
from playcall.dashboard import connection

from .waiting import SECONDS, until

__all__ = ["App", "serve"]

FRAME: Final = Path(playcall.dashboard.__file__).parent / "pages" / "frame.py"


class App:
    """One visitor."""

    def __init__(self) -> None:
        self.shown = AppTest.from_file(str(FRAME), default_timeout=SECONDS)
        """What the last turn has drawn: the whole page, or after a tick what ticks of it."""
        self._timers: set[str] = set()
        """The fragments that a browser would draw again by itself."""
        self.run()

    def open(self, page: str, **query: str) -> Self:
        self.shown.query_params.clear()
        self.shown.query_params.update(query)
        self.shown.switch_page(f"{page}.py")
        return self.run()

    def press(self, label: str) -> Self:
        next(each for each in self.shown.button if each.label == label).click()
        return self.run()

    def run(self) -> Self:
        """As any click does it: the whole page from its top."""
        return self._turn(())

    def tick(self) -> Self:
        """As a browser's timers do it: each fragment with one is drawn again, by what it had been given."""
        return self._turn(tuple(self._timers))

    def redraw_fragments(self) -> Self:
        """As clicks in them do it: also in those without a timer."""
        return self._turn(tuple(self.shown._fragment_storage._fragments))

    def _turn(self, fragments: Sequence[str]) -> Self:
        runners: list[LocalScriptRunner] = []
        pages = self.shown._registered_pages

        def make(*args: Any, **options: Any) -> LocalScriptRunner:
            runner = LocalScriptRunner(*args, **options)
            runners.append(runner)
            if fragments:
                # The frame, which names the pages, is not run; and what a runner begins with would be the whole page.
                runner._pages_manager._set_pages(pages)
                runner._requests = ScriptRequests()
                ask = runner.request_rerun
                runner.request_rerun = lambda data: ask(replace(data, fragment_id_queue=list(fragments)))  # type: ignore[method-assign]
            return runner

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app_test, "LocalScriptRunner", make)
            self.shown.run()
        self.shown._registered_pages = self.shown._registered_pages or pages
        for event, said in zip(runners[0].events, runners[0].event_data, strict=True):
            if event is ScriptRunnerEvent.SCRIPT_STARTED and said["fragment_ids_this_run"] is None:
                self._timers.clear()
            elif event is ScriptRunnerEvent.ENQUEUE_FORWARD_MSG and said["forward_msg"].HasField("auto_rerun"):
                self._timers.add(said["forward_msg"].auto_rerun.fragment_id)
        assert [each.value for each in self.shown.exception] == []
        return self

    def ticks_until_it_says(self, text: str) -> Self:
        until(lambda: text in self.tick().text)
        return self

    @property
    def text(self) -> str:
        """All that is said, beside the values in fields."""
        shown = self.shown
        kinds = (
            shown.title,
            shown.markdown,
            shown.caption,
            shown.text,
            shown.code,
            shown.error,
            shown.info,
            shown.success,
        )
        said = [str(each.value) for kind in kinds for each in kind]
        said += [str(each.proto.body) for each in shown.get("html")]
        labels = [each.label for kind in (shown.button, shown.selectbox, shown.text_input) for each in kind]
        return "\n".join(said + labels)


@contextmanager
def serve(url: str, api_key: str) -> Iterator[App]:
    """A visitor of the dashboard of this backend. The client and what it follows are this process's, as on the real server."""
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAYCALL_URL", url)
        patch.setenv("PLAYCALL_API_KEY", api_key)
        try:
            yield App()
        finally:
            connection.close()
