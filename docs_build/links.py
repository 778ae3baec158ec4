"""`python -m docs_build.links SITE`: every link of the built site leads somewhere, and nothing is fetched from elsewhere.

Links within the site are followed, their anchors too. Addresses elsewhere are only read: there may be no network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["troubles"]

FETCHED: Final = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("object", "data")}
"""What a browser gets by itself; of `link` see `_Page`."""
FETCHING_RELS: Final = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "manifest"}


def troubles(site: Path) -> Iterator[str]:
    """Says of each link that leads nowhere where it stands and why it does not."""
    pages = {file: _Page.read(file) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        shown = file.relative_to(site)
        for link, fetched in page.links:
            if file.name == "404.html" and link.startswith("/"):
                link = link.removeprefix("/") or "index.html"  # it is served at any depth, so it has absolute links
            if why := _trouble(site, file, link, fetched, pages):
                yield f"{shown}: {link}: {why}"


def _trouble(site: Path, file: Path, link: str, fetched: bool, pages: dict[Path, _Page]) -> str | None:
    try:
        parts = urlsplit(link)
        _ = parts.port
    except ValueError as error:
        return f"no address: {error}"
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        if fetched:
            return "it is fetched from elsewhere"
        if parts.scheme == "mailto":
            return None if "@" in parts.path else "no address"
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}):
            return "it is no https address"
        return None if parts.hostname and "." in parts.hostname and " " not in link else "no address"
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir():
        target = target / "index.html"
    if not target.is_relative_to(site.resolve()):
        return "it leads out of the site"
    if not target.is_file():
        return "there is no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "there is no such anchor"
    return None


@dataclass
class _Page(HTMLParser):
    links: list[tuple[str, bool]] = field(default_factory=list)
    """What it leads to, and whether a browser fetches it by itself."""
    anchors: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, file: Path) -> _Page:
        page = cls()
        page.feed(file.read_text(encoding="utf-8"))
        return page

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        for name in ("id", "name"):
            if name in given and (name == "id" or tag == "a"):
                self.anchors.add(given[name])
        if tag == "a" and "href" in given:
            self.links.append((given["href"], False))
        if tag == "link" and "href" in given:
            self.links.append((given["href"], bool(FETCHING_RELS & set(given.get("rel", "").split()))))
        for name in ("src", "data"):
            if (tag, name) in FETCHED and name in given:
                self.links.append((given[name], True))


def main() -> None:
    found = list(troubles(Path(sys.argv[1]).resolve()))
    for each in found:
        sys.stderr.write(f"{each}\n")
    if found:
        raise SystemExit(f"{len(found)} links lead nowhere")


if __name__ == "__main__":
    main()
