"""A tap on one connection: it forwards what both ends say and keeps it, so that the places between frames are known."""

from __future__ import annotations

import socket
import threading
from typing import Literal, Self
from urllib.parse import urlsplit

__all__ = ["Tap", "Way", "frame_boundaries"]

Way = Literal["up", "down"]

HEAD_END = b"\r\n\r\n"


class Tap:
    """Takes one connection to `upstream`; `sent` is what went each way."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sides: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="tap", daemon=True)
        self.sent: dict[Way, bytearray] = {"up": bytearray(), "down": bytearray()}
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for side in (*self._sides, self._listener):
            _shut(side)
            side.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return  # nobody came
        far = socket.create_connection(self._upstream)
        self._sides += [near, far]
        answers = threading.Thread(target=self._forward, args=(far, near, "down"), name="tap-down", daemon=True)
        answers.start()
        self._forward(near, far, "up")
        answers.join(10)

    def _forward(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        try:
            while piece := source.recv(65_536):
                self.sent[way] += piece
                sink.sendall(piece)
        except OSError:
            pass  # one side has closed, which the other is told now
        _shut(sink)


def _shut(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already


def frame_boundaries(sent: bytes | bytearray) -> list[int]:
    """Where the head of the upgrade ends, and each frame after it (RFC 6455 section 5.2), in bytes from the beginning.

    What is not whole at the end is left out.
    """
    at = sent.find(HEAD_END)
    if at < 0:
        raise ValueError("no upgrade was recorded")
    at += len(HEAD_END)
    found = [at]
    while at + 2 <= len(sent):
        size, is_masked, header = sent[at + 1] & 0x7F, sent[at + 1] & 0x80, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(sent[at + 2 : at + 2 + width])
            header += width
        at += header + (4 if is_masked else 0) + size
        if at > len(sent):
            break
        found.append(at)
    return found
