"""Spans, with the real OpenTelemetry SDK; in a process of its own where it matters what is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from playcall import RetryPolicy
from playcall.errors import NotFoundError
from playcall.testing import MockAnswer, MockFault
from tests.both_faces import FACES, api, playcall, value


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded: the provider may be set once in a process, so it is put in place for this test alone."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@FACES
async def test_each_attempt_is_a_client_span_below_the_caller_s(blocking: bool, spans: InMemorySpanExporter) -> None:
    replies: list[Any] = [MockFault.connection_lost(), MockAnswer(503), MockAnswer(json=1)]
    retry = RetryPolicy(initial_seconds=0)
    async with api(blocking, lambda r: replies.pop(0), retry=retry, idempotency_keys=True) as client:
        with trace.get_tracer("test").start_as_current_span("the caller's") as outer:
            await value(client.post("/x", json={}))
        sent = client.engine.transport.requests
    ended = spans.get_finished_spans()
    attempts, [parent] = ended[:3], ended[3:]
    assert parent.name == "the caller's"
    for number, span in enumerate(attempts):
        assert span.name == "POST /x"
        assert span.kind is SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == outer.get_span_context().span_id
        assert span.context is not None
        assert f"{span.context.span_id:016x}" in sent[number].headers["traceparent"]
        attributes = dict(span.attributes or {})
        assert attributes["http.request.method"] == "POST"
        assert attributes["url.template"] == "/x"
        assert (attributes["server.address"], attributes["server.port"]) == ("backend.test", 80)
        assert attributes.get("http.request.resend_count") == (number or None)
        assert attributes["playcall.request_id"] == sent[number].headers["X-Request-ID"]
    lost, refused, done = (dict(span.attributes or {}) for span in attempts)
    assert (lost["error.type"], refused["error.type"]) == ("_OTHER", "503")
    assert refused["http.response.status_code"] == 503
    assert done["http.response.status_code"] == 200
    assert "error.type" not in done
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]


@FACES
async def test_a_span_names_the_route_and_holds_no_id_and_no_secret(
    blocking: bool, spans: InMemorySpanExporter
) -> None:
    from playcall import ApiKey

    async with playcall(blocking, lambda r: MockAnswer(404, json={"detail": "x"}), auth=ApiKey("s3cr3t")) as client:
        with pytest.raises(NotFoundError):
            await value(client.runs.get("run_42"))
    [span] = spans.get_finished_spans()
    assert span.name == "GET /runs/{id}"
    assert "run_42" not in span.to_json()
    assert "s3cr3t" not in span.to_json()


@FACES
async def test_without_a_provider_nothing_is_added(blocking: bool) -> None:
    async with api(blocking, lambda r: MockAnswer(json=1)) as client:
        await value(client.get("/x"))
        assert "traceparent" not in client.engine.transport.requests[0].headers


@pytest.mark.parametrize("hooks", ["[]", "[lambda start: None]"])
def test_a_program_that_does_not_use_it_never_loads_it(hooks: str) -> None:
    program = f"""
import sys
from playcall import BlockingAPIClient
from playcall.testing import MockAnswer, MockTransport
with BlockingAPIClient("http://b", transport=MockTransport(lambda r: MockAnswer(json=1)), hooks={hooks}) as client:
    client.get("/x")
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
