"""What the doctor finds: one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .doctor_contract import Drift

__all__ = ["Diagnosis", "Finding", "Verdict"]

Verdict: TypeAlias = Literal["good", "note", "problem", "skipped"]
"""A note is worth knowing, and nothing fails over it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do; empty where there is nothing to be done."""

    check: str
    verdict: Verdict
    figure: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    url: str
    findings: Sequence[Finding]
    drifts: Sequence[Drift] = field(default=())

    @property
    def is_well(self) -> bool:
        return not any(finding.verdict == "problem" for finding in self.findings)
