"""How often somebody may come, to connect or with a request: a token bucket for each caller."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from starlette.types import Scope

__all__ = ["Admission", "Doorkeeper", "peer_name", "peer_of"]

REMEMBERED: Final = 10_000
"""Buckets at most; whoever has been away longest is forgotten, which is to say has a full one."""


@dataclass(frozen=True, slots=True)
class Admission:
    """`wait_seconds`: before going on, for who is let in; before coming back, for who is not."""

    is_in: bool
    wait_seconds: float


class Doorkeeper:
    """Pure: the clock is passed in, in seconds that never go back."""

    def __init__(self, *, per_second: float, burst: int, remembered: int = REMEMBERED) -> None:
        self._per_second = per_second
        self._burst = burst
        self._remembered = remembered
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What was left when, the longest ago first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_seconds(self, caller: str, now: float) -> float:
        """0 for an attempt that is let in, which it then costs; else how long until one would be. A refusal costs nothing:
        whoever comes back when told is let in."""
        return self.admit(caller, now).wait_seconds

    def admit(self, caller: str, now: float, *, patience_seconds: float = 0.0) -> Admission:
        """The same for a caller who can be made to wait at the door, for so long at most."""
        left, at = self._buckets.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._per_second)
        least = -patience_seconds * self._per_second
        if left - 1 >= least:
            left -= 1
            admission = Admission(True, max(0.0, -left / self._per_second))
        else:
            admission = Admission(False, (least + 1 - left) / self._per_second)
        self._buckets[caller] = (left, now)
        while len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return admission

    def left(self, caller: str) -> int:
        """How many attempts more were let in at once, as of the last one."""
        return max(0, int(self._buckets[caller][0])) if caller in self._buckets else self._burst


@lru_cache(maxsize=1_000)
def peer_name(host: str | None) -> str:
    """Whom an address belongs to: an IPv6 subscriber has a whole /64 of them. All whose address is unknown are one."""
    if host is None:
        return "peer:"
    try:
        address = ip_address(host)
    except ValueError:
        return f"peer:{host}"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return f"peer:{address.ipv4_mapped}"
        return f"peer:{IPv6Address(int(address) >> 64 << 64)}/64"
    return f"peer:{address}"


def peer_of(scope: Scope) -> str:
    """Whom a request or socket comes from."""
    client = scope.get("client")
    return peer_name(client[0] if client else None)
