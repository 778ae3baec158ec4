"""The answer behind a value: `raw()` of every method, and asking again only for what has changed."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from playcall import AsyncPlaycall, BaseAPIClient, BlockingAPIClient, Playcall, ResourceService
from playcall.answer import RawAnswer
from playcall.errors import InvalidArgumentError, NotFoundError, UnreadableAnswerError, VersionMismatchError
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, api, playcall, using, value
from tests.misbehaving_server import MisbehavingServer, ok
from tests.services.test_methods import example

PLAYBOOK = example("playbook")


def versioned(request: MockRequest) -> MockAnswer:
    """Version 3 of whatever is asked for, with its ETag; 304 where the caller has it."""
    etag = {"ETag": '"3"', "X-Custom": "yes"}
    if request.headers.get("If-None-Match") == '"3"':
        return MockAnswer(304, headers=etag)
    return MockAnswer(json={**PLAYBOOK, "version": 3}, headers=etag)


@FACES
async def test_raw_gives_the_value_with_its_answer(blocking: bool) -> None:
    async with playcall(blocking, versioned) as client:
        raw: RawAnswer[Any] = await value(client.playbooks.get.raw(PLAYBOOK["id"]))
        assert raw.value == await value(client.playbooks.get(PLAYBOOK["id"]))
    assert (raw.status, raw.etag, raw.headers["x-custom"], raw.not_modified) == (200, '"3"', "yes", False)
    assert b'"version":3' in raw.body
    assert "attempt 1: 200" in raw.explain()
    assert raw.request_id == raw.timeline.attempts[0].request_id
    assert raw.headers["X-Custom"] not in repr(raw)
    assert PLAYBOOK["name"] in raw.body.decode()


@FACES
async def test_raw_of_a_verb_reads_into_a_type(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(json=[1, 2])) as client:
        raw: RawAnswer[list[int]] = await value(client.get.raw("/x", into=list[int], params={"a": 1}))
        assert raw.value == [1, 2]
        assert (await value(client.post.raw("/x", json={}))).value == [1, 2]


@FACES
async def test_raw_raises_as_the_method_does(blocking: bool) -> None:
    async with playcall(blocking, lambda request: MockAnswer(404, json={"detail": "none"})) as client:
        with pytest.raises(NotFoundError):
            await value(client.playbooks.get.raw("x"))


@FACES
async def test_raw_of_what_takes_several_answers_has_the_last(blocking: bool) -> None:
    ended = {**example("run"), "status": "completed", "ended_at": "2026-01-01T00:00:00Z"}
    async with playcall(blocking, lambda r: MockAnswer(json=ended, headers={"X-Event-Cursor": "e:1"})) as client:
        raw = await value(client.runs.wait.raw("run_1"))
    assert raw.value.status == "completed"
    assert raw.headers["X-Event-Cursor"] == "e:1"


@FACES
async def test_raw_of_one_caller_has_none_of_another_s(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(json=request.path)) as client:
        inner: list[Any] = []

        def hook(start: Any) -> None:
            inner.append(start.path)

        clone = client.with_options(hooks=[hook])
        first = await value(clone.get.raw("/a"))
        second = await value(clone.get.raw("/b"))
    assert (first.value, second.value, inner) == ("/base/a", "/base/b", ["/a", "/b"])


@FACES
async def test_a_method_that_asks_nothing_has_no_raw_answer(blocking: bool) -> None:
    from tests.test_faces import Numbers

    numbers: Any = Numbers(blocking=blocking)
    with pytest.raises(TypeError, match="double asked the backend nothing"):
        await value(numbers.double.raw(2))


@FACES
async def test_what_is_still_current_is_given_back_and_not_sent_again(blocking: bool) -> None:
    async with playcall(blocking, versioned) as client:
        mine = await value(client.playbooks.get(PLAYBOOK["id"]))
        assert await value(client.playbooks.get(PLAYBOOK["id"], known=mine)) is mine
        older = mine.model_copy(update={"version": 2})
        assert (await value(client.playbooks.get(PLAYBOOK["id"], known=older))).version == 3
        sent = [r.headers.get("If-None-Match") for r in client._api.engine.transport.requests]
    assert sent == [None, '"3"', '"2"']


@FACES
async def test_known_must_be_the_item_that_is_asked_for(blocking: bool) -> None:
    """Versions are counted for each item, so another item's would be taken for current by chance."""
    async with playcall(blocking, versioned) as client:
        mine = await value(client.playbooks.get(PLAYBOOK["id"]))
        with pytest.raises(InvalidArgumentError, match="not 'another'"):
            await value(client.playbooks.get("another", known=mine))
    async with api(blocking, lambda request: MockAnswer(json={"a": 1})) as client:
        items: Any = ResourceService(client, "/items", dict[str, int])
        with pytest.raises(InvalidArgumentError, match="no version to ask by"):
            await value(items.get("x", known={"a": 1}))
        assert client.engine.transport.requests == []


