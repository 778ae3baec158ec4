"""What is given to the browser as HTML has users' texts escaped in it, every one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from playcall.dashboard import artifact_view, log_view, steps_view
from playcall.models import Artifact, LogLine, RunStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "<img src=x onerror='alert(1)'>\"&"
LEAST = ("<img", "'alert", '"&', "onerror='")


def assert_harmless(html: str) -> None:
    assert not any(each in html for each in LEAST)
    assert "&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;&quot;&amp;" in html


def test_a_log_line_is_text_in_each_of_its_parts() -> None:
    assert_harmless(log_view.as_html([LogLine(seq=1, at=NOW, level=EVIL, message="m")]))
    assert_harmless(log_view.as_html([LogLine(seq=1, at=NOW, level="info", message=EVIL)]))
    assert_harmless(log_view.as_html([LogLine(seq=1, at=NOW, level="info", message="m", step_id=EVIL)]))  # type: ignore[arg-type]


def test_a_log_line_s_time_is_in_utc_and_says_so() -> None:
    at = datetime(2026, 1, 1, 14, 30, 15, tzinfo=timezone(timedelta(hours=2)))
    assert "12:30:15Z<" in log_view.as_html([LogLine(seq=1, at=at, level="info", message="m")])


def test_an_artifact_is_text_in_each_of_its_parts() -> None:
    made = Artifact(name=EVIL, media_type=EVIL, size_bytes=1, sha256="", created_at=NOW, step_id=EVIL)  # type: ignore[arg-type]
    assert_harmless(artifact_view.as_html("run_1", [made]))


def test_a_step_is_text_in_each_of_its_parts() -> None:
    step = RunStep.model_validate({"id": EVIL, "type": "standard", "status": EVIL, "output": EVIL})
    assert_harmless(steps_view.as_html([step], NOW))


def test_a_very_long_line_is_cut() -> None:
    html = log_view.as_html([LogLine(seq=1, at=NOW, level="info", message="x" * 1_000_000)])
    assert len(html) < 5_000
