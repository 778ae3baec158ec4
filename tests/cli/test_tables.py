"""What commands print, at any width and whatever people call their things."""

from __future__ import annotations

import io
import json
import re
import string
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from playcall.cli import tables
from playcall.cli.tables import json_text, show_fields, show_json, show_table
from playcall.cli.terminal_text import in_place, lines, one_line

ROWS = [("tol_305de7c2a17c5ea2f3040d4c", "日本語の名前", "counts things"), ("tol_2", "e\u0301clair", "x" * 60)]
COLUMNS: Any = {"id": lambda row: row[0], "name": lambda row: row[1], "description": lambda row: row[2]}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes standard output a terminal of so many columns."""

    def of(columns: int) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    return of


def unstyled(text: str) -> str:
    """Without the bold type and colours that are ours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# --- texts of others --------------------------------------------------------------------------------------------------


@given(st.text())
def test_no_character_that_a_terminal_obeys_is_shown(text: str) -> None:
    assert all(each.isprintable() or each in "\u200c\u200d" for each in one_line(text))
    assert all(each.isprintable() or each in "\u200c\u200d\n\t" for each in lines(text))
    assert len(in_place(text)) == len(text)


@pytest.mark.parametrize("text", ["日本語", "e\u0301clair", "नमस्ते", "👩\u200d💻", "a  b", "[red]x[/red]"])
def test_what_a_terminal_only_shows_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\x1b]0;title\x07", "\u202e", "\r", "\x08", "\x7f"])
def test_a_name_reaches_the_terminal_without_its_escape_sequences(
    evil: str, terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns in (40, 200):
        terminal(columns)
        show_table([(f"a{evil}", f"b{evil}", f"c{evil}")], COLUMNS)
        show_fields({"name": f"a{evil}"})
        shown = unstyled(capsys.readouterr().out)
        assert "a" in shown
        assert not set(evil) & set(shown) - set(string.printable[:94])


@given(st.text())
def test_json_says_exactly_what_is_and_nothing_that_a_terminal_obeys(text: str) -> None:
    written = json_text({"name": text})
    assert json.loads(written) == {"name": text}
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in written)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_fits_the_terminal_and_its_first_column_is_never_cut(
    columns: int, terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(columns)
    show_table(ROWS, COLUMNS)
    shown = unstyled(capsys.readouterr().out)
    assert max(map(cell_len, shown.splitlines())) <= columns
    for row in ROWS:
        assert any(row[0] in line for line in shown.splitlines())


def test_where_a_table_cannot_be_read_each_row_is_a_block(terminal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    terminal(40)
    show_table(ROWS, COLUMNS)
    assert [line.rstrip() for line in unstyled(capsys.readouterr().out).splitlines()[:3]] == [
        "tol_305de7c2a17c5ea2f3040d4c", "name         日本語の名前", "description  counts things",
    ]  # fmt: skip


def test_columns_stand_under_each_other_whatever_the_width_of_letters(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, COLUMNS)
    heads, *rows = capsys.readouterr().out.splitlines()
    at = cell_len(heads[: heads.index("DESCRIPTION")])
    assert {cell_len(row[: row.index(cells[2])]) for row, cells in zip(rows, ROWS, strict=True)} == {at}


def test_what_is_piped_is_whole_and_has_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([("1", "failed", "x" * 5_000)], COLUMNS)
    assert capsys.readouterr().out.splitlines()[1] == "1   failed  " + "x" * 5_000


def test_a_long_list_begins_before_it_is_read_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []

    def endless() -> Any:
        for number in range(tables.BATCH + 1):
            seen.append(len(capsys.readouterr().out))
            yield str(number), "name", "text"

    show_table(endless(), COLUMNS)
    assert seen[tables.BATCH - 1] == 0
    assert seen[tables.BATCH] > 0


def test_json_lines_are_written_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def rows() -> Any:
        for number in range(3):
            seen.append(capsys.readouterr().out)
            yield {"number": number}

    show_json(rows())
    assert seen == ["", '{"number":0}\n', '{"number":1}\n']


def test_an_empty_list_says_so_on_the_side(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([], COLUMNS, empty="nothing there")
    assert capsys.readouterr() == ("", "nothing there\n")


def test_fields_leave_out_what_is_not_there_and_indent_what_has_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"name": "a", "none": None, "no": False, "zero": 0, "empty": [], "text": "one\ntwo"})
    assert capsys.readouterr().out == "name  a\nno    no\nzero  0\ntext  one\n      two\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_program_reads_every_name_in_whatever_encoding_the_output_has(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="replace"))
    show_json({"name": "Jörg 日本 \U0001f600"})
    sys.stdout.flush()
    assert json.loads(written.getvalue().decode(encoding)) == {"name": "Jörg 日本 \U0001f600"}
