"""What each close code and each refused upgrade asks of the client: a table (docs/realtime-protocol.md, «The client», rule 8)."""

from __future__ import annotations

from enum import Enum

__all__ = ["SUSPECT_LIMIT", "Reaction", "for_close", "for_status"]

SUSPECT_LIMIT = 3
"""Ends that smell of a broken contract are fatal when so many come without progress between them."""


class Reaction(Enum):
    RECONNECT = "reconnect"
    SUSPECT = "reconnect; fatal after three without progress"
    RENEW = "renew the credentials once for each READY, then fatal"
    IDENTIFY = "ask who the caller is: refused there too is fatal, else the path is blocked"
    WAIT = "wait as told"
    BLOCKED = "no WebSocket on this path: fall back"
    UNANSWERED = "reconnect; the path may be blocked without a word: fall back"
    NOWHERE = "fatal: nothing can be reached at this address"
    SUBJECT = "fatal: the token is another caller's"
    VERSION = "fatal: the far end speaks another version"


_BY_CLOSE = {
    1002: Reaction.SUSPECT,
    1003: Reaction.SUSPECT,
    1007: Reaction.SUSPECT,
    1008: Reaction.SUSPECT,
    1009: Reaction.SUSPECT,
    1010: Reaction.SUSPECT,
    4401: Reaction.RENEW,
    4403: Reaction.SUBJECT,
    4406: Reaction.VERSION,
}

_BY_STATUS = {
    401: Reaction.RENEW,
    403: Reaction.IDENTIFY,
    404: Reaction.BLOCKED,
    405: Reaction.BLOCKED,
    426: Reaction.BLOCKED,
    429: Reaction.WAIT,
    501: Reaction.BLOCKED,
    503: Reaction.WAIT,
}


def for_close(code: int) -> Reaction:
    """What a connection that was closed with `code` asks for. 1006 is our own name for an end without a close."""
    return _BY_CLOSE.get(code, Reaction.RECONNECT)


def for_status(status: int) -> Reaction:
    """What an upgrade answered with `status` asks for; a redirect is not followed, so its path is as good as blocked."""
    if 300 <= status < 400:
        return Reaction.BLOCKED
    return _BY_STATUS.get(status, Reaction.RECONNECT)
