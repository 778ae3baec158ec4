"""What `playcall.testing` says that it has, it has, each from its own module."""

from __future__ import annotations

import pytest

from playcall import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(testing, name).__name__ == name
