"""One real backend for all tests of this folder; each test has a user of its own, and so logs of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend


@pytest.fixture(scope="session")
def backend() -> Iterator[LiveBackend]:
    with LiveBackend() as running:
        yield running


@pytest.fixture
def api_key(backend: LiveBackend) -> str:
    return backend.add_user()


@pytest.fixture
def direct(backend: LiveBackend, api_key: str) -> Iterator[Playcall]:
    """A client of that user's that nothing disturbs."""
    with Playcall(backend.url, auth=ApiKey(api_key)) as client:
        yield client
