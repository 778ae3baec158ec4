"""What a measurement gave: tables of figures by round, pictures, and the targets that they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Picture", "Results", "Spread", "Table", "Target", "spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of what the rounds gave, with its quarters: half of the rounds lie between `low` and `high`."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    ordered = sorted(values)
    if len(ordered) == 1:
        return Spread(ordered[0], ordered[0], ordered[0])
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(middle, low, high)


@dataclass(slots=True)
class Table:
    """What one comparison gave: for each row a figure a round."""

    key: str
    title: str
    unit: str
    rows: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    against: str | None = None
    """The row that the others are a multiple of."""
    note: str = ""

    def figure(self, row: str) -> Spread:
        return spread(self.rows[row])

    def ratio(self, row: str, to: str) -> Spread:
        """`row` as a multiple of `to`, taken within each round."""
        return spread(mine / theirs for mine, theirs in zip(self.rows[row], self.rows[to], strict=True))


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing that the measurement wrote to docs/pictures."""

    file: str
    caption: str


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that was promised. With `to` it is the row as a multiple of that one, else the row's own figure.

    One of `at_most` and `at_least` is given; the median is held against it.
    """

    text: str
    table: str
    row: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def figure(self, table: Table) -> Spread:
        return table.figure(self.row) if self.to is None else table.ratio(self.row, self.to)

    def is_met(self, table: Table) -> bool:
        median = self.figure(table).median
        if self.at_most is not None:
            return median <= self.at_most
        assert self.at_least is not None
        return median >= self.at_least


@dataclass(slots=True)
class Results:
    """What one module measured."""

    tables: list[Table] = field(default_factory=list[Table])
    pictures: list[Picture] = field(default_factory=list[Picture])

    @classmethod
    def loaded(cls, held: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` made of it."""
        return cls([Table(**each) for each in held["tables"]], [Picture(**each) for each in held["pictures"]])
