"""What came of a click, kept in the browser's session: whatever draws the page anew would wipe it out otherwise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal

import streamlit as st

from playcall.dashboard.errors_shown import show_error
from playcall.dashboard.plain import plain
from playcall.errors import PlaycallError

__all__ = ["Kind", "forget", "say", "settle", "show_notice"]

Kind = Literal["done", "info", "wrong"]

SECONDS: Final = 20.0
"""How long good news stays; what went wrong stays until something else is done."""


@dataclass(frozen=True, slots=True)
class _Notice:
    what: str | PlaycallError
    kind: Kind
    at: float


def say(place: str, what: str | PlaycallError, kind: Kind = "info") -> None:
    """To be shown at this place, instead of what was there. An error is shown with what was tried for it."""
    st.session_state[_key(place)] = _Notice(what, kind, time.monotonic())


def forget(place: str) -> None:
    st.session_state.pop(_key(place), None)


def settle(place: str) -> None:
    """What was announced has come to pass; what went wrong is still true."""
    notice = st.session_state.get(_key(place))
    if isinstance(notice, _Notice) and notice.kind != "wrong" and isinstance(notice.what, str):
        forget(place)


def show_notice(place: str) -> None:
    """What was said last at this place, if it is still worth reading."""
    notice = st.session_state.get(_key(place))
    if not isinstance(notice, _Notice):
        return
    if isinstance(notice.what, PlaycallError):
        show_error(notice.what, heals=False)
    elif notice.kind == "wrong":
        st.error(plain(notice.what), icon=":material/error:")
    elif time.monotonic() - notice.at > SECONDS:
        forget(place)
    elif notice.kind == "done":
        st.success(plain(notice.what), icon=":material/check_circle:")
    else:
        st.info(plain(notice.what), icon=":material/info:")


def _key(place: str) -> str:
    return f"playcall_notice:{place}"
