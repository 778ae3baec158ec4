"""Answers in an envelope: their data is the value, their failures are errors, and nothing else is mistaken for either."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import BaseModel, TypeAdapter

from playcall import Envelope, RetryPolicy
from playcall.answer import Answer
from playcall.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    EnvelopeError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    StatusError,
    UnreadableAnswerError,
)
from playcall.http import envelope as envelope_module
from playcall.testing import MockAnswer, MockFault, MockRequest
from playcall.timeline import Timeline
from tests.both_faces import FACES, api, value


class Item(BaseModel, extra="forbid"):
    id: int
    name: str = ""


class GoneError(NotFoundError):
    """A caller's own."""


class BrokeError(StatusError):
    """A caller's own."""


def answer(body: object, method: str = "GET") -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = CIMultiDict({"Content-Type": "application/json"})
    return Answer(200, headers, text.encode(), Timeline(method, "/items/3", 60.0), "r1")


NUMBERS = Envelope(success="code", ok=(0, 200), message="msg")
JSEND = Envelope(success="status", ok=("success",))
BARE = Envelope(success=None)


@pytest.mark.parametrize(
    ("envelope", "body"),
    [
        (Envelope(), {"success": True, "data": {"id": 1}, "message": "found", "new": {}}),
        (Envelope(data="result"), {"success": True, "result": {"id": 1}, "data": 3}),
        (NUMBERS, {"code": 200, "data": {"id": 1}, "msg": "ok"}),
        (NUMBERS, {"code": 0, "data": {"id": 1}}),
        (JSEND, {"status": "success", "data": {"id": 1}}),
        (BARE, {"data": {"id": 1}, "error": None}),
        (Envelope(optional=True), {"success": True, "data": {"id": 1}}),
        (Envelope(optional=True), {"id": 1}),
    ],
    ids=str,
)
def test_the_value_is_the_data(envelope: Envelope, body: object) -> None:
    assert envelope.read(answer(body), Item) == Item(id=1)
    assert envelope.read(answer(body), None) == {"id": 1}


def test_one_pass_is_enough_for_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*args: object) -> object:
        raise AssertionError("it was parsed again")

    monkeypatch.setattr(envelope_module, "decode", twice)
    assert Envelope().read(answer({"success": True, "data": [{"id": 1, "new": 2}]}), list[Item]) == [Item(id=1)]


@pytest.mark.parametrize("body", [{"success": True}, {"success": True, "data": None}], ids=str)
def test_no_data_is_null(body: object) -> None:
    assert Envelope().read(answer(body), None) is None
    assert Envelope().read(answer(body), Item | None) is None
    with pytest.raises(UnreadableAnswerError) as caught:
        Envelope().read(answer(body), Item)
    assert caught.value.field == "data"


def test_no_body_is_none_where_no_type_is_asked_for() -> None:
    assert Envelope().read(answer(""), None) is None
    with pytest.raises(UnreadableAnswerError):
        Envelope().read(answer(""), Item)


@pytest.mark.parametrize(
    ("body", "into", "field"),
    [
        ({"success": True, "data": {"id": "x"}}, Item, "data.id"),
        ({"success": True, "data": [{"id": 1}, {}]}, list[Item], "data.1.id"),
        ({"success": True, "data": {"id": 1, "name": None}}, Item, "data.name"),
    ],
)
def test_a_wrong_field_is_told_by_its_path_within_the_envelope(body: object, into: Any, field: str) -> None:
    for envelope in (Envelope(), Envelope(optional=True)):
        with pytest.raises(UnreadableAnswerError, match=rf"does not fit .*at {field}") as caught:
            envelope.read(answer(body), into)
        assert caught.value.field == field


@pytest.mark.parametrize("body", [{"id": 1}, [1], "3", "null", {"data": {"id": 1}}, "<html>", ""], ids=str)
@pytest.mark.parametrize("into", [Item, list[int], None], ids=str)
def test_what_is_in_no_envelope_is_unreadable(body: object, into: Any) -> None:
    if body == "" and into is None:
        return
    with pytest.raises(UnreadableAnswerError):
        Envelope().read(answer(body), into)


