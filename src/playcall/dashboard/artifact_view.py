"""A run's artifacts as an HTML table with links; names are escaped, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from playcall.dashboard.files import artifact_link
from playcall.dashboard.html_table import html_table
from playcall.event_words import file_size
from playcall.models import Artifact

__all__ = ["as_html"]


def as_html(run_id: str, artifacts: Sequence[Artifact]) -> str:
    """The links have `download`, so that a browser never leaves the page, also where the backend cannot be had."""
    return html_table(
        ("name", "size", "type", "made by", ""),
        [
            (
                f"<code>{escape(each.name)}</code>",
                file_size(each.size_bytes),
                escape(each.media_type),
                escape(each.step_id or "uploaded"),
                f"<a style='color:#2563eb' href='{escape(artifact_link(run_id, each.name))}' download='{escape(each.name.rpartition('/')[2])}'>"
                "Download</a>",
            )
            for each in artifacts
        ],
    )
