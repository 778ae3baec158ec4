"""Connection status: one picture of HTTP and realtime, fed by real traffic, observable, and kept true while nothing is called.

Which facts make which state is a table in docs/status.md.
"""

from .board import StatusBoard
from .connection_status import ConnectionStatus
from .monitor import BlockingMonitor, Monitor
from .picture import ConnectionState, Status

__all__ = ["BlockingMonitor", "ConnectionState", "ConnectionStatus", "Monitor", "Status", "StatusBoard"]
