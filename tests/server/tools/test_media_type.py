"""A media type is one that can be sent again as it came."""

from __future__ import annotations

import pytest

from playcall.server.tools.media_type import guessed_media_type, is_media_type


@pytest.mark.parametrize(
    "text",
    [
        "text/csv",
        "application/vnd.api+json",
        "text/plain;charset=utf-8",
        "text/csv; header=present; charset=utf-8",
        'text/plain; charset="utf-8"',
        r'a/b; c="d \" ; e"',
        "a/b ;",
        "a/b;;c=d",
    ],
)
def test_parameters_are_taken_with_words_and_quoted_texts(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    ["", "text", "text/", "/csv", "a/b/c", "a b/c", "a/b; c", "a/b; c=", 'a/b; c="', "a/b\r\nX: y", "a/b\n", "a/é",
     'a/b; c="é"', "a/" + "b" * 199],
)  # fmt: skip
def test_what_could_not_be_sent_in_a_header_is_none(text: str) -> None:
    assert not is_media_type(text)


def test_a_long_text_is_refused_in_no_time() -> None:
    """Its quoted parts and semicolons can be read in one way only."""
    assert not is_media_type("a/b" + ";" * 195 + "!")
    assert not is_media_type('a/b; c="' + "\\" * 190)


@pytest.mark.parametrize(
    ("name", "guessed"),
    [
        ("a.csv", "text/csv"),
        ("folder.csv/a", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("data:text/html\r\nX-Evil: y,z", "application/octet-stream"),
        ("http://x/a.csv", "text/csv"),
    ],
)
def test_a_name_tells_by_its_end_only(name: str, guessed: str) -> None:
    assert guessed_media_type(name) == guessed
