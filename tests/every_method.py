"""Every method of every service, found by looking, and called with something sensible."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playcall.faces import call, stream
from playcall.services.account_service import AccountService
from playcall.services.agent_service import AgentService
from playcall.services.playbook_service import PlaybookService
from playcall.services.run_service import RunService
from playcall.services.task_service import TaskService
from playcall.services.tool_service import ToolService
from tests.both_faces import items, value

SERVICES: dict[str, type] = {
    "playbooks": PlaybookService,
    "runs": RunService,
    "agents": AgentService,
    "tasks": TaskService,
    "tools": ToolService,
    "account": AccountService,
}
FILLINGS: dict[str, Any] = {
    "id": "i1",
    "name": "a.txt",
    "to": Path(tempfile.gettempdir()) / "never-written.txt",
    "source": b"x",
    "text": "a: b",
}


def methods(*taking: str) -> Iterator[tuple[str, str, str]]:
    """Service, method and parameter, for each parameter of one of these names."""
    for name, service in SERVICES.items():
        for member in dir(service):
            found = inspect.getattr_static(service, member)
            if isinstance(found, call | stream) and not member.startswith("_"):
                for parameter in inspect.signature(found.__wrapped__).parameters:  # type: ignore[union-attr]
                    if parameter in taking:
                        yield name, member, parameter


async def use(client: Any, service: str, method: str, **given: Any) -> None:
    """Calls it with what is given, and something sensible for what else it needs."""
    found: Any = inspect.getattr_static(SERVICES[service], method)
    parameters = inspect.signature(found.__wrapped__).parameters
    needed = {
        name: FILLINGS.get(name, {})
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name != "self"
    }
    called = getattr(getattr(client, service), method)(**{**needed, **given})
    await (items(called) if isinstance(found, stream) else value(called))
