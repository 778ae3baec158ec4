"""The fenced blocks of a page, in order.

What is marked `bash` is executed by the tests, in the order of the page; what is marked `sh` is only shown. A block that
begins with a comment that names a file (`# words.yaml`) is that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "Block", "blocks", "pages"]

ROOT: Final = Path(__file__).parents[2]
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# ([\w.-]+\.\w+)\n")
_SNIPPET: Final = re.compile(r'^--8<-- "([^"]+)"\n', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """`text` as the reader sees it: what is included from another file stands in it."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        named = _FILE.match(self.text)
        return None if named is None else named[1]


def blocks(page: Path) -> list[Block]:
    return [Block(language, _included(text)) for language, text in _BLOCK.findall(page.read_text())]


def pages() -> dict[str, Path]:
    """Every page of ours by its path from the root: the README, and those of the documentation."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {page.relative_to(ROOT).as_posix(): page for page in found}


def _included(text: str) -> str:
    return _SNIPPET.sub(lambda snippet: (ROOT / snippet[1]).read_text(), text)
