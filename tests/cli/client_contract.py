"""What of the OpenAPI document this client calls: each method of each service is driven once, and its request noted.

`python -m tests.cli.client_contract` writes the copy that `playcall doctor` carries.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from playcall import AsyncPlaycall, RetryPolicy
from playcall.cli import doctor_contract
from playcall.cli.doctor_contract import Contract, digest, to_json
from playcall.errors import PlaycallError
from playcall.faces import call, stream
from playcall.testing import MockAnswer, MockTransport
from tests.every_method import SERVICES, use

COPY = Path(doctor_contract.__file__).with_suffix(".json")
DOCUMENT = Path(__file__).parents[1] / "server" / "openapi.json"

BESIDE_THE_SERVICES = {
    "GET /api/v1/health": "doctor",
    "GET /api/v1/ready": "status.wait_until_ready",
    "GET /api/v1/events": "events",
    "GET /api/v1/ws": "events",
    "POST /api/v1/auth/token": "OAuth2Password",
}
"""What is called by other parts of the client."""
FIRST = {"runs.watch", "runs.wait"}
"""They begin by reading the run; their events are `events`."""


async def calls() -> dict[str, list[str]]:
    """Method and path of each service's method, as they were sent; several where one makes several."""
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "p.yaml"
        file.write_text("a: b")
        for service, kind in SERVICES.items():
            for member in dir(kind):
                method = inspect.getattr_static(kind, member)
                if not isinstance(method, call | stream) or member.startswith("_"):
                    continue
                transport = MockTransport(
                    lambda request: MockAnswer(404, json={"code": "none", "title": "-", "status": 404})
                )
                async with AsyncPlaycall(transport=transport, retry=RetryPolicy(attempts=1)) as client:
                    given = {"file": file} if "file" in inspect.signature(method.__wrapped__).parameters else {}
                    try:
                        await use(client, service, member, **given)
                    except PlaycallError:
                        pass  # 404, of course
                found[f"{service}.{member}"] = [f"{each.method} {each.path}" for each in transport.requests]
    return found


def own_part(document: dict[str, Any], called: dict[str, list[str]]) -> Contract:
    """The document's operations that are called, and by what."""
    everything = digest(document)
    users: dict[str, list[str]] = {name: [user] for name, user in BESIDE_THE_SERVICES.items()}
    for method, requests in called.items():
        for request in requests:
            users.setdefault(_operation(request, everything), []).append(method)
    return {
        name: replace(operation, used_by=tuple(sorted(users[name])))
        for name, operation in everything.items()
        if name in users
    }


def _operation(request: str, contract: Contract) -> str:
    fitting = [
        name
        for name in contract
        if re.fullmatch("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in _parts(name)), request)
    ]
    assert fitting, f"the client calls {request}, which the OpenAPI document does not have"
    return min(fitting, key=lambda name: name.count("{"))


def _parts(name: str) -> list[str]:
    return re.split(r"(\{[a-z_]+\})", name)


def copy_text() -> str:
    """One operation a line, so that a change of it is seen."""
    contract = to_json(own_part(json.loads(DOCUMENT.read_text()), asyncio.run(calls())))
    lines = (f"{json.dumps(name)}: {json.dumps(contract[name], separators=(',', ':'))}" for name in sorted(contract))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    COPY.write_text(copy_text())
