"""The address that a server listens on."""

from __future__ import annotations

import errno
import socket

from playcall.server.running.starting import StartupError, reason_of
from playcall.server.settings import Settings

__all__ = ["bind", "url_host"]


def bind(settings: Settings) -> socket.socket:
    """The address is taken, and nobody can connect before a server has started on it.

    Raises:
        StartupError: It cannot be.
    """
    where = f"{url_host(settings.host)}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise StartupError(f"{settings.host} is not an address of this machine; choose another with --host") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"{where} is in use; choose another port with --port (0 takes a free one)") from None
        raise StartupError(f"cannot listen on {where}: {reason_of(error)}") from None


def url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
