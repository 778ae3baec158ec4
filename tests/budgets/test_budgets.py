"""A fixed path executes no more than its budget says, and leaves no memory behind."""

from __future__ import annotations

import dataclasses

import pytest

from .budget import COMMAND, MAY_LEAK_BLOCKS, Cost, Count, complaint, count, read
from .paths import ASYNC, BLOCKING

pytestmark = pytest.mark.xdist_group("budgets")  # counted once, not once a worker

BUDGETS = read()
BUDGET = Cost({"http/engine.py": 700, "faces.py": 300}, calls=100, elsewhere=200)


@pytest.fixture(scope="module")
def counted() -> Count:
    return count()


@pytest.mark.parametrize("path", BUDGETS)
def test_a_path_costs_what_its_budget_says(path: str, counted: Count) -> None:
    if said := complaint(path, BUDGETS[path], counted.costs[path]):
        pytest.fail(said, pytrace=False)


def test_every_path_has_a_budget_and_every_budget_a_path(counted: Count) -> None:
    assert set(BUDGETS) == set(counted.costs), COMMAND


@pytest.mark.parametrize("path", [*ASYNC, *BLOCKING])
def test_a_path_that_is_gone_again_and_again_leaves_no_memory_behind(path: str, counted: Count) -> None:
    leaked = counted.leaked_blocks[path]
    assert leaked < MAY_LEAK_BLOCKS, f"{path} keeps {leaked:.2f} memory blocks a call"


# --- the judge --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cost",
    [
        BUDGET,
        Cost({"http/engine.py": 730, "faces.py": 300}, calls=103, elsewhere=206),
        Cost({"http/engine.py": 550, "faces.py": 300}, calls=85, elsewhere=170),
    ],
)
def test_a_cost_near_its_budget_is_good(cost: Cost) -> None:
    assert complaint("GET", BUDGET, cost) == ""


def test_what_costs_more_is_told_with_the_file_that_grew_and_the_way_to_accept_it() -> None:
    grown = dataclasses.replace(BUDGET, files={"http/engine.py": 731, "faces.py": 301, "alarms.py": 9})
    assert complaint("GET", BUDGET, grown).splitlines() == [
        "GET costs more: bytecodes a call, 1,000 -> 1,041 (+4.1%); 3% more is allowed",
        "    http/engine.py: 700 -> 731 bytecodes",
        "    alarms.py: 0 -> 9 bytecodes",
        "    faces.py: 300 -> 301 bytecodes",
        "If it must be so, write the budgets anew and commit them: python -m tests.budgets",
    ]


def test_what_costs_much_less_asks_for_a_tighter_budget() -> None:
    shrunk = dataclasses.replace(BUDGET, files={"http/engine.py": 549, "faces.py": 300})
    said = complaint("GET", BUDGET, shrunk)
    assert "GET costs less, so tighten its budget: bytecodes a call, 1,000 -> 849 (-15.1%)" in said
    assert "python -m tests.budgets" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [({"calls": 104}, "costs more: calls a call"), ({"elsewhere": 207}, "costs more: bytecodes elsewhere a call")],
)
def test_calls_and_what_they_set_going_have_a_budget_as_well(change: dict[str, int], said: str) -> None:
    assert said in complaint("GET", BUDGET, dataclasses.replace(BUDGET, **change))
