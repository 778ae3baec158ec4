"""The README's moving picture plays wherever pictures are shown, and shows what it was taken for."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from pictures.recording import Recording, moving_svg

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "terminal.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_it_is_small_plays_without_a_script_and_fetches_nothing() -> None:
    root = ElementTree.fromstring(PICTURE.read_text())
    assert PICTURE.stat().st_size <= 200_000
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "style", "rect", "path", "circle", "text", "tspan", "animate"}
    assert not [name for element in root.iter() for name in element.attrib if "href" in name or name.startswith("on")]
    assert "url(" not in PICTURE.read_text()


def test_its_lines_move_together_for_ever() -> None:
    moves = list(ElementTree.fromstring(PICTURE.read_text()).iter(f"{SVG}animate"))
    [(lasts, repeated)] = {(move.attrib["dur"], move.attrib["repeatCount"]) for move in moves}
    assert 10 <= float(lasts.removesuffix("s")) <= 15
    assert repeated == "indefinite"


def test_it_shows_a_connection_that_breaks_and_heals_and_a_run_that_completes() -> None:
    said = ["".join(text.itertext()) for text in ElementTree.fromstring(PICTURE.read_text()).iter(f"{SVG}text")]
    for word in ("reconnecting", "connected, 1 reconnect", "completed", "the connection is lost", "made report.md"):
        assert any(word in line for line in said), word


def test_a_line_is_drawn_once_for_the_time_that_it_stood_there_and_the_end_is_what_stands_still() -> None:
    first, last = (("1 < 2", "#d7dce5", False, False),), (("done", "#5fd38d", True, False),)
    recording = Recording([(0.0, [first]), (1.0, [first]), (2.0, [last])], 4.0, 20)
    texts = list(ElementTree.fromstring(moving_svg(recording, "a & b")).iter(f"{SVG}text"))
    drawn = [("".join(text.itertext()), text.get("opacity"), text[-1].get("keyTimes")) for text in texts]
    assert drawn == [("1 < 2", "0", "0;0.5"), ("done", None, "0;0.5")]
    assert [text[-1].get("values") for text in texts] == ["1;0", "0;1"]
