"""The commands of the documentation run as they stand, each page on a backend of its own.

The tutorial's are another matter: `tests/newcomer` types them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from playcall.testing import LiveBackend

from .blocks import blocks, pages

TUTORIAL = "docs/tutorial/index.md"
PAGES = [
    name
    for name, page in pages().items()
    if name != TUTORIAL and any(block.language == "bash" for block in blocks(page))
]


@pytest.mark.xdist_group("subprocesses")
@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_do_what_it_says(name: str, tmp_path: Path) -> None:
    script = ["set -eu"]  # no pipefail, as in a shell: `head` may end before what it reads from
    for number, block in enumerate(blocks(pages()[name]), 1):
        if block.language == "bash":
            script += [f"echo '--- block {number}' >&2", block.text]
        elif block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    with LiveBackend() as backend:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PLAYCALL_URL": backend.url,
            "PLAYCALL_API_KEY": backend.api_key,
            "PLAYCALL_CONFIG": str(tmp_path / "config.toml"),
        }
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, f"{name}:\n{done.stdout}\n{done.stderr}"


def test_there_are_pages_with_commands() -> None:
    assert "docs/command-line.md" in PAGES
