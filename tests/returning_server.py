"""A misbehaving server on a port that is known before it is there, and kept when it comes back."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Self

from tests.misbehaving_server import MisbehavingServer


@dataclass(slots=True)
class ReturningServer(MisbehavingServer):
    """`async with` it as often as you like: between the blocks its port refuses connections."""

    port: int = 0

    def __post_init__(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            self.port = int(taken.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self
