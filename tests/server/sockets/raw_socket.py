"""A WebSocket client byte by byte, for what no library lets a client do: to be silent, not to read, to send garbage."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

from ..conftest import Api

__all__ = ["RawSocket"]

TEXT, CLOSE, PING = 1, 8, 9


class RawSocket:
    """Made by `open`. Reads nothing unless it is told to; what it can hold unread is small."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    async def open(cls, api: Api, headers: dict[str, str] | None = None) -> RawSocket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", api.server.started.port))
        self = cls(sock)
        lines = [
            "GET /api/v1/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *(f"{name}: {value}" for name, value in (api.headers if headers is None else headers).items()),
        ]  # fmt: skip
        await self.send_bytes("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await self._read(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return self

    async def send(self, **frame: Any) -> None:
        await self.send_frame(TEXT, json.dumps(frame).encode())

    async def send_frame(self, opcode: int, payload: bytes = b"", *, is_last: bool = True) -> None:
        await self.send_bytes(frame_bytes(opcode, payload, is_last=is_last))

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload."""
        head = await self._read(2)
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", await self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._read(8))
        return head[0] & 0x0F, await self._read(size)

    async def close_code(self) -> int:
        """Of the close frame; what comes before it is passed over."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])

    async def hello(self) -> None:
        await self.send(op="hello", v=1)
        opcode, payload = await self.read_frame()
        assert (opcode, json.loads(payload)["op"]) == (TEXT, "welcome")

    def close(self) -> None:
        self._sock.close()

    async def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            async with asyncio.timeout(5):
                part = await asyncio.get_running_loop().sock_recv(self._sock, size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def frame_bytes(opcode: int, payload: bytes = b"", *, is_last: bool = True) -> bytes:
    """Masked with zeros, which leave the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BQ", 0x80 | 127, size)
    return bytes([opcode | (0x80 if is_last else 0)]) + length + b"\0\0\0\0" + payload
