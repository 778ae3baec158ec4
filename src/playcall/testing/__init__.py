"""For the tests of programs that use playcall: a mock transport, a live backend, a fault proxy, a delivery oracle.

Nothing is imported until its name is used (PEP 562): `MockTransport` needs no more than the client does, `LiveBackend`
needs the extras `server` and `cli`. The fixtures for pytest are in `pytest_plugin`, which pytest loads by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fault_proxy import FaultProxy, ProxiedRequest
    from .live_backend import BackendStartError, LiveBackend
    from .mock_transport import MockAnswer, MockFault, MockRequest, MockTransport
    from .oracle import DeliveryOracle, Verdict, read_log, read_log_async

__all__ = [
    "BackendStartError",
    "DeliveryOracle",
    "FaultProxy",
    "LiveBackend",
    "MockAnswer",
    "MockFault",
    "MockRequest",
    "MockTransport",
    "ProxiedRequest",
    "Verdict",
    "read_log",
    "read_log_async",
]

_HOMES = {
    "BackendStartError": "live_backend",
    "DeliveryOracle": "oracle",
    "FaultProxy": "fault_proxy",
    "LiveBackend": "live_backend",
    "MockAnswer": "mock_transport",
    "MockFault": "mock_transport",
    "MockRequest": "mock_transport",
    "MockTransport": "mock_transport",
    "ProxiedRequest": "fault_proxy",
    "Verdict": "oracle",
    "read_log": "oracle",
    "read_log_async": "oracle",
}


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
