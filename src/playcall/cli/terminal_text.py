"""Texts of other people, on a terminal: a name may hold anything, and a terminal obeys some of it."""

from __future__ import annotations

from typing import Final

__all__ = ["in_place", "lines", "one_line"]

_JOINERS: Final = frozenset("\u200c\u200d")
"""Zero width, and part of words in Persian and Hindi and of many emoji; no terminal obeys them."""


def one_line(text: str) -> str:
    """The text without what a terminal would obey, on one line."""
    return in_place(text).strip()


def in_place(text: str) -> str:
    """As `one_line`, each character at the place that it had."""
    return "".join(_shown(character) for character in text)


def lines(text: str) -> str:
    """As `one_line`, but its line breaks and tabs stay."""
    return "".join(character if character in "\n\t" else _shown(character) for character in text.replace("\r\n", "\n"))


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() else "?"
