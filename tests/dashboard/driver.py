"""The dashboard as somebody in front of a browser has it: tabs of the system's Chromium, driven by Playwright.

Streamlit draws a page anew at every click and tick, so nothing here holds an element: each look finds it again, and waits
for a condition rather than for a time. Playwright's blocking face keeps an event loop on the thread that it was started
on; whoever starts it must end it before anything asynchronous is run there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    WebSocket,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from playcall.models import Run
from tests.chromium import find_chromium, launch_arguments

__all__ = ["PAGES", "WAIT_SECONDS", "Chromium", "Hold", "Tab"]

WAIT_SECONDS: Final = 150.0
"""How long a condition may take to come true: a machine may be busy. It costs nothing where it comes true at once."""
PAGES: Final = {
    "Playbooks": "",
    "Run": "run",
    "Runs": "runs",
    "Agents": "agents",
    "Tasks": "tasks",
    "Tools": "tools",
    "Events": "events",
    "Status": "status",
}
"""The titles in the navigation, and the paths."""
WIDTH, HEIGHT = 1280, 800
_STREAMLITS_OWN: Final = re.compile(r"/_stcore/(health|host-config)\b")
"""On a page's own address Streamlit looks there for its server before it looks above, and the browser notes a 404."""
_SETTLED: Final = (
    "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
)  # fmt: skip


class Chromium:
    """The browser, within `with`; each tab of it is a visitor of its own.

    Raises:
        ChromiumMissingError: By `with`.
    """

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def __enter__(self) -> Self:
        program = find_chromium()
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(executable_path=program, args=launch_arguments())
        except BaseException:
            self.close()
            raise
        expect.set_options(timeout=WAIT_SECONDS * 1000)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        browser, self._browser = self._browser, None
        playwright, self._playwright = self._playwright, None
        if browser is not None:
            browser.close()
        if playwright is not None:
            playwright.stop()

    def tab(self, url: str, *, init_script: str = "") -> Tab:
        """Of a visitor who was never here before, on the dashboard at `url`; shows nothing yet."""
        assert self._browser is not None, "the browser is closed"
        context = self._browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme="light",
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
            accept_downloads=True,
        )
        context.set_default_timeout(WAIT_SECONDS * 1000)
        if init_script:
            context.add_init_script(init_script)
        return Tab(context, url)


