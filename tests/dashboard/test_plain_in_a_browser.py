"""Text of users comes out of Streamlit's Markdown as it went in: by a real Streamlit, seen in a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from .driver import Chromium

pytestmark = pytest.mark.xdist_group("browser")

TEXTS: Final = (
    "Walks **slowly** through $x^2$ steps",
    "a -> b -- c >= d <-> e ~= f",
    "http://127.0.0.1:35175/a_b_c?x=1&y=2#z",
    "see www.example.com:80, HTTPS://example.com/_x_*y* and me@example.com ok",
    "# head",
    "1. one",
    "2) two",
    "- dash",
    "- [ ] todo",
    "+ plus",
    "> quote",
    "= eq",
    "---",
    "***",
    ":red[x] :blue-background[y] :small[z]",
    ":material/home: :material_home: :streamlit: :smile: :+1: :-1:",
    "<b>x</b> <img src=x onerror=alert(1)> <!-- c --> <script>alert(1)</script>",
    "[a](javascript:alert(1)) ![i](x) [ref][b] [^1]",
    "`code` ``two``",
    "~~gone~~ ~x~ ==marked== ^sup^",
    "&amp; &lt; &#42; AT&T",
    "\\* back\\slash \\",
    "snake_case _it_ __bold__ a_",
    "a | b | c",
    "12:30 key:value",
    "$$x$$ \\(x\\) {.class}",
    "one\n\ntwo\n# three",
    "Äöü 漢字 🎉 :🎉:",
)
SCRIPT: Final = """
import json, sys
import streamlit as st
from playcall.dashboard.plain import plain

for number, text in enumerate(json.loads(sys.argv[1])):
    with st.container(key=f"markdown-{number}"):
        st.markdown(plain(text))
    with st.container(key=f"caption-{number}"):
        st.caption(plain(text))
    with st.container(key=f"button-{number}"):
        st.button(plain(text), key=f"b{number}")
    with st.container(key=f"error-{number}"):
        st.error(plain(text))
st.text("that was all")
"""


@contextmanager
def streamlit(script: Path, *arguments: str) -> Iterator[str]:
    """Gives the address at which the script is served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}", "--server.headless=true"]
    command += ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--", *arguments]
    with subprocess.Popen(command, cwd=script.parent, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if f":{port}" in line:
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def test_what_users_wrote_reads_as_they_wrote_it_and_makes_nothing_of_itself(
    chromium: Chromium, tmp_path: Path
) -> None:
    script = tmp_path / "page.py"
    script.write_text(SCRIPT)
    with streamlit(script, json.dumps(TEXTS)) as url:
        tab = chromium.tab(url)
        try:
            page = tab.page
            page.goto(url)
            page.get_by_text("that was all").wait_for()
            for number, text in enumerate(TEXTS):
                for kind in ("markdown", "caption", "button", "error"):
                    shown = page.locator(f".st-key-{kind}-{number}")
                    said = shown.inner_text().replace("\u2060", "").strip()
                    assert said.removeprefix("error").strip() == " ".join(text.split()), kind
                    made = shown.locator("a, strong, em, del, code, h1, hr, li, blockquote, .katex, table, script, img")
                    assert made.count() == 0, (kind, text)
        finally:
            tab.close()
