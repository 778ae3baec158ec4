"""What users wrote reaches Streamlit so that it reads as it was written. What it makes of it is seen in a browser."""

from __future__ import annotations

import pytest

from playcall.dashboard.plain import cut, plain


@pytest.mark.parametrize(
    "text", ["Board report", "max_files", "12:30", "a (b) c.", "50% done!", "x > y", "v1.2-rc", "Ä 漢 🎉"]
)
def test_what_means_nothing_to_markdown_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("**b**", r"\*\*b\*\*"),
        ("_b_", r"\_b\_"),
        ("<b>", r"\<b>"),
        ("[a](b)", r"\[a\](b)"),
        (":red[x]", r"\:red\[x\]"),
        ("$x$", r"\$x\$"),
        ("&amp;", r"\&amp;"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("one\n\n  two", "one two"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_what_would_mean_something_is_escaped(text: str, escaped: str) -> None:
    assert plain(text) == escaped


@pytest.mark.parametrize(
    "text",
    [
        "a -> b",
        "--",
        "x >= y",
        ":smile:",
        ":material/home:",
        ":streamlit:",
        ":+1:",
        "http://a:80",
        "HTTPS://a",
        "www.a.b",
        "a@b.c",
    ],
)
def test_what_streamlit_replaces_is_kept_apart_by_what_is_not_seen(text: str) -> None:
    shown = plain(text)
    assert "\u2060" in shown
    assert shown.replace("\u2060", "").replace("\\", "") == text


def test_what_is_cut_says_so_and_is_no_longer_than_wanted() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
