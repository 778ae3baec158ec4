"""What people copy from is run by a test, whichever it is; and what they come from is at least Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith(("_", ".")))
RUN_BY = {
    "event_consumer": "examples/test_event_consumer.py",
    "exactly_once.py": "services/test_exactly_once_example.py",
    "other_peoples_sockets": "services/test_plain_sockets.py",
    "playbooks": "server/engine/steps/test_every_step.py",
    "streamlit_page.py": "examples/test_streamlit_page.py",
    "websocket_demo.py": "services/test_websocket_demo.py",
    "your_own_backend": "services/test_foreign_backend.py",
}
"""The tests that run an example, below `tests`."""
BEFORE = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "migration.md").read_text(), re.DOTALL)


def test_every_example_is_run_by_a_test() -> None:
    assert sorted(RUN_BY) == EXAMPLES


@pytest.mark.parametrize("example", RUN_BY)
def test_the_test_of_an_example_takes_it_from_where_it_is(example: str) -> None:
    text = (ROOT / "tests" / RUN_BY[example]).read_text()
    assert re.search(rf'"examples" / "{re.escape(example)}"', text)


@pytest.mark.parametrize("text", BEFORE)
def test_the_code_that_people_come_from_is_python(text: str) -> None:
    ast.parse(text)


def test_every_pair_of_before_and_after_is_there() -> None:
    assert len(BEFORE) >= 6
