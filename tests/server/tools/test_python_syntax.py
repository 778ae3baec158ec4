"""Python's syntax is read by several threads at once."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from playcall.server.tools.python_syntax import parsed

TEXT = "\n".join(f"x{number} = [f({number}, [[({number},)]]) for y in (1, 2)]" for number in range(300))


class Litter:
    """Python that runs when the garbage collector comes: in the middle of whatever, and another thread may go on there."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(200):
            pass


@pytest.fixture
def threads_that_change_often() -> Iterator[None]:
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(100, 1, 1)
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("threads_that_change_often")
def test_threads_that_read_at_the_same_time_do_not_disturb_each_other() -> None:
    def read(_: int) -> ast.AST:
        for _ in range(20):
            Litter()
        return parsed(TEXT)

    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(read, range(60)))
    assert all(isinstance(tree, ast.Module) and len(tree.body) == 300 for tree in trees)
