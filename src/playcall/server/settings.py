"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DATABASE_FILE", "WITNESS_FILE", "Settings"]

DATABASE_FILE = "playcall.sqlite3"
WITNESS_FILE = "witness"
"""Says how far the database had come; a copy of the database alone is told by it (`playcall.server.incarnation`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fixed for the life of a server.

    Attributes:
        data_dir: Holds everything the server keeps: the database, the workspaces of runs, artifacts.
        port: 0 takes a free one.
        read_roots: Folders that file tools may read besides a run's own workspace.
        allow_private_addresses: HTTP tools may call addresses that are not public, this machine's own among them.
        max_run_bytes: What the files of one run may have together when one more is uploaded; what its steps write, and
            what a retry takes over, counts and is not refused.
        heartbeat_seconds: The server sends a ping on a socket where it has sent nothing for this long.
        silent_heartbeats: A socket is closed when nothing was heard on it, or nothing could be sent, for so many of them.
        hello_seconds: How long a socket that came without credentials may take to say hello.
        max_sockets: Open at the same time in this process; whoever comes then is told to come back.
        connects_per_second, connect_burst: How often one caller may ask for a socket, in the long run and at once: a user,
            or an address where no good credentials came with the upgrade.
        max_request_seconds: Cap on what `X-Request-Timeout-Ms` may ask for, and the limit without it.
        access_token_seconds, refresh_token_seconds: How long tokens live.
        admin_password: Gives the first user, `admin`, a password as well as an API key; None: API key only.
        event_retention_seconds: How long events are kept; None for ever. The log lines of a run are events of its.
        goodbye_spread_ms: Clients that are told goodbye come back spread over this time at most; a few of them over less.
        new_epoch: All logs begin a new epoch with this start: for a database that was put back together with its folder,
            where the server cannot tell.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    read_roots: tuple[Path, ...] = ()
    heartbeat_seconds: float = 15.0
    silent_heartbeats: int = 3
    hello_seconds: float = 5.0
    max_request_seconds: float = 60.0
    max_body_bytes: int = 1_048_576
    max_run_bytes: int = 1_073_741_824
    max_frame_bytes: int = 1_048_576
    max_subscriptions: int = 1_000
    max_sockets: int = 10_000
    connects_per_second: float = 150.0
    connect_burst: int = 400
    max_wait_seconds: float = 60.0
    access_token_seconds: int = 900
    refresh_token_seconds: int = 30 * 86_400
    admin_password: str | None = field(default=None, repr=False)
    event_retention_seconds: float | None = 7 * 86_400
    goodbye_spread_ms: int = 8_000
    drain_seconds: float = 10.0
    allow_private_addresses: bool = False
    new_epoch: bool = False
    max_at_once: int = 32
    lease_seconds: float = 10.0

    @property
    def database_path(self) -> Path:
        return self.data_dir / DATABASE_FILE

    @property
    def witness_path(self) -> Path:
        return self.data_dir / WITNESS_FILE

    @property
    def workspaces_dir(self) -> Path:
        """One folder for each run, made when the run starts, or takes its first file."""
        return self.data_dir / "workspaces"