@pytest.mark.parametrize(
    ("envelope", "body", "kind", "code", "said"),
    [
        (Envelope(), {"success": False, "message": "sold out"}, EnvelopeError, None, "sold out"),
        (Envelope(), {"success": False, "data": {"id": 1}, "message": "m", "code": "E1"}, EnvelopeError, "E1", "m"),
        (Envelope(), {"success": False, "error": "no such book"}, EnvelopeError, None, "no such book"),
        (Envelope(), {"success": False, "error": "no_book", "message": "m"}, EnvelopeError, "no_book", "m"),
        (Envelope(), {"success": False, "error": {"code": 404, "message": "m"}}, NotFoundError, "404", "m"),
        (Envelope(), {"success": False, "error": {"code": "gone", "message": "m"}}, GoneError, "gone", "m"),
        (Envelope(), {"success": None}, EnvelopeError, None, "its envelope says that it failed"),
        (NUMBERS, {"code": 409, "msg": "taken", "data": None}, ConflictError, "409", "taken"),
        (NUMBERS, {"code": 10042, "msg": "broke"}, BrokeError, "10042", "broke"),
        (NUMBERS, {"code": 401, "msg": "who?"}, AuthenticationError, "401", "who?"),
        (JSEND, {"status": "fail", "data": {"title": "required"}}, EnvelopeError, None, "says that it failed"),
    ],
)
def test_a_success_that_the_envelope_takes_back_is_an_error_with_its_reason(
    envelope: Envelope, body: object, kind: type[StatusError], code: str | None, said: str
) -> None:
    for into in (Item, Item | None, None):
        with pytest.raises(StatusError) as caught:
            envelope.read(answer(body, "POST"), into, {"gone": GoneError, "10042": BrokeError})
        error = caught.value
        assert (type(error), error.code, error.status, error.request_id) == (kind, code, 200, "r1")
        assert said in error.message
        assert error.message.startswith("POST /items/3 answered 200: ")
        assert error.may_have_happened is False
        assert pickle.loads(pickle.dumps(error)).problem == error.problem


def test_the_wrong_fields_of_an_envelope_are_the_error_s() -> None:
    body = {"success": False, "message": "invalid", "errors": {"title": ["too short", "no digits"], "year": "missing"}}
    with pytest.raises(EnvelopeError, match="invalid: title: too short; title: no digits; year: missing") as caught:
        Envelope().read(answer(body), Item)
    assert [each.field for each in caught.value.errors] == ["title", "title", "year"]


@pytest.mark.parametrize(
    "options",
    [{"data": ""}, {"success": "data"}, {"message": 3}, {"ok": "success"}, {"success": ""}],
    ids=str,
)
def test_an_envelope_that_makes_no_sense_is_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        Envelope(**options)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "success", "message", "code", "errors", "error", "detail", "field"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([Envelope(), NUMBERS, JSEND, BARE, Envelope(optional=True)]))
def test_any_answer_is_a_value_or_one_of_our_errors(body: Any, envelope: Envelope) -> None:
    for into in (None, Item, Item | None, list[int]):
        try:
            got: Any = envelope.read(answer(json.dumps(body)), into)
        except RequestError:
            continue
        data = body.get("data") if isinstance(body, dict) else body
        if not envelope.optional:
            assert got == (data if into is None else TypeAdapter(into).validate_python(data))


