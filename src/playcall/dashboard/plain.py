"""Text of users as text: Streamlit reads many of its arguments as Markdown, and knows directives of its own in it."""

from __future__ import annotations

import re

__all__ = ["cut", "plain"]

_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_SPECIAL = re.compile(
    r"[\\`*\[\]<$~]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is a letter
    r"|:(?=[a-z])"  # :red[…]
    r"|&(?=[#\w])"
    r"|^[#>+=-]"
)
_NUMBERED = re.compile(r"^(\d+)([.)])")
_REPLACED = re.compile(r"(?<!\S)(<->|->|<-|--|>=|<=|~=)(?!\S)|:(?=(?:[\w-]*[A-Za-z][\w-]*|[+-]1)(?:/\w+)?:)")
"""What Streamlit replaces whether it was escaped or not: arrows, smileys, its icons."""
_LINKED = re.compile(r"(?i)(?<=http)(?=://)|(?<=https)(?=://)|(?<=www)(?=\.)|(?<=[\w.+-])(?=@[\w-])")
"""Where addresses can be broken, which become links likewise."""


def plain(text: str) -> str:
    """`text` as it reads, in one line, for whatever takes Markdown: labels, captions, messages.

    CommonMark lets ASCII punctuation be escaped (section 2.4). No more is than has to be: of a widget's label screen
    readers get the source. Arrows, smileys, icons and addresses are kept as they were written by a word joiner, which is
    not seen but copied: where a text is to be copied, show it by what takes no Markdown.
    """
    line = _BREAKS.sub(" ", text).strip()
    line = _REPLACED.sub(lambda found: found[0][0] + "\u2060" + found[0][1:], line)
    line = _LINKED.sub("\u2060", line)
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", line))


def cut(text: str, characters: int) -> str:
    """At most so many characters, the last an ellipsis where some are left out."""
    return text if len(text) <= characters else text[: max(0, characters - 1)] + "…"
