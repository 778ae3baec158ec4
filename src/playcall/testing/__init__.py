"""For the tests of programs that use playcall: a mock transport, a live backend, a fault proxy, a delivery oracle.

Nothing is imported until its name is used (PEP 562): `MockTransport` needs no more than the client does, `LiveBackend`
needs the extras `server` and `cli`. The fixtures for pytest are in `pytest_plugin`, which pytest loads by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
