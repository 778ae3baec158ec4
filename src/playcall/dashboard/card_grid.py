"""Cards side by side: so many at first, and as many more with each click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import streamlit as st

from playcall.dashboard.finding import how_many

__all__ = ["CARDS_SECONDS", "show_grid"]

CARDS_SECONDS: Final = 2.0
"""Between two looks at what the cards are of."""
CARDS: Final = 30
COLUMNS: Final = 3

T = TypeVar("T")


def show_grid(items: Sequence[T], show: Callable[[T], None], *, noun: str, more: bool) -> None:
    """To be called in a fragment, which shows more by itself.

    Args:
        show: Draws one card, in its column.
        noun: What one of them is.
        more: Whether there may be older ones that were not looked at.
    """
    many, key = len(items), f"playcall_{noun}_cards"
    shown: int = st.session_state.setdefault(key, CARDS)
    st.caption(how_many(many, noun, more=more, shown=shown))
    for first in range(0, min(many, shown), COLUMNS):
        for column, item in zip(st.columns(COLUMNS), items[first : first + COLUMNS], strict=False):
            with column:
                show(item)
    if many > shown and st.button(f"Show {min(CARDS, many - shown)} more", key=f"playcall_more_{noun}s"):
        st.session_state[key] = shown + CARDS
        st.rerun(scope="fragment")
