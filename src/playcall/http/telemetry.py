"""A span for each attempt, where the application uses OpenTelemetry; by its conventions for HTTP clients.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/, version 1.23 and later: one CLIENT span an attempt, named by
method and route, so that retries stand beside each other below the caller's span. Nothing is imported: whoever uses
OpenTelemetry has loaded it, and for all others the check is one look into `sys.modules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..timeline import Attempt
    from .hooks import AttemptEnd, AttemptStart

__all__ = ["LOADED_AS", "span"]

LOADED_AS: Final = "opentelemetry.trace"
"""The module whose presence means that somebody uses it."""


def span(start: AttemptStart) -> AttemptEnd | None:
    """A hook: begins a span, and gives what ends it; None where nobody records."""
    from opentelemetry import propagate, trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None  # no provider was set, so nothing would be kept
    attributes: dict[str, str | int] = {
        "http.request.method": start.method,
        "url.template": start.template,
        "server.address": start.host,
        "server.port": start.port,
        "playcall.request_id": start.request_id,
    }
    if start.number > 1:
        attributes["http.request.resend_count"] = start.number - 1
    if start.idempotency_key is not None:
        attributes["playcall.idempotency_key"] = start.idempotency_key
    opened = trace.get_tracer("playcall").start_span(
        f"{start.method} {start.template}", kind=trace.SpanKind.CLIENT, attributes=attributes
    )
    propagate.inject(start.headers, trace.set_span_in_context(opened))

    def ended(attempt: Attempt) -> None:
        if attempt.status is not None:
            opened.set_attribute("http.response.status_code", attempt.status)
        if attempt.status is None or attempt.status >= 400:
            opened.set_attribute("error.type", "_OTHER" if attempt.status is None else str(attempt.status))
            opened.set_status(trace.StatusCode.ERROR, attempt.outcome)
        opened.set_attribute("playcall.decision", attempt.decision)
        opened.end()

    return ended
