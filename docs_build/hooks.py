"""MkDocs hooks: pages are written to be read on a code host, and made to read as well on the site.

What a page links to outside `docs/` (`../examples/exactly_once.py`) gets a page on the site, with its source. A link whose
text is the name of a page (`[retries.md](retries.md)`) is shown with that page's title.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

__all__ = ["on_files", "on_page_content", "on_page_markdown"]

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
LINK: Final = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+)(?=\)|#)")
NAMED: Final = re.compile(r"\[`?[\w./-]+\.md`?\]\((?P<target>[\w./-]+\.md)(?P<anchor>#[^)]*)?\)")
TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
TEST: Final = re.compile(r"(?<=<code>)test_\w+(?=</code>)")
WIDE: Final = {"index.md": ["navigation", "toc"], "tutorial/index.md": ["navigation"]}
"""Pages that have nothing beside them; here, because a code host would show it at their head."""
LANGUAGES: Final = {".py": "python", ".yaml": "yaml"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds a page for each file or folder outside that a page of ours links to."""
    targets: set[Path] = set()
    for file in files.documentation_pages():
        for link in LINK.findall(file.content_string):
            if (target := _outside(file.src_uri, link)) is not None:
                targets.add(target)
    for target in sorted(targets):
        made = File.generated(config, _name(target), content=_page(target), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(made)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads such links to those pages, and gives others their titles."""

    page.meta["hide"] = WIDE.get(page.file.src_uri, [])

    def led(match: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, match[1])
        if target is None:
            return match[0]
        return os.path.relpath(_name(target), Path(page.file.src_uri).parent)

    def named(match: re.Match[str]) -> str:
        target = DOCS / Path(page.file.src_uri).parent / match["target"]
        title = TITLE.search(target.read_text()) if target.is_file() else None
        return match[0] if title is None else f"[{title[1]}]({match['target']}{match['anchor'] or ''})"

    return NAMED.sub(named, LINK.sub(led, markdown))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lets the name of a test, which is a sentence, break between its words."""
    return TEST.sub(lambda name: name[0].replace("_", "_<wbr>"), html)


def _outside(src_uri: str, link: str) -> Path | None:
    """The file or folder that a link leads to; None where that is a page of ours.

    Raises:
        PluginError: there is no such file.
    """
    target = Path(os.path.normpath(DOCS / Path(src_uri).parent / link))
    if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT):
        return None
    if not target.exists():
        raise PluginError(f"{src_uri} links to {link}, and there is no such file")
    return target


def _name(target: Path) -> str:
    return f"sources/{target.relative_to(ROOT).as_posix()}.md"


def _page(target: Path) -> str:
    shown = target.relative_to(ROOT).as_posix()
    if target.suffix == ".md":
        # Its links to pages of ours, seen from where it stands on the site.
        up = os.path.relpath(DOCS, (DOCS / _name(target)).parent)
        return re.sub(r"\]\((?:\.\./)*docs/", f"]({up}/", target.read_text())
    if target.is_dir():
        parts = [each for each in sorted(target.rglob("*")) if each.suffix in LANGUAGES]
        blocks = [f"## {each.relative_to(target).as_posix()}\n\n{_block(each)}" for each in parts]
        return f"# {shown}\n\n" + "\n\n".join(blocks) + "\n"
    return f"# {shown}\n\n{_block(target)}\n"


def _block(file: Path) -> str:
    return f"~~~~{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text()}~~~~"
