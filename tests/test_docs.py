"""The examples of the documentation run as they stand, each page on a backend of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from playcall.testing import LiveBackend

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md") if "```python\n" in page.read_text())


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    with LiveBackend() as backend:
        for number, example in enumerate(examples(page), 1):
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", example],
                cwd=tmp_path,
                env={**os.environ, "PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, f"{page}, example {number}:\n{done.stderr}"


def test_there_are_pages_with_examples() -> None:
    assert {"errors.md", "retries.md", "authentication.md", "testing.md"} <= set(PAGES)
