"""`csv.profile`: what a CSV file holds, column by column."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext
from .definition import Parameters, tool
from .failure import ToolFailure

__all__ = ["csv_profile"]

_DISTINCT_COUNTED = 10_000


class ProfileParameters(Parameters):
    path: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    max_columns: Annotated[int, Field(ge=1, le=1_000)] = 200


@dataclass(slots=True)
class _Column:
    name: str
    filled: int = 0
    numbers: int = 0
    integers: int = 0
    least: float = float("inf")
    most: float = float("-inf")
    total: float = 0.0
    values: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, cell: str) -> None:
        cell = cell.strip()
        if not cell:
            return
        self.filled += 1
        if cell in self.values or len(self.values) < _DISTINCT_COUNTED:
            self.values[cell] = self.values.get(cell, 0) + 1
        try:
            number = float(cell)
        except ValueError:
            return
        if number != number or number in (float("inf"), float("-inf")):  # "nan" and "inf" are words here
            return
        self.numbers += 1
        self.integers += number.is_integer() and "." not in cell and "e" not in cell.lower()
        self.least, self.most = min(self.least, number), max(self.most, number)
        self.total += number

    def profile(self, rows: int) -> JsonObject:
        numeric = self.filled > 0 and self.numbers == self.filled
        kind = (
            "empty"
            if not self.filled
            else ("integer" if self.integers == self.filled else "float")
            if numeric
            else "text"
        )
        top = sorted(self.values.items(), key=lambda item: (-item[1], item[0]))[:5]
        result: JsonObject = {
            "name": self.name,
            "type": kind,
            "filled": self.filled,
            "missing": rows - self.filled,
            "distinct": len(self.values),
            "distinct_is_exact": len(self.values) < _DISTINCT_COUNTED,
            "top": [{"value": value, "count": count} for value, count in top],
        }
        if numeric:
            result |= {"min": self.least, "max": self.most, "mean": self.total / self.numbers}
        return result


@tool("csv.profile", ProfileParameters)
async def csv_profile(parameters: ProfileParameters, context: ToolContext) -> JsonObject:
    """Profiles a CSV file: rows, and for each column its type, gaps, range and most frequent values."""
    return await context.in_thread(_profile, parameters, context)


def _profile(parameters: ProfileParameters, context: ToolContext) -> JsonObject:
    _, raw = context.read_bytes(parameters.path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ToolFailure("not_text", f"{parameters.path!r} is not UTF-8 text") from None
    delimiter = parameters.delimiter or _delimiter_of(text)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = next(rows, None)
        if header is None:
            raise ToolFailure("empty", f"{parameters.path!r} has no rows")
        columns = [_Column(name.strip() or f"column {n}") for n, name in enumerate(header[: parameters.max_columns], 1)]
        count = ragged = 0
        for row in rows:
            if not row:
                continue
            count += 1
            ragged += len(row) != len(header)
            for column, cell in zip(columns, row, strict=False):
                column.take(cell)
            if count % 5_000 == 0:
                context.check_stopped()
                context.progress(count, None, "rows")
    except csv.Error as error:
        raise ToolFailure("not_csv", f"{parameters.path!r} cannot be read as CSV: {error}") from None
    return {
        "rows": count,
        "ragged_rows": ragged,
        "delimiter": delimiter,
        "columns": [column.profile(count) for column in columns],
    }


def _delimiter_of(text: str) -> str:
    """The likeliest of comma, semicolon, tab and bar: the one that stands most often in the first line."""
    first = text.split("\n", 1)[0]
    return max(",;\t|", key=first.count)
