"""The examples of the documentation run as they stand, each page on a backend of its own.

An example that begins with a comment that names a file (`# test_app.py`) is that file, and pytest runs the page's tests.
The tutorial's files are run by `tests/newcomer`, the commands of all other pages by `tests/docs`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from playcall.testing import LiveBackend

DOCS = Path(__file__).parents[1] / "docs"
FILE_NAME = re.compile(r"# (\w+\.py)\n")


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def scripts(page: str) -> list[str]:
    return [example for example in examples(page) if not FILE_NAME.match(example)]


def files(page: str) -> dict[str, str]:
    return {named[1]: example for example in examples(page) if (named := FILE_NAME.match(example))}


PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
PAGES_OF_SCRIPTS = [page for page in PAGES if scripts(page)]
PAGES_OF_TESTS = [page for page in PAGES if any(name.startswith("test_") for name in files(page))]


@pytest.mark.parametrize("page", PAGES_OF_SCRIPTS)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    with LiveBackend() as backend:
        for number, example in enumerate(scripts(page), 1):
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


@pytest.mark.parametrize("page", PAGES_OF_TESTS)
def test_the_tests_of_a_page_pass(page: str, tmp_path: Path) -> None:
    """The plugin is found by its entry point, as in any project that has playcall installed."""
    for name, text in files(page).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{page}:\n{done.stdout}\n{done.stderr}"
    count = sum(len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE)) for text in files(page).values())
    assert f"{count} passed" in done.stdout


def test_no_two_examples_of_a_page_are_the_same_file() -> None:
    for page in PAGES:
        assert len(scripts(page)) + len(files(page)) == len(examples(page)), page


def test_there_are_pages_with_examples() -> None:
    assert {"errors.md", "retries.md", "authentication.md", "testing.md"} <= set(PAGES_OF_SCRIPTS)
    assert "testing.md" in PAGES_OF_TESTS
