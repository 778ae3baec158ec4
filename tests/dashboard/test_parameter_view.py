"""What users wrote is text, and bounded, wherever values are shown."""

from __future__ import annotations

import json

from playcall.dashboard.json_view import as_text
from playcall.dashboard.parameter_view import as_html
from playcall.dashboard.schema_form import Parameter
from playcall.models import Failure

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_table_of_parameters_escapes_all_of_them() -> None:
    html = as_html([Parameter(HOSTILE, HOSTILE, True, HOSTILE, HOSTILE)])
    assert "<img" not in html
    assert html.count("&lt;img") == 4
    assert "required" in html


def test_where_nothing_is_said_about_them_there_is_no_column_for_it() -> None:
    assert "about" not in as_html([Parameter("a", "text", False, "", "")])
    assert "about" in as_html([Parameter("a", "text", False, "", "b"), Parameter("c", "text", False, "", "")])


def test_a_text_is_shown_as_it_stands_and_anything_else_as_json() -> None:
    assert as_text("a\nb") == ("a\nb", True)
    assert as_text({"ü": [1]}) == ('{\n  "ü": [\n    1\n  ]\n}', True)
    assert json.loads(as_text(Failure(code="c", message="m"))[0]) == {"code": "c", "message": "m"}


def test_a_long_value_is_shown_as_its_beginning_and_said_to_be_so() -> None:
    assert as_text("x" * 11, 10) == ("x" * 10, False)
    assert as_text("x" * 10, 10) == ("x" * 10, True)
