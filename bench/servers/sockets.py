"""The server's half of a WebSocket (RFC 6455) for far ends that must not be the bottleneck: text in, prepared bytes out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Final, cast

import uvloop

__all__ = ["Socket", "framed", "serve"]

KEY: Final = re.compile(rb"\r\nsec-websocket-key: *([^\r]+)", re.IGNORECASE)
PROTOCOL: Final = re.compile(rb"\r\nsec-websocket-protocol: *([^\r,]+)", re.IGNORECASE)
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING = 1, 8, 9
BUFFER_BYTES: Final = 262_144
"""What may wait for a client that reads too slowly, beyond the kernel's own buffers."""


def framed(payload: bytes, opcode: int = TEXT) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class Socket(asyncio.Protocol):
    """One client. What it sends is small, so each of its frames is taken to be whole and alone in its message."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._input = b""
        self._open = False
        self.full = False
        """The client does not read as fast as it is sent to."""

    @abstractmethod
    def heard(self, text: str) -> None:
        """A message of the client."""

    def free(self) -> None:
        """It reads again: more may be written."""

    def gone(self) -> None:
        """The connection has ended."""

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class
        self._transport.set_write_buffer_limits(BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.free()

    def data_received(self, data: bytes) -> None:
        self._input += data
        if not self._open:
            head, end, rest = self._input.partition(b"\r\n\r\n")
            if not end:
                return
            self._input = rest
            self._upgrade(head)
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self.heard(payload.decode())
            elif opcode == PING:
                self.write(framed(payload, 10))
            elif opcode == CLOSE:
                self.write(framed(payload, CLOSE))
                assert self._transport is not None
                self._transport.close()

    def _upgrade(self, head: bytes) -> None:
        key = KEY.search(head)
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1].strip() + GUID).digest())
        protocol = PROTOCOL.search(head)
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += b"Sec-WebSocket-Accept: " + accept + b"\r\n"
        if protocol is not None:
            answer += b"Sec-WebSocket-Protocol: " + protocol[1].strip() + b"\r\n"
        self._open = True
        self.write(answer + b"\r\n")

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._input
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        end = at + 4 + size
        if len(data) < end:
            return None
        mask = data[at : at + 4] * (size // 4 + 1)
        payload = bytes(byte ^ by for byte, by in zip(data[at + 4 : end], mask, strict=False))
        self._input = data[end:]
        return data[0] & 0x0F, payload


def serve(make: Callable[[], Socket]) -> None:
    """Prints the port, and serves until it is killed."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(main())
