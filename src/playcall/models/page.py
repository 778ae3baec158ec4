"""One page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

from .base import WireModel

T = TypeVar("T")


class Page(WireModel, Generic[T], frozen=True):
    """Items in order of (created_at, id), newest last.

    `next_cursor` is opaque, bound to the filters it was made with, and None on the last page.
    """

    items: list[T]
    next_cursor: str | None = None