class Tab:
    """What is open in it is known by a page's title, by Streamlit's keys (`key`) and by what can be read."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.console: list[str] = []
        """All that the browser noted, for whoever looks why a test failed."""
        self.faults: list[str] = []
        """Of it what must not be."""
        self.loads = 0
        """Documents that were loaded: grows by one at each reload."""
        self.received_bytes = 0
        """What Streamlit has sent over its WebSocket."""
        self._context = context
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self._fault(f"uncaught: {error}"))
        self.page.on("domcontentloaded", lambda _page: self._loaded())
        self.page.on("websocket", self._follow)

    def close(self) -> None:
        self._context.close()

    # --- going somewhere ----------------------------------------------------------------------------------------------

    def open(self, title: str, **query: str) -> Self:
        """By the page's address, as from a bookmark."""
        self.page.goto(f"{self.url}/{PAGES[title]}" + (f"?{urlencode(query)}" if query else ""))
        return self.sees_title(title)

    def go(self, title: str) -> Self:
        """By a click in the navigation, which loads nothing."""
        self.key("playcall_navigation").get_by_role("link", name=re.compile(rf"\b{title}$")).click()
        return self.sees_title(title)

    def open_run(self, run: Run) -> Self:
        """The live page of one run, by its address."""
        self.page.goto(f"{self.url}/runs?run={run.id}")
        return self.sees_title(run.playbook_name[:40])

    def sees_title(self, title: str) -> Self:
        """What Streamlit puts into the heading beside the title is the anchor's own text: none."""
        expect(self.page.get_by_role("heading", level=1).filter(has_text=title)).to_be_visible()
        return self.settled()

    def settled(self) -> Self:
        """Waits until Streamlit has drawn everything; a page with ticking parts is so between two ticks."""
        self.page.locator(_SETTLED).wait_for(state="attached")
        return self

    def still(self) -> Self:
        """Waits until nothing is shown of the time before the last click, and charts have been drawn."""
        expect(self.page.locator("[data-stale=true]")).to_have_count(0)
        for chart in self.main.get_by_test_id("stVegaLiteChart").all():
            expect(chart.locator("svg, canvas").first).to_be_visible()
        return self.settled()

    # --- looking ------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> Locator:
        """The element, or container, to which the dashboard gave this `key`."""
        return self.page.locator(f".st-key-{name}")

    def keys(self, beginning: str) -> Locator:
        return self.page.locator(f"[class*='st-key-{beginning}']")

    @property
    def badge(self) -> Locator:
        return self.key("playcall_badge")

    def sees(self, text: str | re.Pattern[str]) -> Self:
        """Somewhere in the page."""
        expect(self.main.get_by_text(text).first).to_be_visible()
        return self

    def sees_status(self, status: str) -> Self:
        """In a badge of the page: a run's, or a task's."""
        expect(self.main.locator(".stMarkdownBadge").filter(has_text=re.compile(f"{status}$")).first).to_be_visible()
        return self

    def shown_exceptions(self) -> list[str]:
        """Tracebacks that Streamlit shows in the page."""
        return self.page.get_by_test_id("stException").all_inner_texts()

    def elements(self) -> int:
        """How many nodes the document has."""
        found: int = self.page.evaluate("document.getElementsByTagName('*').length")
        return found

    @property
    def main(self) -> Locator:
        """The page beside the navigation."""
        return self.page.get_by_test_id("stMain")

    @property
    def chart(self) -> Locator:
        """The first chart of the page: of a run's, the steps over time."""
        return self.main.get_by_test_id("stVegaLiteChart").first

    def artifact(self, name: str) -> Locator:
        """The link that downloads it, in a run's section Artifacts."""
        return self.main.get_by_role("row").filter(has_text=name).get_by_role("link")

    def input(self, name: str) -> Locator:
        """The field of the run form that asks for this input."""
        return self.page.locator(f"[class*='st-key-playcall_input'][class*='-{name}']").first

    # --- doing --------------------------------------------------------------------------------------------------------

    def fill(self, within: Locator, value: str) -> Self:
        """Types into the field there, and leaves it, with which Streamlit takes the value."""
        field = within.locator("input, textarea").first
        field.fill(value)
        field.blur()
        expect(field).to_have_value(value)
        return self

    def choose(self, within: Locator, option: str) -> Self:
        """Of the selectbox there."""
        within.get_by_role("combobox").click()
        self.page.get_by_role("option", name=option, exact=True).first.click()
        return self

    def press(self, name: str) -> Self:
        """The button of the page that is called so."""
        self.main.get_by_role("button", name=name, exact=True).click()
        return self

    def pick(self, within: Locator, option: str) -> Self:
        """Of the buttons there that stand side by side, one of which is pressed."""
        within.get_by_text(option, exact=True).click()
        return self

    def section(self, name: str) -> Self:
        """Of a run's live page."""
        return self.pick(self.key("playcall_section"), name)

    def download(self, link: Locator, to: Path) -> Path:
        """What a click on it brings, as a file at `to`."""
        with self.page.expect_download() as coming:
            link.click()
        coming.value.save_as(to)
        return to

    def hold(self) -> Hold:
        """To be called before anything is opened."""
        return Hold(self.page)

    # --- what is left of it -------------------------------------------------------------------------------------------

    def save(self, folder: Path, stem: str) -> list[Path]:
        """A picture of the whole page, what stands in it, and what the browser noted."""
        picture, text = folder / f"{stem}.png", folder / f"{stem}.txt"
        self.page.screenshot(path=picture, full_page=True)
        shown = self.page.locator("body").inner_text()
        noted = "\n".join(self.console)
        text.write_text(f"{self.page.url}\n\n--- shown\n{shown}\n\n--- console\n{noted}\n")
        return [picture, text]

    # --- hearing ------------------------------------------------------------------------------------------------------

    def _note(self, message: ConsoleMessage) -> None:
        where = str(message.location.get("url", ""))
        self.console.append(f"{message.type}: {message.text} ({where})")
        if message.type == "error" and not _STREAMLITS_OWN.search(where):
            self.faults.append(self.console[-1])

    def _fault(self, said: str) -> None:
        self.console.append(said)
        self.faults.append(said)

    def _loaded(self) -> None:
        self.loads += 1

    def _follow(self, socket: WebSocket) -> None:
        received: Callable[[str | bytes], None] = self._count
        socket.on("framereceived", received)

    def _count(self, payload: str | bytes) -> None:
        self.received_bytes += len(payload)


class Hold:
    """What Streamlit sends can be kept from a page: it stands still then, while its clicks still go out."""

    def __init__(self, page: Page) -> None:
        self._waiting: list[str | bytes] | None = None
        self._socket: WebSocketRoute | None = None
        page.route_web_socket(re.compile("/_stcore/stream"), self._route)

    def begin(self) -> None:
        self._waiting = []

    def end(self) -> None:
        assert self._socket is not None, "nothing was opened"
        assert self._waiting is not None, "nothing is held"
        waiting, self._waiting = self._waiting, None
        for message in waiting:
            self._socket.send(message)

    def _route(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.connect_to_server().on_message(self._take)

    def _take(self, message: str | bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(message)
        elif self._socket is not None:
            self._socket.send(message)
