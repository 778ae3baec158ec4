"""`make docs`: the site builds without a warning, every link in it leads somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_build.links import troubles

from .blocks import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what was said while it was built."""
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return site, done.stdout + done.stderr


def test_the_site_builds_without_a_warning(built: tuple[Path, str]) -> None:
    _, said = built
    assert not re.search(r"warning|error", said, re.IGNORECASE), said


def test_every_link_leads_somewhere_and_nothing_is_fetched_from_elsewhere(built: tuple[Path, str]) -> None:
    site, _ = built
    assert list(troubles(site)) == []
    assert len(list(site.rglob("*.html"))) > 30


def test_what_a_page_links_to_beside_the_documentation_can_be_read_on_the_site(built: tuple[Path, str]) -> None:
    site, _ = built
    assert "sources/examples/exactly_once.py.html" in (site / "realtime.html").read_text()
    assert "CREATE TABLE" in (site / "sources" / "examples" / "exactly_once.py.html").read_text()


def test_a_link_whose_text_is_a_file_name_is_shown_with_the_title_of_its_page(built: tuple[Path, str]) -> None:
    site, _ = built
    shown = (site / "http-client.html").read_text()
    assert re.search(r'<a href="errors\.html">\s*Errors\s*</a>', shown)
    assert ">errors.md<" not in shown


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="gone.html">x</a>', "there is no such file"),
        ('<a href="other.html#gone">x</a>', "there is no such anchor"),
        ('<a href="#gone">x</a>', "there is no such anchor"),
        ('<img src="gone.png">', "there is no such file"),
        ('<a href="../outside.html">x</a>', "it leads out of the site"),
        ('<a href="https://nowhere">x</a>', "no address"),
        ('<a href="http://example.org">x</a>', "it is no https address"),
        ('<a href="https://[broken">x</a>', "no address"),
        ('<script src="https://cdn.example/x.js"></script>', "it is fetched from elsewhere"),
        ('<link rel="stylesheet" href="https://fonts.example/x.css">', "it is fetched from elsewhere"),
        ('<img src="//cdn.example/x.png">', "it is fetched from elsewhere"),
    ],
)
def test_the_check_sees_what_is_wrong(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(body)
    (tmp_path / "other.html").write_text("<h1 id='here'></h1>")
    [trouble] = troubles(tmp_path)
    assert trouble.startswith("index.html: ")
    assert said in trouble


def test_the_check_leaves_alone_what_is_right(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        "<a href='other.html#here'>x</a> <a href='#'>x</a> <a href='https://example.org/a#b'>x</a>"
        "<a href='http://127.0.0.1:8000'>x</a> <a href='other.html?x=1'>x</a> <img src='data:image/png;base64,AA=='>"
    )
    (tmp_path / "other.html").write_text("<a name='there'></a><h1 id='here'></h1><a href='#there'>x</a>")
    assert list(troubles(tmp_path)) == []
