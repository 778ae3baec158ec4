"""A deprecated route is told of once by the client that calls it."""

from __future__ import annotations

import logging

import pytest

from playcall.errors import NotFoundError
from playcall.testing import MockAnswer, MockRequest
from tests.both_faces import FACES, playcall, value


@FACES
async def test_a_route_that_is_deprecated_is_told_of_once_whatever_it_answers(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: MockRequest) -> MockAnswer:
        if request.path.endswith("/runs/new"):
            return MockAnswer(404, json={"detail": "none"})
        return MockAnswer(
            404,
            json={"detail": "none"},
            headers={"Deprecation": "@1780272000", "Sunset": "Sun, 01 Nov 2026 00:00:00 GMT"},
        )

    with caplog.at_level(logging.WARNING, "playcall.http"):
        async with playcall(blocking, handler) as client:
            for call in (client.playbooks.get, client.playbooks.get, client.runs.get):
                with pytest.raises(NotFoundError):
                    await value(call("new"))
            with pytest.raises(NotFoundError):
                await value(client.playbooks.get("other"))
    notices = [r for r in caplog.records if getattr(r, "event", "") == "deprecation"]
    assert [r.getMessage() for r in notices] == [
        "GET /playbooks/{id} is deprecated as of 2026-06-01, and may stop answering on 2026-11-01"
    ]
