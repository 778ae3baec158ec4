"""What people copy from is run by a test, whichever it is; and what they come from is at least Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if not path.name.startswith(("_", ".")))
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
BEFORE = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "migration.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_run_by_a_test(example: Path) -> None:
    assert re.search(rf"['\"/]{re.escape(example.name)}['\"/]", TESTS), f"no test names {example.name}"


@pytest.mark.parametrize("text", BEFORE)
def test_the_code_that_people_come_from_is_python(text: str) -> None:
    ast.parse(text)
