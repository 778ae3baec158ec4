"""Values of users as text to be shown, bounded: a task's output may be megabytes."""

from __future__ import annotations

import json
from typing import Final

from pydantic import BaseModel

from playcall.models.struct import WireStruct

__all__ = ["SHOWN_CHARACTERS", "as_text"]

SHOWN_CHARACTERS: Final = 20_000


def as_text(value: object, characters: int = SHOWN_CHARACTERS) -> tuple[str, bool]:
    """A text as it stands, anything else as JSON; and whether it is all of it."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, BaseModel | WireStruct):
        text = value.model_dump_json(indent=2)
    else:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return text[:characters], len(text) <= characters
