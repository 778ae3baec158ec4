"""The pictures that are drawn by hand: the house, and the states of a connection and of a subscription."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .drawn import Arrow, Box, Label, drawing

__all__ = ["PICTURES", "make", "pictures"]

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"

PEOPLE: Final = "#e8f0ff"
OURS: Final = "#ffffff"
SERVER: Final = "#fff4e2"
GROUND: Final = "#e9f7ee"
GOOD: Final = "#e9f7ee"
BAD: Final = "#fdebea"


def make() -> None:
    """Writes all of them."""
    for name, svg in pictures().items():
        (PICTURES / f"{name}.svg").write_text(svg)


def pictures() -> dict[str, str]:
    """What is in the files, by name."""
    return {"house": house(), "connection-states": connection_states(), "subscription-states": subscription_states()}


def house() -> str:
    """Each floor stands on those below it."""
    left, width, right = 24, 468, 560
    parts: list[Box | Arrow | Label] = [
        Box("cli", left, 24, 148, 66, ["the terminal"], PEOPLE),
        Box("dashboard", left + 160, 24, 148, 66, ["the browser"], PEOPLE),
        Box("testing", left + 320, 24, 148, 66, ["a bad network"], PEOPLE),
        Box("client", left, 104, width, 62, ["Playcall and AsyncPlaycall: the front door"], OURS),
        Box("services", left, 180, width, 62, ["a noun each; BaseAPIClient, WebSocketClient"], OURS),
        Box("realtime", left, 256, 228, 62, ["every event once, in order"], OURS),
        Box("http", left + 240, 256, 228, 62, ["one request, and its survival"], OURS),
        Box("status · faces · deadline · errors", left, 332, width, 62, ["what all of them stand on"], OURS),
        Box("models", left, 408, width + 268, 62, ["what crosses the wire"], GROUND),
        Box("server", right, 104, 200, 290, ["routes", "event log", "sockets", "engine", "tools"], SERVER),
        Arrow([(98, 24), (98, 12), (660, 12), (660, 104)], dashed=True),
        Label("playcall serve", 652, 60, "end"),
        Arrow([(492, 287), (560, 287)], both=True),
        Label("wire", 526, 280),
    ]
    return drawing(
        784,
        494,
        parts,
        title="The house: cli, dashboard and testing stand on the client, that on services, those on realtime and http; "
        "all of it, and the server beside it, on the models",
    )


def connection_states() -> str:
    """A frame is every state in it: an arrow from a frame leaves each of them."""
    trying = ["connecting", "authenticating", "ready"]
    wanted = [*trying, "backoff"]
    parts: list[Box | Arrow | Label] = [
        Box("", 20, 20, 716, 380, fill="#ffffff"),
        Box("", 154, 84, 434, 296, fill="#f7f9fd", dashed=True),
        Box("", 176, 120, 390, 142, fill="#ffffff", dashed=True),
        Label("something is wanted", 574, 104, "end"),
        Box("idle", 36, 172, 84, 44),
        Box("connecting", 192, 172, 104, 44),
        Box("authenticating", 316, 172, 132, 44),
        Box("ready", 468, 172, 80, 44, fill=GOOD),
        Box("backoff", 330, 312, 104, 44),
        Box("failed", 628, 202, 84, 44, fill=BAD),
        Box("closing", 798, 202, 84, 44),
        Box("closed", 908, 202, 80, 44),
        Arrow([(120, 194), (192, 194)], moves=[("idle", "connecting")]),
        Arrow([(296, 194), (316, 194)], moves=[("connecting", "authenticating")]),
        Arrow([(448, 194), (468, 194)], moves=[("authenticating", "ready")]),
        Arrow([(508, 172), (508, 146), (262, 146), (262, 172)], moves=[("ready", "connecting")]),
        Label("moves to another server", 385, 141),
        Arrow([(382, 262), (382, 312)], moves=each(trying, "backoff")),
        Label("lost, or refused for now", 392, 292, "start"),
        Arrow([(330, 334), (244, 334), (244, 216)], moves=[("backoff", "connecting")]),
        Label("after a pause", 286, 352),
        Arrow([(154, 300), (78, 300), (78, 216)], moves=each(wanted, "idle")),
        Label("nothing is", 84, 322),
        Label("wanted", 84, 338),
        Arrow([(588, 224), (628, 224)], moves=each(wanted, "failed")),
        Label("no use", 672, 266),
        Arrow([(670, 202), (670, 56), (228, 56), (228, 172)], moves=[("failed", "connecting")]),
        Label("wanted anew", 449, 49),
        Arrow([(736, 224), (798, 224)], moves=each(["idle", *wanted, "failed"], "closing")),
        Label("close()", 766, 214),
        Arrow([(882, 224), (908, 224)], moves=[("closing", "closed")]),
    ]
    return drawing(
        1008,
        420,
        parts,
        title="The states of the connection; an arrow from a frame leaves every state in it",
    )


def subscription_states() -> str:
    """As the connection's."""
    parts: list[Box | Arrow | Label] = [
        Box("", 24, 24, 560, 196, fill="#ffffff", dashed=True),
        Box("pending", 48, 100, 104, 46),
        Box("replaying", 252, 100, 104, 46),
        Box("live", 456, 100, 104, 46, fill=GOOD),
        Box("ended", 664, 100, 92, 46),
        Arrow([(152, 114), (252, 114)], moves=[("pending", "replaying")]),
        Label("from a cursor", 202, 107),
        Arrow([(252, 132), (152, 132)], moves=[("replaying", "pending")]),
        Label("lost", 202, 149),
        Arrow([(356, 123), (456, 123)], moves=[("replaying", "live")]),
        Label("caught up", 406, 116),
        Arrow([(80, 100), (80, 60), (508, 60), (508, 100)], moves=[("pending", "live")]),
        Label("at the head", 294, 54),
        Arrow([(508, 146), (508, 188), (80, 188), (80, 146)], moves=[("live", "pending")]),
        Label("lost", 294, 206),
        Arrow([(584, 123), (664, 123)], moves=each(["pending", "replaying", "live"], "ended")),
    ]
    return drawing(
        780,
        244,
        parts,
        title="The states of a subscription; the arrow from the frame leaves every state in it",
    )


def each(states: Sequence[str], new: str) -> list[tuple[str, str]]:
    """From each state of a frame to another one."""
    return [(state, new) for state in states]