@FACES
async def test_a_verb_asks_by_the_etag_of_an_earlier_answer(blocking: bool) -> None:
    async with api(blocking, versioned) as client:
        first = await value(client.get.raw("/x", into=dict[str, Any]))
        second = await value(client.get.raw("/x", into=dict[str, Any], known=first))
        third = await value(client.get("/x", into=dict[str, Any], known=second))
        assert second.value is first.value
        assert third is first.value
        assert second.not_modified
        assert not first.not_modified
        with pytest.raises(InvalidArgumentError, match="known="):
            await value(client.get("/x", known={"a": 1}))


@FACES
async def test_known_of_one_path_is_never_given_for_another(blocking: bool) -> None:
    """Both may have the version 1."""
    async with api(blocking, versioned) as client:
        first = await value(client.get.raw("/items/3"))
        with pytest.raises(InvalidArgumentError, match="the answer to /items/3, not to /items/4"):
            await value(client.get("/items/4", known=first))
        assert len(client.engine.transport.requests) == 1


@FACES
@pytest.mark.parametrize("verb", ["get", "post"])
@pytest.mark.parametrize("status", [304, 206])
async def test_nothing_new_or_a_part_that_nobody_asked_for_is_no_value(blocking: bool, verb: str, status: int) -> None:
    async with api(blocking, lambda request: MockAnswer(status, body="1" if status == 206 else "")) as client:
        with pytest.raises(UnreadableAnswerError):
            await value(getattr(client, verb)("/x"))
        assert (await value(client.answer("GET", "/x"))).status == status


@FACES
async def test_a_part_that_was_asked_for_is_the_caller_s_affair(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(206, body="1")) as client:
        assert await value(client.get("/x", headers={"Range": "bytes=0-0"})) == 1


@FACES
async def test_without_an_etag_the_whole_is_fetched(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(json=len(client.engine.transport.requests))) as client:
        first = await value(client.get.raw("/x"))
        assert await value(client.get("/x", known=first)) == 2
        assert "If-None-Match" not in client.engine.transport.requests[1].headers


@FACES
@pytest.mark.parametrize(
    ("given", "sent"), [(3, '"3"'), ("abc", '"abc"'), ('"abc"', '"abc"'), ('W/"abc"', 'W/"abc"'), ("*", "*")]
)
async def test_if_match_is_a_version_or_an_etag_as_it_came(blocking: bool, given: Any, sent: str) -> None:
    async with playcall(blocking, versioned) as client:
        await value(client.playbooks.update("p", {"name": "n"}, if_match=given))
        assert client._api.engine.transport.requests[0].headers["If-Match"] == sent


@FACES
@pytest.mark.parametrize("wrong", [True, 1.5, "a\nb", b"x"])
async def test_an_if_match_that_is_none_is_refused(blocking: bool, wrong: Any) -> None:
    async with playcall(blocking, versioned) as client:
        with pytest.raises(InvalidArgumentError):
            await value(client.playbooks.update("p", {"name": "n"}, if_match=wrong))
        assert client._api.engine.transport.requests == []


@FACES
async def test_a_lost_update_carries_both_versions(blocking: bool) -> None:
    ours = MockAnswer(412, json={"code": "version_mismatch", "current_version": 9})
    theirs = MockAnswer(412, json={"detail": "changed"}, headers={"ETag": '"9"'})
    opaque = MockAnswer(412, headers={"ETag": 'W/"f00"'})
    silent = MockAnswer(412)
    answers = [ours, theirs, opaque, silent]
    async with playcall(blocking, lambda request: answers.pop(0)) as client:
        for expected_etag, expected, current_etag, current in [
            ('"7"', 7, '"9"', 9),
            ('"7"', 7, '"9"', 9),
            ('"x"', None, 'W/"f00"', None),
            ('"7"', 7, None, None),
        ]:
            with pytest.raises(VersionMismatchError) as caught:
                await value(client.playbooks.update("p", {"name": "n"}, if_match=expected_etag))
            for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
                assert (error.expected_etag, error.expected) == (expected_etag, expected)
                assert (error.current_etag, error.current) == (current_etag, current)


@pytest.mark.parametrize("kind", [Playcall, AsyncPlaycall, BaseAPIClient, BlockingAPIClient])
async def test_a_client_does_not_pickle_and_says_what_to_do(kind: Any) -> None:
    async with using(kind("http://b", transport=MockTransport(versioned))) as client:
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(client)


@FACES
@pytest.mark.parametrize("travel", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy], ids=["pickle", "copy"])
async def test_an_answer_of_a_real_connection_pickles_and_copies(blocking: bool, travel: Any) -> None:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    async with MisbehavingServer(lambda request: ok([1])) as server, using(kind(server.url)) as client:
        for ask, args in ((client.get.raw, ["/x"]), (client.answer, ["GET", "/x"])):
            given = await value(await asyncio.to_thread(ask, *args))  # the server runs on this thread
            there = travel(given)
            assert there == given
            assert type(there) is type(given)
            assert there.headers["CONTENT-TYPE"] == given.headers["Content-Type"]
