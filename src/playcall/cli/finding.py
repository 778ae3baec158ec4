"""What a command is about, by its id or by its name: people know names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import InvalidArgumentError, NotFoundError
from .failing import FAILED, fail

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.agent import Agent
    from ..models.playbook import Playbook
    from ..models.tool import Tool

__all__ = ["Named", "the_agent", "the_playbook", "the_tool"]


class Named(Protocol):
    @property
    def name(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)


def the_playbook(client: Playcall, wanted: str) -> Playbook:
    from ..models.names import NAME_CHARACTERS

    text = wanted[:NAME_CHARACTERS]  # a backend refuses to look for more
    return _by_id_or_name(client.playbooks.get, lambda: client.playbooks.list(text=text), wanted, noun="playbook")


def the_agent(client: Playcall, wanted: str) -> Agent:
    return _by_id_or_name(client.agents.get, client.agents.list, wanted, noun="agent")


def the_tool(client: Playcall, wanted: str) -> Tool:
    return _by_id_or_name(client.tools.get, client.tools.list, wanted, noun="tool")


def _by_id_or_name(
    get: Callable[[str], NamedT], candidates: Callable[[], Iterable[NamedT]], wanted: str, *, noun: str
) -> NamedT:
    """The one with this id, or else with exactly this name; names are unique for their owner.

    Args:
        candidates: Those among which the name is looked for.
        noun: What it is, for the sentence that ends the command where there is none.
    """
    try:
        return get(wanted)
    except (NotFoundError, InvalidArgumentError):  # many a name is no part of a path, and so no id
        found = next((each for each in candidates() if each.name == wanted), None)
    if found is None:
        fail(FAILED, f"no {noun} has the id or the name {wanted!r}")
    return found
