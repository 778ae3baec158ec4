"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from playcall.server.telemetry.logs import LogFormat

__all__ = ["DATABASE_FILE", "WITNESS_FILE", "Settings"]

DATABASE_FILE = "playcall.sqlite3"
WITNESS_FILE = "witness"
"""Says how far the database had come; a copy of the database alone is told by it (`playcall.server.running.incarnation`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fixed for the life of a server.

    Attributes:
        data_dir: Holds everything the server keeps: the database, the workspaces of runs, artifacts.
        database_url: `postgresql://user:password@host/database`, which several servers may use at a time; None for the
            SQLite file in `data_dir`. A secret, for its password.
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
        run_retention_seconds: How long runs, and tasks without one, are kept after their end, with their files; None for ever.
        goodbye_spread_ms: Clients that are told goodbye come back spread over this time at most; a few of them over less.
        max_at_once: How many runs of one user are worked on at the same time, by all processes together, and how many
            tasks of each of their agents; the others wait as queued.
        lease_seconds: With several processes: one that was not heard of for this long is taken for dead, and others go on
            with its runs.
        requests_per_second, request_burst: What one user may ask for, in the long run and at once, and one address without
            good credentials; of each process. 0 a second: as much as they like.
        cors_origins: Pages of these origins (`https://board.example`) may call this server and open sockets; `*` all.
        new_epoch: All logs begin a new epoch with this start: for a database that was put back together with its folder,
            where the server cannot tell.
        model_base_url: An OpenAI-compatible endpoint (`https://…/v1`), which agents with a model are asked at; None: none.
            It is the operator's, so it may be a private address.
        model_api_key: The endpoint's key; None sends none of worth.
        models: The names that an agent's `model` may have; empty: whatever the endpoint knows.
        model_silence_seconds: The longest wait for the next piece of an answer.
        max_model_tokens: Of one answer.
        max_model_rounds: Requests that one prompt may make: each but the last calls tools.
        metrics_token: Whoever brings it as a bearer token may read `/metrics`; None: nothing is counted.
        metrics_dir: Where the processes of one machine count together; None for a process that is alone.
        log_format: `text` for people, or `json`.
        enable_shell: There is a tool `shell`. It gives whoever may make an agent the rights of the server's own user.
    """

    data_dir: Path
    database_url: str | None = field(default=None, repr=False)
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
    run_retention_seconds: float | None = None
    goodbye_spread_ms: int = 8_000
    drain_seconds: float = 10.0
    allow_private_addresses: bool = False
    new_epoch: bool = False
    requests_per_second: float = 200.0
    request_burst: int = 1_000
    cors_origins: tuple[str, ...] = ()
    max_at_once: int = 32
    lease_seconds: float = 10.0
    model_base_url: str | None = None
    model_api_key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    model_silence_seconds: float = 120.0
    max_model_tokens: int = 8_192
    max_model_rounds: int = 12
    metrics_token: str | None = field(default=None, repr=False)
    metrics_dir: Path | None = None
    log_format: LogFormat = "text"
    enable_shell: bool = False

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
