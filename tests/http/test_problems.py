"""From an error answer to its error: never a lost reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from playcall.errors import (
    InputsInvalidError,
    InvalidRequestError,
    NotFoundError,
    PlaybookNotFoundError,
    RateLimitedError,
    ServerError,
    StatusError,
)
from playcall.http.field_problems import describe
from playcall.http.problems import problem_of, status_error
from playcall.http.transport import WireAnswer
from playcall.models.problem import FieldProblem
from playcall.timeline import Timeline

TIMELINE = Timeline("GET", "/items/3", 60.0, changes=False)
JSON = {"Content-Type": "application/json; charset=utf-8"}


def answer(body: bytes | str, status: int = 200, headers: Mapping[str, str] = JSON) -> WireAnswer:
    return WireAnswer(status, CIMultiDict(headers), body.encode() if isinstance(body, str) else body)


def refused(status: int, body: object, headers: Mapping[str, str] = JSON) -> StatusError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_error(answer(raw, status, headers), TIMELINE, "mine", may_have_happened=False)


def test_a_problem_of_rfc_9457_is_parsed_and_named_by_its_code() -> None:
    error = refused(
        404,
        {"type": "about:blank", "title": "Not Found", "detail": "no playbook has this id", "status": 404}
        | {"code": "playbook_not_found", "request_id": "theirs", "extra": 1},
        {"Content-Type": "application/problem+json"},
    )
    assert type(error) is PlaybookNotFoundError
    assert error.message == "GET /items/3 answered 404: no playbook has this id (request id theirs)"
    assert error.code == "playbook_not_found"
    assert error.problem is not None
    assert error.problem.title == "Not Found"


def test_fastapi_s_plain_detail_is_the_reason() -> None:
    error = refused(404, {"detail": "Item not found"})
    assert type(error) is NotFoundError
    assert "Item not found" in error.message
    assert error.code is None
    assert error.request_id == "mine"


def test_fastapi_s_list_of_details_becomes_field_errors() -> None:
    error = refused(
        422,
        {
            "detail": [
                {"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": {"secret": "x"}},
                {"type": "int", "loc": ["query", "limit"], "msg": "not a number"},
                "garbage",
                {"no": "loc"},
            ]
        },
    )
    assert type(error) is InvalidRequestError
    assert [each.loc for each in error.errors] == [["body", "name"], ["query", "limit"]]
    assert "name: Field required; limit: not a number" in error.message


@pytest.mark.parametrize(
    ("detail", "code", "said"),
    [
        ({"code": "SOLD_OUT", "message": "no copies left"}, "SOLD_OUT", "no copies left"),
        ({"code": "BAD_PASSWORD", "reason": "too short"}, "BAD_PASSWORD", "too short"),
        ({"msg": "m"}, None, "m"),
        ({"code": 3, "message": {"de": "x"}}, None, "conflict"),
        ({}, None, "conflict"),
    ],
)
def test_an_object_as_detail_gives_its_code_and_its_reason(detail: object, code: str | None, said: str) -> None:
    error = refused(409, {"detail": detail})
    assert error.code == code
    assert error.message.lower() == f"get /items/3 answered 409: {said} (request id mine)"


def test_field_errors_within_a_detail_or_in_other_forms_are_read() -> None:
    for body in (
        {"detail": {"message": "m", "errors": [{"field": "title", "message": "too short"}]}},
        {"message": "m", "errors": {"title": ["too short"]}},
        {"message": "m", "errors": {"title": "too short"}},
        {"detail": "m", "errors": [{"loc": ["body", "title"], "msg": "too short", "type": "x"}, {"field": 3}]},
    ):
        error = refused(400, body)
        assert "m: title: too short" in error.message
        assert [each.field for each in error.errors] == ["title"]


def missing(*loc: str | int) -> dict[str, Any]:
    return {"type": "missing", "loc": ["body", *loc], "msg": "Field required"}


def unknown(*loc: str | int) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted"}


@pytest.mark.parametrize(
    ("entries", "suggestions"),
    [
        ([missing("name"), unknown("nmae")], [None, "name"]),
        ([unknown("nmae"), missing("title"), missing("name")], ["name", None, None]),
        ([missing("steps", 0, "agent"), unknown("steps", 0, "agnet")], [None, "agent"]),
        ([missing("steps", 0, "agent"), unknown("steps", 1, "agnet")], [None, None]),
        ([missing("name"), unknown("colour")], [None, None]),
        ([unknown("nmae")], [None]),
        ([missing("name"), {**unknown("nmae"), "suggestion": "theirs"}], [None, "theirs"]),
        ([missing(), unknown()], [None, None]),
    ],
    ids=str,
)
def test_an_unknown_field_beside_a_missing_one_of_nearly_its_name_is_a_slip(
    entries: list[dict[str, Any]], suggestions: list[str | None]
) -> None:
    error = refused(422, {"detail": entries})
    assert [each.suggestion for each in error.errors] == suggestions
    if suggestions == [None, "name"]:
        assert "nmae: Extra inputs are not permitted; did you mean 'name'?" in error.message


@pytest.mark.parametrize(
    ("loc", "field"),
    [
        (["body", "steps", 0, "agent"], "steps[0].agent"),
        (["query", "limit"], "limit"),
        (["header", "x-key"], "x-key"),
        (["title"], "title"),
        (["body"], ""),
        ([], ""),
    ],
    ids=str,
)
def test_a_field_is_named_as_its_caller_writes_it(loc: list[str | int], field: str) -> None:
    assert FieldProblem(loc=loc, msg="m", type="x").field == field


def test_field_errors_show_three_and_count_the_rest() -> None:
    errors = [{"loc": ["body", "inputs", f"f{n}"], "msg": "wrong", "type": "x"} for n in range(5)]
    error = refused(422, {"title": "Invalid", "code": "inputs_invalid", "errors": errors})
    assert type(error) is InputsInvalidError
    assert "inputs.f2: wrong; and 2 more" in error.message
    assert len(error.errors) == 5


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (
            FieldProblem(loc=["body", "steps", 0, "agent"], msg="no such agent", type="x"),
            "steps[0].agent: no such agent",
        ),
        (FieldProblem(loc=[], msg="wrong", type="x"), "the body: wrong"),
        (FieldProblem(loc=["a"], msg="m", type="x", line=7, column=5), "a: m (line 7, column 5)"),
        (FieldProblem(loc=["a"], msg="m", type="x", suggestion="b"), "a: m; did you mean 'b'?"),
    ],
    ids=lambda value: None if isinstance(value, FieldProblem) else value,
)
def test_a_wrong_field_is_one_line(problem: FieldProblem, line: str) -> None:
    assert describe(problem) == line


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>Bad Gateway</html>", "text/html"),
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b'"x"', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff", "application/problem+json"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_error_answer_that_is_no_problem_keeps_its_status(body: bytes, content_type: str) -> None:
    error = refused(502, body, {"Content-Type": content_type, "X-Request-ID": "rid"})
    assert type(error) is ServerError
    assert error.problem is None
    assert error.errors == ()
    assert error.message == "GET /items/3 answered 502: bad gateway (request id rid)"


@pytest.mark.parametrize(
    "strange",
    [{"detail": 3}, {"detail": None}, {"errors": "x"}, {"errors": [1]}, {"code": 3, "title": []}, {"type": None}, {}],
    ids=str,
)
def test_a_problem_with_members_of_strange_types_is_still_read(strange: dict[str, Any]) -> None:
    error = refused(418, strange)
    assert type(error) is StatusError
    assert error.code is None
    assert "418" in error.message


def test_a_long_detail_is_cut_in_the_message_and_whole_in_the_problem() -> None:
    error = refused(400, {"detail": "x" * 10_000})
    assert len(error.message) < 700
    assert error.problem is not None
    assert error.problem.detail == "x" * 10_000


def test_retry_after_is_on_the_error() -> None:
    error = refused(429, {"detail": "slow"}, {**JSON, "Retry-After": "3"})
    assert type(error) is RateLimitedError
    assert error.retry_after_seconds == 3.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["detail", "errors", "code", "title", "type", "loc", "msg", "status"]), inner
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([400, 404, 409, 422, 500, 599]),
)
def test_no_error_body_stops_the_error_from_being_told(body: Any, status: int) -> None:
    error = refused(status, body)
    assert error.status == status
    assert str(status) in error.message


def test_problem_of_needs_a_json_content_type() -> None:
    assert problem_of(400, {}, b'{"detail": "x"}') is None
