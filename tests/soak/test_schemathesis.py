"""schemathesis over the whole OpenAPI document, on both databases and with both kinds of credentials.

In short some requests for each operation, the same ones every time. In full ten minutes of others, every bound of every
field and sequences of calls among them.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playcall.testing import LiveBackend

from .explorer import explore
from .notes import Notes
from .scale import FULL, chosen_seed, scaled

SECONDS = 600
SHORT_SEED = 20_261_126
PASSWORD = "correct horse battery"
NOT_ASKED = {"DELETE /api/v1/auth/api-keys/{key_id}"}
"""It would end the credentials; it has tests of its own."""

PAIRS = [("sqlite", "token"), ("postgresql", "api_key")]
ALL = [*PAIRS, ("sqlite", "api_key"), ("postgresql", "token")]


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveBackend]:
    """`playcall serve` as it is installed, with its engine; its requests are not counted, as schemathesis is no user."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    options = [f"--admin-password-file={password}", "--requests-per-second=100000"]
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new_database(migrated=False)
        options.append(f"--database-url={url.replace('postgresql+asyncpg', 'postgresql')}")
    else:
        request.getfixturevalue("sqlite")
    with LiveBackend(options=options) as running:
        yield running


@pytest.mark.parametrize(("served", "credentials"), scaled(short=PAIRS, full=ALL), indirect=["served"])
def test_no_request_is_answered_as_the_document_does_not_say(
    served: LiveBackend, credentials: str, notes: Notes
) -> None:
    described = document(served.url)
    seed = chosen_seed() if FULL else SHORT_SEED
    found = explore(
        served.url,
        described,
        _headers(served, credentials),
        seed=seed,
        examples=scaled(short=8, full=60),
        seconds=scaled(short=None, full=SECONDS // len(ALL)),
        coverage=FULL,
        stateful=FULL,
    )
    notes.measured("requests", f"{sum(found.asked.values()):,} (seed {seed})")
    notes.measured("answers", ", ".join(f"{number} of {status}" for status, number in sorted(found.statuses.items())))
    assert not found.failures, "\n\n".join(f"{title}\n{text}" for title, text in found.failures.items())
    labels = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    assert labels - set(found.asked) <= NOT_ASKED
    assert found.statuses[200] > 0
    assert found.statuses[201] > 0
    assert not [status for status in found.statuses if status >= 500], found.statuses


def document(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        return json.load(answer)


def _headers(served: LiveBackend, credentials: str) -> dict[str, str]:
    if credentials == "api_key":
        return {"X-API-Key": served.api_key}
    form = {"grant_type": "password", "username": "admin", "password": PASSWORD}
    with urllib.request.urlopen(f"{served.url}/api/v1/auth/token", urllib.parse.urlencode(form).encode()) as answer:
        return {"Authorization": f"Bearer {json.load(answer)['access_token']}"}
