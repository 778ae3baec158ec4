"""schemathesis over the whole OpenAPI document, against a real server on a real socket.

It makes up requests that the document allows, and such as it does not; every answer must be documented, well formed and
no failure of the server's, and what the document does not allow must be refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.engine import Status, events, from_schema

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "use_after_free",
)
ENDING = ("api_keys.delete",)
"""They would end the credentials that all is asked with; they have tests of their own."""
GENERATION = {"allow-extra-parameters": False, "with-security-parameters": False, "no-shrink": True, "database": "none"}
"""A header or a query parameter that nobody knows is passed over, as the contract has it: it is no wrong data. Credentials
beside our own would be refused, and nothing else looked at."""
DEADLINE = "X-Request-Timeout-Ms"
DEADLINE_MS = "8000"
"""With every request, so that none waits long for events or a tool; so no other value of it is tried here."""
REFUSALS = ["400", "401", "403", "404", "405", "409", "411", "412", "413", "415", "416", "422", "426", "429"]


@dataclass
class Exploration:
    """`asked` counts answers by operation and status."""

    asked: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    failures: dict[str, str] = field(default_factory=dict[str, str])


def explore(
    url: str,
    document: dict[str, Any],
    headers: dict[str, str],
    *,
    seed: int,
    examples: int,
    seconds: int | None,
    coverage: bool,
    stateful: bool,
) -> Exploration:
    """
    Args:
        examples: Requests made up for each operation, in each phase that makes some up.
        coverage: Also each bound of each field, one after the other, which is much.
        stateful: Also sequences: what one answer gave is what the next asks for.
    """
    settings: dict[str, Any] = {
        "base-url": url,
        "headers": {**headers, DEADLINE: DEADLINE_MS},
        "seed": seed,
        **({} if seconds is None else {"max-time": seconds}),
        "continue-on-failure": True,
        "request-timeout": 20,
        "checks": {
            "enabled": False,
            **{name: {"enabled": True} for name in CHECKS},
            "negative_data_rejection": {"enabled": True, "expected-statuses": REFUSALS},
        },
        "generation": {"max-examples": examples, **GENERATION},
        "phases": {
            "examples": {"enabled": False},
            "coverage": {"enabled": coverage, "generate-duplicate-query-parameters": True},
            "fuzzing": {"enabled": True},
            "stateful": {"enabled": stateful},
        },
    }
    schema = schemathesis.openapi.from_dict(_without_deadline(document), config=schemathesis.Config.from_dict(settings))
    for name in ENDING:
        schema = schema.exclude(operation_id=name)
    found = Exploration()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.failures[f"schemathesis: {getattr(event, 'label', '')}"] = repr(getattr(event, "value", event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            operation = (
                recorder.cases[case_id].value.operation.label if case_id in recorder.cases else event.recorder.label
            )
            found.asked[operation] += 1
            if interaction.response is not None:
                found.statuses[interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.status is Status.FAILURE and check.failure_info is not None:
                    failure = check.failure_info.failure
                    answer = recorder.find_response(case_id=case_id)
                    key = f"{recorder.cases[case_id].value.operation.label}: {check.name}: {failure.title}"
                    said = answer.content[:600].decode(errors="replace") if answer is not None else ""
                    found.failures.setdefault(
                        key, f"{failure.message}\n{check.failure_info.code_sample[:1_500]}\n{said}"
                    )
    return found


def _without_deadline(document: dict[str, Any]) -> dict[str, Any]:
    paths = {
        path: {
            method: {
                **operation,
                "parameters": [each for each in operation["parameters"] if not each.get("$ref", "").endswith(DEADLINE)],
            }
            for method, operation in item.items()
        }
        for path, item in document["paths"].items()
    }
    return {**document, "paths": paths}