# --- through a client -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("envelope", "body"),
    [
        (NUMBERS, {"code": False, "data": 1}),
        (Envelope(), {"success": 1, "data": 1}),
        (Envelope(ok=(1,)), {"success": True, "data": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("into", [None, int])
def test_a_truth_value_is_no_number_that_means_success(envelope: Envelope, body: object, into: Any) -> None:
    with pytest.raises(EnvelopeError):
        envelope.read(answer(body), into)


@pytest.mark.parametrize("into", [None, dict[str, Any]])
def test_where_it_is_optional_a_success_without_data_is_a_value_of_its_own(into: Any) -> None:
    optional = Envelope(optional=True)
    bare = {"success": True, "id": 3}
    assert optional.read(answer(bare), into) == bare
    assert optional.read(answer({"success": True, "data": {"id": 3}}), into) == {"id": 3}
    with pytest.raises(EnvelopeError, match="sold out"):
        optional.read(answer({"success": False, "message": "sold out"}), into)


@FACES
@pytest.mark.parametrize(
    ("first", "method", "happened"),
    [
        (MockFault.connection_lost(), "post", True),
        (MockAnswer(503), "post", True),
        (MockFault.not_sent(), "post", False),
        (MockAnswer(429), "post", False),
        (MockFault.connection_lost(), "get", False),
        (None, "post", False),
    ],
)
async def test_a_no_in_an_envelope_does_not_say_what_came_of_an_attempt_that_was_lost(
    blocking: bool, first: Any, method: str, happened: bool
) -> None:
    replies = [each for each in (first, MockAnswer(json={"success": False})) if each is not None]
    options: dict[str, Any] = {"retry": RetryPolicy(initial_seconds=0), "idempotency_keys": True}
    async with api(blocking, lambda request: replies.pop(0), envelope=Envelope(), **options) as client:
        with pytest.raises(EnvelopeError) as caught:
            await value(getattr(client, method)("/orders"))
    assert caught.value.may_have_happened is happened


@FACES
async def test_a_class_may_be_given_by_a_code_that_is_a_number(blocking: bool) -> None:
    bodies: list[Any] = [{"code": 1001}, {"code": "1001"}, {"code": -7}]
    classes: dict[int | str, type[StatusError]] = {1001: BrokeError, -7: GoneError}
    async with api(
        blocking, lambda request: MockAnswer(json=bodies.pop(0)), envelope=NUMBERS, errors=classes
    ) as client:
        for kind in (BrokeError, BrokeError, GoneError):
            with pytest.raises(kind):
                await value(client.get("/x"))


@FACES
async def test_verbs_read_through_the_envelope_and_a_raw_answer_keeps_it(blocking: bool) -> None:
    body = {"success": True, "data": {"id": 1}, "message": "done"}
    async with api(blocking, lambda request: MockAnswer(json=body), envelope=Envelope()) as client:
        raw = await value(client.post.raw("/items", json={}, into=Item))
        assert raw.value == Item(id=1)
        assert json.loads(raw.body) == body
        given = await value(client.answer("GET", "/items/1"))
        assert client.read(given, Item) == Item(id=1)


@FACES
async def test_an_error_answer_tells_what_its_envelope_says(blocking: bool) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        return MockAnswer(
            404, json={"success": False, "error": {"code": "NO_BOOK", "message": "no book 7"}, "request_id": "q"}
        )

    async with api(blocking, backend, envelope=Envelope()) as client:
        with pytest.raises(NotFoundError, match=r"answered 404: no book 7 \(request id q\)") as caught:
            await value(client.get("/items/7"))
    assert caught.value.code == "NO_BOOK"


@FACES
async def test_fastapi_s_own_errors_are_read_where_answers_are_enveloped(blocking: bool) -> None:
    replies = [
        MockAnswer(404, json={"detail": "Not Found"}),
        MockAnswer(422, json={"detail": [{"loc": ["body", "id"], "msg": "Field required", "type": "missing"}]}),
    ]
    async with api(blocking, lambda request: replies.pop(0), envelope=Envelope()) as client:
        with pytest.raises(NotFoundError, match="Not Found"):
            await value(client.get("/itmes"))
        with pytest.raises(InvalidRequestError, match="id: Field required"):
            await value(client.post("/items", json={}))


@FACES
async def test_classes_of_one_s_own_are_raised_by_code_before_status(blocking: bool) -> None:
    replies = [
        MockAnswer(404, json={"detail": "x"}),
        MockAnswer(400, json={"detail": {"code": "BROKE", "message": "no money"}}),
        MockAnswer(404, json={"detail": "x", "code": "BROKE"}),
        MockAnswer(json={"success": False, "code": "BROKE"}),
        MockAnswer(404, json={}),
        MockAnswer(400, json={"code": "BROKE"}),
    ]
    kinds = {404: GoneError, "BROKE": BrokeError}
    async with api(blocking, lambda request: replies.pop(0), envelope=Envelope(), errors=kinds) as client:
        for kind in (GoneError, BrokeError, BrokeError, BrokeError):
            with pytest.raises(StatusError) as caught:
                await value(client.get("/items/7"))
            assert type(caught.value) is kind
        more = client.with_options(errors={404: BrokeError})
        for _ in range(2):  # the one that is new, and the one that was there
            with pytest.raises(BrokeError):
                await value(more.get("/items/7"))


@pytest.mark.parametrize("errors", [{404: ValueError}, {404: "x"}, {None: GoneError}, {True: GoneError}], ids=str)
async def test_classes_that_are_no_status_errors_are_refused(errors: Any) -> None:
    with pytest.raises(ConfigurationError, match="errors="):
        api(False, lambda request: MockAnswer(), errors=errors)
